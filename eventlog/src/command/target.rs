//! On what a command acts.

use cqrs_es::event_sink::EventSink;

use super::{Commanded, Loaded};

/// On which aggregate a command acts.
#[derive(Clone, Debug)]
pub enum Target<A> {
    /// One that may exist: loaded first.
    Existing(String),
    /// One with an id that was just drawn: there is nothing to load.
    New(String),
    /// One that the sender holds in its newest state, or believes so.
    Held(String, Loaded<A>),
}

impl<A: Commanded> Target<A> {
    /// The aggregate as a command will leave it, as far as can be told without loading it; nothing
    /// is appended.
    ///
    /// # Errors
    /// When the aggregate refuses the command.
    pub async fn after(&self, command: A::Command) -> Result<Loaded<A>, A::Error> {
        let (mut aggregate, before) = match self {
            Self::Held(_, held) => (held.aggregate.clone(), held.sequence),
            Self::New(_) | Self::Existing(_) => (A::default(), 0),
        };
        let sink = EventSink::default();
        aggregate.handle(command, &(), &sink).await?;
        Ok(Loaded {
            aggregate,
            sequence: before + sink.collect().await.len(),
        })
    }
}

impl<A> Target<A> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Existing(id) | Self::New(id) | Self::Held(id, _) => id,
        }
    }
}
