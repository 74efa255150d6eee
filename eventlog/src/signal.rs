//! Wake-ups between the parts of one process, and to other nodes.
//!
//! A signal is a hint: every loop that waits for one also polls, so a lost signal costs time,
//! never an event.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::live::{self, Live};

/// The channel on which nodes tell each other that something was appended.
const CHANNEL: &str = "toolroom_appended";

/// `pg_notify` costs a commit under a global lock, so a node sends at most one in this time.
const NOTIFY_DEBOUNCE: Duration = Duration::from_millis(20);

/// How long to wait before listening again after the connection was lost.
const RELISTEN_AFTER: Duration = Duration::from_secs(1);

/// Wake-ups of one process.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Something was appended, here or elsewhere: there may be something to sequence.
    pub appended: Arc<Notify>,
    /// How far runs are.
    pub live: Live,
    outgoing: Arc<Notify>,
}

impl Signals {
    /// Tells this process, and in a moment the others, that an append has committed.
    pub fn announce_append(&self) {
        self.appended.notify_one();
        self.outgoing.notify_one();
    }
}

/// Tells other nodes of this node's appends until `shutdown`.
pub async fn tell_other_nodes(pool: PgPool, signals: Signals, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = signals.outgoing.notified() => {}
        }
        let sent = sqlx::query("select pg_notify($1, '')")
            .bind(CHANNEL)
            .execute(&pool)
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, "could not notify other nodes; they will poll");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(NOTIFY_DEBOUNCE) => {}
        }
    }
}

/// Wakes this process when another node has appended, until `shutdown`.
pub async fn listen_to_other_nodes(pool: PgPool, signals: Signals, shutdown: CancellationToken) {
    let listen = async {
        loop {
            if let Err(error) = listen_once(&pool, &signals).await {
                tracing::debug!(%error, "stopped listening to other nodes; polling meanwhile");
            }
            tokio::time::sleep(RELISTEN_AFTER).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = listen => {}
    }
}

async fn listen_once(pool: &PgPool, signals: &Signals) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([CHANNEL, live::CHANNEL]).await?;
    loop {
        let told = listener.recv().await?;
        match told.channel() {
            live::CHANNEL => signals.live.heard(told.payload()),
            _ => signals.appended.notify_one(),
        }
    }
}
