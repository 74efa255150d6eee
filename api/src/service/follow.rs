//! Following the log: events from a position on, then live ones, none missed, none twice.
//!
//! A follower pulls. What it has not taken yet waits in the log, not in memory, so a slow one
//! costs nothing but its own lag; past a bound it is told to resume, never skipped over.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::watch;
use toolroom_domain::ErrorCode;
use toolroom_eventlog::{Feed, Position, RecordedEvent};

use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

/// Events read at once.
const BATCH: usize = 500;

/// How far one that was live may fall behind before it is told to resume: what the log keeps in
/// memory. Beyond, every slow client would read the database at its own pace for ever.
pub const LONGEST_LAG: i64 = 20_000;

/// How long to wait for a database that is away.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The events after a position, one by one.
pub struct Follow {
    feed: Feed,
    head: watch::Receiver<i64>,
    position: i64,
    /// The last position to give; without one it goes on for ever.
    until: Option<i64>,
    waiting: VecDeque<Arc<RecordedEvent>>,
    /// Whether it had come to the end of the log once.
    live: bool,
}

impl Follow {
    /// The events after `position`, without end.
    pub fn after(state: &AppState, position: i64) -> Self {
        Self {
            feed: state.log.feed.clone(),
            head: state.log.feed.watch(),
            position,
            until: None,
            waiting: VecDeque::new(),
            live: false,
        }
    }

    /// The events after `position` up to and with `until`.
    pub fn between(state: &AppState, position: i64, until: i64) -> Self {
        Self {
            until: Some(until),
            ..Self::after(state, position)
        }
    }

    /// The next event; none after the last one, or when the log is closed.
    ///
    /// # Errors
    /// `RESUME_REQUIRED` when the follower was live and has fallen too far behind.
    pub async fn next(&mut self) -> Result<Option<Arc<RecordedEvent>>, ApiError> {
        loop {
            if self.until.is_some_and(|until| self.position >= until) {
                return Ok(None);
            }
            self.must_keep_up()?;
            if let Some(event) = self.waiting.pop_front() {
                self.position = event.position;
                return Ok(Some(event));
            }
            let known = *self.head.borrow_and_update();
            match self.feed.read(self.position, BATCH).await {
                Ok(events) if events.is_empty() => {
                    self.live = true;
                    if known > self.position {
                        // Known of, but not readable yet: a moment's matter.
                        tokio::task::yield_now().await;
                    } else if self.head.changed().await.is_err() {
                        return Ok(None);
                    }
                }
                Ok(events) => {
                    let until = self.until.unwrap_or(i64::MAX);
                    self.waiting
                        .extend(events.into_iter().filter(|e| e.position <= until));
                }
                Err(error) => {
                    let error = ApiError::from(error);
                    if error.code != ErrorCode::ServiceUnavailable {
                        return Err(error);
                    }
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    fn must_keep_up(&self) -> Result<(), ApiError> {
        let lag = *self.head.borrow() - self.position;
        if self.live && self.until.is_none() && lag > LONGEST_LAG {
            return Err(ApiError::new(
                ErrorCode::ResumeRequired,
                format!(
                    "the subscription is {lag} events behind; subscribe again with `after` of the last position received"
                ),
            ));
        }
        Ok(())
    }
}

/// The dense number of a position that a client holds; `otherwise` when it holds none.
///
/// # Errors
/// When the position is of a log that is no more, or lies beyond the log's end.
pub async fn resolve(
    state: &AppState,
    after: Option<Position>,
    otherwise: i64,
) -> Result<i64, ApiError> {
    let Some(after) = after else {
        return Ok(otherwise);
    };
    let position = after.value_in(state.epoch().await?)?;
    // Another node may know of more than this one does.
    if position > head(state) && position > state.log.feed.head().await?.position {
        return Err(ApiError::invalid_field(
            "after",
            "is beyond the end of the log; take it from `position` or `lastEvent`",
        ));
    }
    Ok(position)
}

/// The last position that this process knows of.
pub fn head(state: &AppState) -> i64 {
    *state.log.feed.watch().borrow()
}

/// Whether an event is one of the sender's workspace.
pub fn is_visible(ctx: &RequestContext, event: &RecordedEvent) -> bool {
    event.workspace_id == ctx.workspace.to_string()
}
