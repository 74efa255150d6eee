//! A job's log, line by line: what its runs wrote, and what was decided over them. It is read from
//! the job's own events, so that nothing of it is kept twice, and erasing a workspace's key erases
//! what its runs wrote.

use jiff::Timestamp;
use toolroom_domain::{
    JobId, WorkspaceId,
    job::{Event, Failure, Job, Line, Receipt, ReceiptOutcome, SecretUse, seal_context},
};
use toolroom_eventlog::{Aggregate as _, history, vault::Opened};

use super::of_job;
use crate::{
    error::ApiError,
    service::follow::{Follow, head, is_visible},
    state::{AppState, RequestContext},
};

/// Who wrote a line that was not written by the run itself.
pub const RUNTIME: &str = "runtime";

/// A line's place in its job's log: the first event of the append that told it, and which of that
/// append's lines it is. What is appended later comes later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey {
    /// The sequence of the append's first event.
    pub sequence: i64,
    /// Which of the append's lines, from 0.
    pub index: usize,
}

impl std::fmt::Display for LineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.sequence, self.index)
    }
}

impl LineKey {
    /// The key of this text, as it is displayed.
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, index) = text.split_once(',')?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            index: index.parse().ok()?,
        })
    }
}

/// A line with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place.
    pub key: LineKey,
    /// The line.
    pub line: Line,
}

/// The lines of a job after a place, in order; all, without one.
///
/// # Errors
/// When the workspace has no such job, or the database does not answer.
pub async fn read(
    state: &AppState,
    workspace: WorkspaceId,
    job: JobId,
    after: Option<LineKey>,
) -> Result<Vec<Entry>, ApiError> {
    let (reads, id) = (state.log.database.reads(), job.to_string());
    let from = after.map_or(1, |after| after.sequence);
    let events = history::as_written(reads, workspace, Job::TYPE, &id, from).await?;
    if events.is_empty() && after.is_none() {
        let error = ApiError::refused(&toolroom_domain::job::Error::Unknown);
        return Err(of_job(error, job));
    }
    let mut entries = Vec::new();
    let mut rest = events.as_slice();
    while let Some(first) = rest.first() {
        let command = first.metadata().map_err(ApiError::internal)?.command_id;
        let mut length = 1;
        while let Some(next) = rest.get(length) {
            if next.metadata().map_err(ApiError::internal)?.command_id != command {
                break;
            }
            length += 1;
        }
        let (append, later) = rest.split_at(length);
        let mut lines = Vec::new();
        for event in append {
            let actor = event.metadata().map_err(ApiError::internal)?.actor;
            let event = event.decode::<Event>().map_err(ApiError::internal)?;
            lines.extend(told(state, workspace, job, &actor, event).await?);
        }
        // One append tells of a while, and its events of one thing after the other.
        lines.sort_by_key(|line| line.at);
        let sequence = first.sequence;
        let keyed = lines.into_iter().enumerate().map(|(index, line)| Entry {
            key: LineKey { sequence, index },
            line,
        });
        entries.extend(keyed.filter(|entry| after.is_none_or(|after| entry.key > after)));
        rest = later;
    }
    Ok(entries)
}

/// What the runs of a job wrote to one of their outputs, such as `stdout`; none if nothing.
pub fn output_of(entries: &[Entry], source: &str) -> Option<String> {
    let lines: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.line.source == source)
        .map(|entry| entry.line.message.as_str())
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

async fn told(
    state: &AppState,
    workspace: WorkspaceId,
    job: JobId,
    actor: &str,
    event: Event,
) -> Result<Vec<Line>, ApiError> {
    let line = |at: Timestamp, level: &str, message: String| {
        vec![Line {
            at,
            level: level.to_owned(),
            source: RUNTIME.to_owned(),
            message,
        }]
    };
    Ok(match event {
        Event::Requested {
            run_at,
            rerun_of,
            recorded,
            at,
            ..
        } => {
            let mut message = format!("requested by {actor}");
            if let Some(past) = rerun_of {
                message += &match recorded {
                    true => format!(", to be answered from the record of {past}"),
                    false => format!(", to repeat {past}"),
                };
            }
            if let Some(run_at) = run_at {
                message += &format!(", to run at {run_at}");
            }
            line(at, "info", message)
        }
        Event::Started {
            attempt, node, at, ..
        } => line(at, "info", format!("attempt {attempt} started on {node}")),
        Event::Progressed { progress, at, .. } => {
            let percentage = progress.percentage.map(|p| format!(" ({p:.0} %)"));
            let step = progress.step.unwrap_or_else(|| "under way".to_owned());
            line(at, "debug", step + &percentage.unwrap_or_default())
        }
        Event::SecretsUsed { secrets, at, .. } => {
            let names: Vec<_> = secrets.iter().map(secret).collect();
            line(at, "info", format!("used the secrets {}", names.join(", ")))
        }
        Event::CallRecorded { receipt, at, .. } => {
            let (level, message) = call(&receipt);
            let at = match receipt.outcome {
                ReceiptOutcome::Unknown => receipt.sent_at,
                _ => at,
            };
            line(at, level, message)
        }
        Event::LinesWritten { lines, at, .. } => {
            let context = seal_context(job, "lines");
            let opened = state.log.vault.open(workspace, &context, &lines.sealed);
            match opened.await? {
                Opened::Value(value) => {
                    serde_json::from_value(value).map_err(ApiError::internal)?
                }
                Opened::Erased => line(at, "info", format!("{} lines were erased", lines.count)),
            }
        }
        Event::Succeeded {
            duration_us, at, ..
        } => line(at, "info", format!("succeeded after {}", took(duration_us))),
        Event::Failed {
            attempt, error, at, ..
        } => line(at, "error", failed(attempt, &error)),
        Event::AttemptFailed {
            attempt, error, at, ..
        } => line(at, "warn", failed(attempt, &error)),
        Event::RetryScheduled {
            attempt,
            run_at,
            at,
        } => {
            let pause = run_at.duration_since(at).as_secs_f64();
            line(
                at,
                "info",
                format!("attempt {attempt} follows in {pause:.1} s"),
            )
        }
        Event::Cancelled { reason, at } => {
            let by = format!("cancelled by {actor}");
            line(
                at,
                "warn",
                reason.map_or(by.clone(), |why| format!("{by}: {why}")),
            )
        }
    })
}

