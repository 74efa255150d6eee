//! Ends what stays open when its sender may no longer have it.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::{Instant, MissedTickBehavior};
use toolroom_domain::ErrorCode;

use super::session::Closing;
use crate::{
    auth::{Identify, Standing},
    error::ApiError,
    state::RequestContext,
};

/// How often a sender is looked at. What is known of them is half a second old at most, so whatever
/// is open ends within two seconds of what ends it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Resolves when a sender is not who they were, or may not do what they might.
pub(super) fn lost(auth: Arc<dyn Identify>, ctx: RequestContext) -> BoxFuture<'static, Lost> {
    async move {
        let mut looks = tokio::time::interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Some(lost) = Lost::of(auth.standing(&ctx).await) {
                return lost;
            }
        }
    }
    .boxed()
}

/// What a sender has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Their credential does not count any more.
    Credential,
    /// They are something else than they were.
    Role,
}

impl Lost {
    pub(crate) fn of(standing: Standing) -> Option<Self> {
        match standing {
            Standing::Same => None,
            Standing::Gone => Some(Self::Credential),
            Standing::Changed => Some(Self::Role),
        }
    }

    /// How it is told on a WebSocket. Clients come back after 4403, as somebody else, and not
    /// after 4401.
    pub(super) fn closing(self) -> Closing {
        match self {
            Self::Credential => Closing(
                4401,
                "Unauthorized: the credential was revoked, ended or has expired".into(),
            ),
            Self::Role => Closing(
                4403,
                "Forbidden: your role or membership has changed; connect again".into(),
            ),
        }
    }

    /// How it is told in a response.
    pub(crate) fn error(self) -> ApiError {
        match self {
            Self::Credential => ApiError::new(
                ErrorCode::Unauthenticated,
                "the credential was revoked, ended or has expired; come back with another",
            ),
            Self::Role => ApiError::new(
                ErrorCode::Forbidden,
                "your role or membership has changed; come back to see what you may now",
            ),
        }
    }
}
