//! Stories for aggregates: `given(events).when(command).then(events)`.

use std::{
    fmt::Debug,
    pin::pin,
    task::{Context, Poll, Waker},
};

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// A moment to tell stories at: `second` seconds after the epoch.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a story stays within the calendar")
}

/// Has an aggregate decide, and remember what it decided.
pub(crate) fn decide<A>(aggregate: &mut A, command: A::Command) -> Result<Vec<A::Event>, A::Error>
where
    A: Aggregate<Services = ()>,
{
    let sink = EventSink::default();
    let outcome = ready(aggregate.handle(command, &(), &sink));
    outcome.map(|()| ready(sink.collect()))
}

/// What a future gives at its first poll: a decision that has to wait for something is not pure.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an aggregate waited for the world outside"),
    }
}

/// The state that a history gives, each event read back from what the log would hold of it.
pub(crate) fn replay<A>(events: &[A::Event]) -> A
where
    A: Aggregate,
    A::Event: Serialize + DeserializeOwned + Debug + PartialEq,
{
    let mut aggregate = A::default();
    for event in events {
        let stored = serde_json::to_string(event).expect("events can be written");
        let read: A::Event = serde_json::from_str(&stored).expect("events can be read back");
        assert_eq!(&read, event, "the log gave back another event: {stored}");
        aggregate.apply(read);
    }
    aggregate
}

/// A history, and what came of the last command after it.
pub(crate) struct Story<A: Aggregate> {
    state: A,
    last: Result<Vec<A::Event>, A::Error>,
}

/// Begins a story with what has happened so far.
pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Story<A> {
    let mut state = A::default();
    events.into_iter().for_each(|event| state.apply(event));
    Story {
        state,
        last: Ok(Vec::new()),
    }
}

impl<A> Story<A>
where
    A: Aggregate<Services = ()> + Clone,
    A::Event: Debug + PartialEq,
    A::Error: Debug + PartialEq,
{
    /// Sends a command. What a refused command did to the state is thrown away, as the log does.
    pub(crate) fn when(mut self, command: A::Command) -> Self {
        let mut next = self.state.clone();
        self.last = decide(&mut next, command);
        if self.last.is_ok() {
            self.state = next;
        }
        self
    }

    /// The last command caused exactly these events.
    #[track_caller]
    pub(crate) fn then(self, events: impl IntoIterator<Item = A::Event>) -> Self {
        let expected: Vec<A::Event> = events.into_iter().collect();
        assert_eq!(self.last.as_ref(), Ok(&expected));
        self
    }

    /// The last command was fulfilled already.
    #[track_caller]
    pub(crate) fn then_nothing(self) -> Self {
        self.then([])
    }

    /// The last command was refused for this reason.
    #[track_caller]
    pub(crate) fn then_refused(self, error: A::Error) -> Self {
        assert_eq!(self.last.as_ref(), Err(&error));
        self
    }

    /// Why the last command was refused.
    #[track_caller]
    pub(crate) fn refusal(self) -> A::Error {
        match self.last {
            Err(error) => error,
            Ok(events) => panic!("expected a refusal, got {events:?}"),
        }
    }

    /// The state after all of it.
    pub(crate) fn state(&self) -> &A {
        &self.state
    }
}
