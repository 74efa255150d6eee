//! Who on this node waits for the end of which job, wherever it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use toolroom_domain::JobId;

/// Those who wait, by job.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    waiting: Arc<Mutex<HashMap<JobId, Arc<Notify>>>>,
}

/// Somebody who waits for a job; no more, when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    ends: Ends,
    job: JobId,
    ended: Arc<Notify>,
}

impl Ends {
    /// Begins to wait. Whether the job has ended is to be asked after this, or its end may be
    /// missed.
    pub(crate) fn wait_for(&self, job: JobId) -> Waiting {
        let ended = Arc::clone(self.lock().entry(job).or_default());
        Waiting {
            ends: self.clone(),
            job,
            ended,
        }
    }

    /// Tells all who wait for it that a job has ended.
    pub(crate) fn tell(&self, job: JobId) {
        if let Some(ended) = self.lock().get(&job) {
            ended.notify_waiters();
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Waits to be told. A hint may be missed before this is first polled.
    pub(crate) async fn told(&self) {
        self.ended.notified().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.ends.lock();
        // One in the map, one in here: nobody else.
        if Arc::strong_count(&self.ended) <= 2 {
            waiting.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_told_and_then_nothing_is_left() {
        let ends = Ends::default();
        let job = JobId::from_uuid(uuid::Uuid::from_u128(1));
        let (one, other) = (ends.wait_for(job), ends.wait_for(job));
        let told = futures::future::join(one.told(), other.told());
        let telling = async { ends.tell(job) };
        futures::future::join(told, telling).await;
        drop(one);
        assert!(!ends.is_empty());
        drop(other);
        assert!(ends.is_empty());
    }
}
