//! A bucket for each of many, as this node has seen them.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use toolroom_domain::Clock;

use super::bucket::{Bucket, Flow};

/// A bucket for each of many. Cheap to clone.
#[derive(Clone)]
pub(super) struct Each<K> {
    flow: Flow,
    clock: Arc<dyn Clock>,
    buckets: Cache<K, Arc<Mutex<Bucket>>>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Each<K> {
    /// Full buckets, of which so many are remembered: of more the one used longest ago is forgotten.
    pub(super) fn new(flow: Flow, most: u64, clock: Arc<dyn Clock>) -> Self {
        let buckets = Cache::builder()
            .max_capacity(most)
            // The least frequently seen first, the default, would not let a new one in.
            .eviction_policy(EvictionPolicy::lru())
            // By then its bucket is full again.
            .time_to_idle(flow.time_to_fill())
            .build();
        Self {
            flow,
            clock,
            buckets,
        }
    }

    /// The tokens in the bucket of this one.
    pub(super) fn tokens(&self, of: &K) -> f64 {
        let Some(bucket) = self.buckets.get(of) else {
            return self.flow.burst;
        };
        let bucket = *bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.tokens(self.flow, self.clock.now())
    }

    /// Takes a token of this one's bucket, if there is one. Says whether there was, and how many are
    /// left.
    pub(super) fn take(&self, of: K) -> (bool, f64) {
        let now = self.clock.now();
        let bucket = self
            .buckets
            .get_with(of, || Arc::new(Mutex::new(Bucket::full(self.flow, now))));
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = bucket.take(self.flow, 1, now);
        (granted == 1, bucket.tokens(self.flow, now))
    }

    /// How many are remembered, now that those of more are forgotten.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> u64 {
        self.buckets.run_pending_tasks();
        self.buckets.entry_count()
    }
}
