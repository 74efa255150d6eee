//! The database's time, as a node knows it between two looks.
//!
//! What nodes share is timed by the one clock that all of them see. A node counts on from its last look
//! by a clock that never goes back, so that its own may be set as it likes.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use tokio::time::Instant;
use toolroom_domain::Clock;

/// Tells the shared time.
pub(super) struct SharedTime {
    /// A clock in the place of the database's.
    in_place: Option<Arc<dyn Clock>>,
    /// Until the first look, this node's.
    own: Arc<dyn Clock>,
    known: Mutex<Option<(Instant, Timestamp)>>,
}

impl SharedTime {
    pub(super) fn new(own: Arc<dyn Clock>, in_place: Option<Arc<dyn Clock>>) -> Self {
        Self {
            in_place,
            own,
            known: Mutex::new(None),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        if let Some(clock) = &self.in_place {
            return clock.now();
        }
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some((seen, then)) => {
                let since = SignedDuration::try_from(seen.elapsed());
                since
                    .ok()
                    .and_then(|since| then.checked_add(since).ok())
                    .unwrap_or(then)
            }
            None => self.own.now(),
        }
    }

    /// Takes in what the database's clock shows.
    pub(super) fn saw(&self, now: Timestamp) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), now));
    }

    /// What statements take in the place of the database's clock.
    pub(super) fn in_place(&self) -> Option<SqlTimestamp> {
        self.in_place.as_ref().map(|clock| clock.now().to_sqlx())
    }
}
