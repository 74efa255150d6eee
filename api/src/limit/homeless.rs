//! Whoever is in no workspace, and so under no plan: a person who has none yet, or nobody known.

use std::sync::Arc;

use toolroom_domain::{Clock, ErrorCode, plan::Rate, workspace::Plan};

use super::{Admission, Standing, bucket::Flow, each::Each, refusals};
use crate::{error::ApiError, state::RequestContext};

/// Senders remembered: some 200 bytes each.
const SENDERS: u64 = 50_000;

/// The requests of each, as this node has seen them: they may send as many as a key under the
/// smallest plan.
pub(super) struct Homeless {
    rate: Rate,
    senders: Each<String>,
}

impl Homeless {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let rate = Plan::Free.grants().key;
        Self {
            rate,
            senders: Each::new(Flow::from(rate), SENDERS, clock),
        }
    }

    pub(super) fn admit(&self, ctx: &RequestContext) -> Admission {
        let address = ctx.ip.as_deref().unwrap_or_default();
        let (granted, left) = self.senders.take(format!("{} {address}", ctx.actor));
        let refused = (!granted).then(|| {
            refusals("homeless").increment(1);
            let error = ApiError::new(
                ErrorCode::RateLimitExceeded,
                "too many requests of somebody who is in no workspace; wait, or make or join one",
            );
            error.retry_after(Flow::from(self.rate).time_for(1.0 - left))
        });
        Admission {
            standings: vec![Standing {
                limit: "sender",
                rate: self.rate,
                left: left as u64,
            }],
            refused,
        }
    }
}
