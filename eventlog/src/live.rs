//! How far runs are, told sooner and oftener than the log is written.
//!
//! Beside the log and never in its place: what is lost here is told again by the next report, and
//! where a run ended is told by the log. Within a process a report is there at once, the newest in
//! place of older ones. Other nodes are told at most every `TELL_INTERVAL`, all runs in one
//! notification; how far in per cent, without the text of the step, which the log tells them: a
//! notification can be listened to by whoever may connect.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{JobId, job::Progress};

/// The channel on which nodes tell each other how far their runs are.
pub(crate) const CHANNEL: &str = "toolroom_progress";

/// How often other nodes are told: `pg_notify` costs a commit under a global lock.
const TELL_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of a notification; PostgreSQL takes fewer than 8,000. What does not fit is told the next
/// time, with what is newest then.
const TELL_BYTES: usize = 7_900;

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Which attempt.
    pub attempt: u32,
    /// How far.
    pub progress: Progress,
}

/// How far the runs of this process are, and those of others that somebody here watches. Cheap to
/// clone.
#[derive(Clone, Debug, Default)]
pub struct Live {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    jobs: Mutex<HashMap<JobId, Entry>>,
    /// Of which other nodes have not been told yet, and how far they are.
    untold: Mutex<HashMap<JobId, (u32, f64)>>,
    tell: Notify,
}

#[derive(Debug)]
struct Entry {
    report: watch::Sender<Option<Report>>,
    runs_here: bool,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            report: watch::Sender::new(None),
            runs_here: false,
        }
    }
}

impl Live {
    /// Takes a report of a run of this process; does not wait.
    pub fn report(&self, job: JobId, report: Report) {
        if let Some(percentage) = report.progress.percentage {
            lock(&self.shared.untold).insert(job, (report.attempt, percentage));
            self.shared.tell.notify_one();
        }
        let mut jobs = self.jobs();
        let entry = jobs.entry(job).or_default();
        entry.runs_here = true;
        entry.report.send_replace(Some(report));
    }

    /// The run of this process has ended.
    pub fn end(&self, job: JobId) {
        let mut jobs = self.jobs();
        if let Some(entry) = jobs.get_mut(&job) {
            entry.runs_here = false;
            entry.report.send_replace(None);
            if entry.report.receiver_count() == 0 {
                jobs.remove(&job);
            }
        }
        drop(jobs);
        lock(&self.shared.untold).remove(&job);
    }

    /// The newest report of a job that runs here, or that somebody here watches.
    pub fn latest(&self, job: JobId) -> Option<Report> {
        let jobs = self.jobs();
        jobs.get(&job)?.report.borrow().clone()
    }

    /// Watches a job, wherever it runs.
    pub fn watch(&self, job: JobId) -> Watching {
        let receiver = self.jobs().entry(job).or_default().report.subscribe();
        Watching {
            live: self.clone(),
            job,
            receiver: Some(receiver),
        }
    }

    /// Takes what another node told.
    pub(crate) fn heard(&self, told: &str) {
        let jobs = self.jobs();
        for (job, attempt, percentage) in told.lines().filter_map(parse) {
            // One's own notification comes back too.
            let Some(entry) = jobs.get(&job).filter(|entry| !entry.runs_here) else {
                continue;
            };
            let progress = Progress {
                step: None,
                percentage: Some(percentage),
            };
            let report = Report { attempt, progress };
            entry.report.send_replace(Some(report));
        }
    }

