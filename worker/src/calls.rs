//! The calls that this node is making right now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use toolroom_domain::JobId;

/// A call under way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) attempt: u32,
    pub(crate) cancel: CancellationToken,
    ended: watch::Receiver<()>,
}

impl Call {
    /// Waits for its end.
    pub(crate) async fn ended(mut self) {
        // The sender is dropped with the call's place, and sends nothing before.
        while self.ended.changed().await.is_ok() {}
    }
}

/// The calls of this node, by job.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    running: Arc<Mutex<HashMap<JobId, Call>>>,
}

/// A call's place among them, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    calls: Calls,
    job: JobId,
    pub(crate) cancel: CancellationToken,
    _ended: watch::Sender<()>,
}

impl Calls {
    /// Takes a place for an attempt of a job; none when the node is running that job already.
    pub(crate) fn enter(&self, job: JobId, attempt: u32) -> Option<Place> {
        let cancel = CancellationToken::new();
        let (sender, receiver) = watch::channel(());
        let call = Call {
            attempt,
            cancel: cancel.clone(),
            ended: receiver,
        };
        let mut running = self.lock();
        if running.contains_key(&job) {
            return None;
        }
        running.insert(job, call);
        Some(Place {
            calls: self.clone(),
            job,
            cancel,
            _ended: sender,
        })
    }

    /// Aborts the job's call, if this node makes one.
    pub fn abort(&self, job: JobId) {
        if let Some(call) = self.get(job) {
            call.cancel.cancel();
        }
    }

    pub(crate) fn get(&self, job: JobId) -> Option<Call> {
        self.lock().get(&job).cloned()
    }

    /// The jobs and attempts under way.
    pub(crate) fn all(&self) -> Vec<(JobId, u32)> {
        self.lock()
            .iter()
            .map(|(job, c)| (*job, c.attempt))
            .collect()
    }

    /// How many calls are under way.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Call>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.job);
    }
}
