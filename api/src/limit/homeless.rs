//! Whoever is in no workspace, and so under no plan: a person who has none yet, or nobody known.

use std::sync::{Arc, Mutex, PoisonError};

use moka::{policy::EvictionPolicy, sync::Cache};
use toolroom_domain::{Clock, ErrorCode, workspace::Plan};

use super::{
    Admission, Standing,
    bucket::{Bucket, Flow},
    refusals,
};
use crate::{error::ApiError, state::RequestContext};

/// Senders remembered: some 200 bytes each.
const SENDERS: u64 = 50_000;

/// The requests of each, as this node has seen them: they may send as many as a key under the
/// smallest plan.
pub(super) struct Homeless {
    clock: Arc<dyn Clock>,
    buckets: Cache<String, Arc<Mutex<Bucket>>>,
}

impl Homeless {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let flow = Flow::from(Plan::Free.grants().key);
        Self {
            clock,
            buckets: Cache::builder()
                .max_capacity(SENDERS)
                .eviction_policy(EvictionPolicy::lru())
                // By then its bucket is full again.
                .time_to_idle(flow.time_to_fill())
                .build(),
        }
    }

    pub(super) fn admit(&self, ctx: &RequestContext) -> Admission {
        let rate = Plan::Free.grants().key;
        let flow = Flow::from(rate);
        let now = self.clock.now();
        let address = ctx.ip.as_deref().unwrap_or_default();
        let sender = format!("{} {address}", ctx.actor);
        let bucket = self
            .buckets
            .get_with(sender, || Arc::new(Mutex::new(Bucket::full(flow, now))));
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = bucket.take(flow, 1, now);
        let left = bucket.tokens(flow, now);
        let refused = (granted == 0).then(|| {
            refusals("homeless").increment(1);
            let error = ApiError::new(
                ErrorCode::RateLimitExceeded,
                "too many requests of somebody who is in no workspace; wait, or make or join one",
            );
            error.retry_after(flow.time_for(1.0 - left))
        });
        Admission {
            standings: vec![Standing {
                limit: "sender",
                rate,
                left: left as u64,
            }],
            refused,
        }
    }
}