    /// What other nodes are to be told now; empty when nothing.
    fn untold(&self) -> String {
        let mut untold = lock(&self.shared.untold);
        let mut told = String::new();
        let mut jobs = Vec::new();
        for (job, (attempt, percentage)) in untold.iter() {
            let before = told.len();
            let _ = writeln!(told, "{job} {attempt} {percentage}");
            if told.len() > TELL_BYTES {
                told.truncate(before);
                self.shared.tell.notify_one();
                break;
            }
            jobs.push(*job);
        }
        for job in jobs {
            untold.remove(&job);
        }
        told
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Entry>> {
        lock(&self.shared.jobs)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parse(line: &str) -> Option<(JobId, u32, f64)> {
    let mut words = line.split(' ');
    let job = words.next()?.parse().ok()?;
    let attempt = words.next()?.parse().ok()?;
    let percentage = words.next()?.parse().ok()?;
    (0.0..=100.0)
        .contains(&percentage)
        .then_some((job, attempt, percentage))
}

/// Somebody's view of a job's reports.
#[derive(Debug)]
pub struct Watching {
    live: Live,
    job: JobId,
    receiver: Option<watch::Receiver<Option<Report>>>,
}

impl Watching {
    /// Waits for the next report, of which the newest is taken and older ones are skipped.
    pub async fn changed(&mut self) -> Report {
        if let Some(receiver) = &mut self.receiver {
            while receiver.changed().await.is_ok() {
                if let Some(report) = receiver.borrow_and_update().clone() {
                    return report;
                }
            }
        }
        // Its entry outlives whoever watches; were it otherwise, there would be nothing to tell.
        std::future::pending().await
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut jobs = self.live.jobs();
        self.receiver = None;
        let idle = |entry: &Entry| !entry.runs_here && entry.report.receiver_count() == 0;
        if jobs.get(&self.job).is_some_and(idle) {
            jobs.remove(&self.job);
        }
    }
}

/// Tells other nodes how far this node's runs are, until `shutdown`.
pub(crate) async fn tell_other_nodes(pool: PgPool, live: Live, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = live.shared.tell.notified() => {}
        }
        let told = live.untold();
        if !told.is_empty() {
            let sent = sqlx::query("select pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(told)
                .execute(&pool)
                .await;
            if let Err(error) = sent {
                tracing::debug!(%error, "could not tell other nodes how far runs are");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(TELL_INTERVAL) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n: u128) -> JobId {
        JobId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn report(percentage: f64) -> Report {
        Report {
            attempt: 1,
            progress: Progress {
                step: Some("secret plans".to_owned()),
                percentage: Some(percentage),
            },
        }
    }

    #[tokio::test]
    async fn a_watcher_is_given_the_newest_report() {
        let live = Live::default();
        let mut watching = live.watch(job(1));
        live.report(job(1), report(1.0));
        live.report(job(1), report(2.0));
        assert_eq!(watching.changed().await, report(2.0));
        assert_eq!(live.latest(job(1)), Some(report(2.0)));
    }

    #[test]
    fn nothing_is_kept_of_what_neither_runs_nor_is_watched() {
        let live = Live::default();
        let watching = live.watch(job(1));
        live.report(job(1), report(1.0));
        live.report(job(2), report(1.0));
        live.end(job(1));
        live.end(job(2));
        assert_eq!(live.jobs().len(), 1, "the watched one");
        drop(watching);
        assert!(live.jobs().is_empty());
        assert!(live.untold().is_empty());
    }

    #[tokio::test]
    async fn another_node_is_told_how_far_a_run_is_and_none_of_its_words() {
        let (here, there) = (Live::default(), Live::default());
        let mut watching = there.watch(job(1));
        here.report(job(1), report(40.0));
        let told = here.untold();
        assert!(!told.contains("secret"), "{told}");
        assert!(here.untold().is_empty(), "it is told once");
        there.heard(&told);
        let heard = watching.changed().await;
        assert_eq!(heard.progress.percentage, Some(40.0));
        assert_eq!(heard.progress.step, None);
        // what comes back to the teller changes nothing
        here.heard(&told);
        assert_eq!(here.latest(job(1)), Some(report(40.0)));
    }

    #[test]
    fn a_notification_has_a_bound_and_the_rest_follows() {
        let live = Live::default();
        for n in 0..1_000 {
            live.report(job(n), report(12.5));
        }
        let mut told = 0;
        loop {
            let part = live.untold();
            assert!(part.len() <= TELL_BYTES);
            if part.is_empty() {
                break;
            }
            told += part.lines().count();
        }
        assert_eq!(told, 1_000);
    }
}