fn secret(used: &SecretUse) -> String {
    match used.version {
        0 => format!("{} of the server's environment", used.name),
        version => format!("{}@{version}", used.name),
    }
}

fn call(receipt: &Receipt) -> (&'static str, String) {
    let Receipt {
        method,
        url,
        idempotency_key: key,
        ..
    } = receipt;
    match (receipt.outcome, receipt.status) {
        (ReceiptOutcome::Answered, Some(status)) => {
            ("info", format!("{method} {url} was answered {status}"))
        }
        (ReceiptOutcome::Answered, None) => ("info", format!("{method} {url} was answered")),
        (ReceiptOutcome::NotSent, _) => ("warn", format!("{method} {url} did not go out")),
        (ReceiptOutcome::Unknown, _) => ("info", format!("{method} {url} goes out as {key}")),
    }
}

fn failed(attempt: u32, error: &Failure) -> String {
    match attempt {
        0 => format!("failed: {} ({})", error.message, error.code),
        _ => format!(
            "attempt {attempt} failed: {} ({})",
            error.message, error.code
        ),
    }
}

fn took(duration_us: u64) -> String {
    // Exact up to 285 years.
    #[allow(clippy::cast_precision_loss)]
    let ms = duration_us as f64 / 1000.0;
    format!("{ms:.1} ms")
}

/// The lines of a job as they come, to its end.
pub struct Lines {
    state: AppState,
    sender: RequestContext,
    job: JobId,
    after: Option<LineKey>,
    follow: Follow,
    waiting: std::collections::VecDeque<Entry>,
    /// Whether something may have been appended since the lines were read.
    stale: bool,
    ended: bool,
}

impl Lines {
    /// The lines after a place, or from the first one on.
    ///
    /// # Errors
    /// When the workspace has no such job, or the database does not answer.
    pub async fn of(
        state: &AppState,
        sender: &RequestContext,
        job: JobId,
        after: Option<LineKey>,
    ) -> Result<Self, ApiError> {
        // What comes after this is told by the log; what came before is read now.
        let follow = Follow::after(state, head(state));
        let id = job.to_string();
        let loaded = state.log.bus.load::<Job>(sender.workspace, &id).await;
        let loaded = loaded.map_err(|error| of_job(error.into(), job))?;
        Ok(Self {
            state: state.clone(),
            sender: sender.clone(),
            job,
            after,
            follow,
            waiting: std::collections::VecDeque::new(),
            stale: true,
            ended: loaded.aggregate.status().is_final(),
        })
    }

    /// The next line; none after the job's last one.
    ///
    /// # Errors
    /// When the subscriber must resume, or the database does not answer.
    pub async fn next(&mut self) -> Result<Option<Entry>, ApiError> {
        loop {
            if let Some(entry) = self.waiting.pop_front() {
                self.after = Some(entry.key);
                return Ok(Some(entry));
            }
            if self.stale {
                let (workspace, after) = (self.sender.workspace, self.after);
                let read = read(&self.state, workspace, self.job, after).await?;
                self.waiting.extend(read);
                self.stale = false;
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            let Some(event) = self.follow.next().await? else {
                return Ok(None);
            };
            if event.aggregate_type == Job::TYPE
                && event.aggregate_id == self.job.to_string()
                && is_visible(&self.sender, &event)
            {
                self.stale = true;
                self.ended |= matches!(
                    event.event_type.as_str(),
                    "JobSucceeded" | "JobFailed" | "JobCancelled"
                );
            }
        }
    }
}
