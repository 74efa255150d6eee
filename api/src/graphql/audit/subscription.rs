//! The audit live, and played back.

use std::{sync::Arc, time::Duration};

use async_graphql::{Context, Subscription};
use futures::{Stream, stream};
use jiff::Timestamp;
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::RecordedEvent;
use toolroom_projections::audit as read_model;

use super::object::{AuditEvent, AuditFilter};
use crate::{
    error::ApiError,
    graphql::{
        app, request,
        scalar::{DateTime, Position},
    },
    service::follow::{Follow, head, resolve},
};

/// The smallest step of time that the database tells apart, so that `from` is included.
const TIME_STEP: jiff::SignedDuration = jiff::SignedDuration::from_micros(1);

/// How much faster than it was the past may be played; 0 is without any pause.
const MAX_SPEED: f64 = 1_000_000.0;

/// Events that pass a filter.
struct Filtered {
    follow: Follow,
    workspace: WorkspaceId,
    filter: read_model::AuditFilter,
}

impl Filtered {
    async fn next(&mut self) -> Result<Option<Arc<RecordedEvent>>, ApiError> {
        while let Some(event) = self.follow.next().await? {
            if self.filter.matches(self.workspace, &event) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

/// The past, and how fast it is played.
struct Playback {
    events: Filtered,
    speed: f64,
    last: Option<Timestamp>,
}

impl Playback {
    async fn next(&mut self) -> Result<Option<Arc<RecordedEvent>>, ApiError> {
        let Some(event) = self.events.next().await? else {
            return Ok(None);
        };
        let since = self.last.replace(event.logged_at).map_or(0.0, |last| {
            event.logged_at.duration_since(last).as_secs_f64()
        });
        if self.speed > 0.0
            && since > 0.0
            && let Ok(pause) = Duration::try_from_secs_f64(since / self.speed)
        {
            tokio::time::sleep(pause).await;
        }
        Ok(Some(event))
    }
}

/// The audit live, and played back.
#[derive(Default)]
pub struct AuditSubscription;

#[Subscription]
impl AuditSubscription {
    /// Events after `after` (from the beginning if null), then live ones: none missed, none twice,
    /// in order.
    async fn audit_events(
        &self,
        ctx: &Context<'_>,
        after: Option<Position>,
        filter: Option<AuditFilter>,
    ) -> Result<impl Stream<Item = Result<AuditEvent, ApiError>> + use<>, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let from = resolve(state, after.map(|after| after.0), 0).await?;
        let events = Filtered {
            follow: Follow::after(state, from),
            workspace: sender.workspace,
            filter: filter.unwrap_or_default().into(),
        };
        Ok(stream::try_unfold(events, async |mut events| {
            let Some(event) = events.next().await? else {
                return Ok(None);
            };
            Ok(Some((AuditEvent::try_new(event, None)?, events)))
        }))
    }

    /// The past played back: events between two times, at `speed` times real time (0 = as fast as
    /// it can), then it ends.
    async fn audit_replay(
        &self,
        ctx: &Context<'_>,
        from: Option<DateTime>,
        to: Option<DateTime>,
        after: Option<Position>,
        #[graphql(default_with = "Some(0.0)")] speed: Option<f64>,
        filter: Option<AuditFilter>,
    ) -> Result<impl Stream<Item = Result<AuditEvent, ApiError>> + use<>, ApiError> {
        let speed = speed.unwrap_or(0.0);
        if !(0.0..=MAX_SPEED).contains(&speed) {
            let problem = format!("must be from 0 to {MAX_SPEED}");
            return Err(ApiError::invalid_field("speed", problem));
        }
        let (state, sender) = (app(ctx), request(ctx)?);
        let feed = &state.log.feed;
        let before = match from.and_then(|from| from.0.checked_sub(TIME_STEP).ok()) {
            Some(before) => feed.position_at(before).await?,
            None => 0,
        };
        let resumed = resolve(state, after.map(|after| after.0), 0).await?;
        let until = match to {
            Some(to) => feed.position_at(to.0).await?,
            None => head(state),
        };
        let playback = Playback {
            events: Filtered {
                follow: Follow::between(state, before.max(resumed), until),
                workspace: sender.workspace,
                filter: filter.unwrap_or_default().into(),
            },
            speed,
            last: None,
        };
        Ok(stream::try_unfold(playback, async |mut playback| {
            let Some(event) = playback.next().await? else {
                return Ok(None);
            };
            Ok(Some((AuditEvent::try_new(event, None)?, playback)))
        }))
    }
}
