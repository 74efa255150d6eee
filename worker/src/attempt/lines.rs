//! The lines that a run writes, on their way into the log.

use std::mem;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use toolroom_domain::{
    job::{Job, Line},
    limits,
};

use crate::executor::Level;

/// Bytes of one line. A longer one is cut: whoever writes whole documents has an output for them.
const LINE_BYTES: usize = 16 * 1024;

/// Bytes of waiting lines that are appended without waiting longer.
pub(super) const BATCH_BYTES: usize = 32 * 1024;

/// What of a line is not its text: the moment, the level, the source, and JSON around them.
const LINE_FRAME_BYTES: usize = 96;

/// Lines that wait to be appended, and how many more the job may write.
#[derive(Debug)]
pub(super) struct Lines {
    waiting: Vec<Line>,
    waiting_bytes: usize,
    lines_left: usize,
    bytes_left: usize,
    is_cut: bool,
    begun: (Timestamp, Instant),
}

impl Lines {
    /// What the job's earlier attempts wrote counts too.
    pub(super) fn new(job: &Job, now: Timestamp) -> Self {
        let earlier = || job.attempts().iter().flat_map(|attempt| &attempt.lines);
        let lines: usize = earlier().map(|lines| lines.count as usize).sum();
        let bytes: u64 = earlier().map(|lines| lines.sealed.bytes()).sum();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            waiting: Vec::new(),
            waiting_bytes: 0,
            lines_left: limits::JOB_LINES.saturating_sub(lines),
            bytes_left: limits::JOB_LINES_BYTES.saturating_sub(bytes),
            is_cut: false,
            begun: (now, Instant::now()),
        }
    }

    /// Takes a line; whether so much waits that it should be appended now.
    pub(super) fn write(&mut self, level: Level, source: &str, message: String) -> bool {
        if self.is_cut {
            return false;
        }
        let message = match message.len() > LINE_BYTES {
            true => format!("{}…", &message[..message.floor_char_boundary(LINE_BYTES)]),
            false => message,
        };
        let size = message.len() + source.len() + LINE_FRAME_BYTES;
        if self.lines_left == 0 || self.bytes_left < size {
            self.is_cut = true;
            self.push(
                Level::Warn,
                "runtime",
                format!(
                    "the run wrote more than is kept of a job, {} lines and {} KiB; the rest is left out",
                    limits::JOB_LINES,
                    limits::JOB_LINES_BYTES / 1024
                ),
            );
            return false;
        }
        self.lines_left -= 1;
        self.bytes_left -= size;
        self.waiting_bytes += size;
        self.push(level, source, message);
        self.waiting_bytes >= BATCH_BYTES
    }

    fn push(&mut self, level: Level, source: &str, message: String) {
        // By a clock that only goes forward, so that a run's lines stay in order.
        let (began, since) = self.begun;
        let passed = since.elapsed().min(Duration::from_secs(1 << 32));
        self.waiting.push(Line {
            at: began.checked_add(passed).unwrap_or(began),
            level: level.as_str().to_owned(),
            source: source.to_owned(),
            message,
        });
    }

    /// Takes what waits.
    pub(super) fn take(&mut self) -> Vec<Line> {
        self.waiting_bytes = 0;
        mem::take(&mut self.waiting)
    }

    /// Takes lines back that could not be appended.
    pub(super) fn put_back(&mut self, mut lines: Vec<Line>) {
        lines.append(&mut self.waiting);
        self.waiting = lines;
    }
}

/// Lines as they are sealed.
pub(super) fn to_value(lines: &[Line]) -> Value {
    serde_json::to_value(lines).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        Lines::new(&Job::default(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_job_keeps_so_many_lines_and_says_once_that_there_were_more() {
        let mut lines = lines();
        for n in 0..limits::JOB_LINES + 5 {
            lines.write(Level::Info, "stdout", n.to_string());
        }
        let kept = lines.take();
        assert_eq!(kept.len(), limits::JOB_LINES + 1);
        let last = kept.last().unwrap();
        assert_eq!(
            (last.source.as_str(), last.level.as_str()),
            ("runtime", "warn")
        );
    }

    #[test]
    fn a_job_keeps_so_many_bytes() {
        let mut lines = lines();
        for _ in 0..1_000 {
            lines.write(Level::Info, "stdout", "é".repeat(LINE_BYTES));
        }
        let kept = lines.take();
        let bytes: usize = kept.iter().map(|line| line.message.len()).sum();
        assert!(bytes <= limits::JOB_LINES_BYTES, "{bytes}");
        assert!(kept[0].message.len() <= LINE_BYTES + '…'.len_utf8());
    }

    #[test]
    fn enough_for_a_batch_is_told_and_what_is_put_back_comes_first() {
        let mut lines = lines();
        assert!(!lines.write(Level::Info, "stdout", "a".repeat(LINE_BYTES)));
        assert!(lines.write(Level::Info, "stdout", "b".repeat(LINE_BYTES)));
        let taken = lines.take();
        lines.write(Level::Info, "stdout", "c".to_owned());
        lines.put_back(taken);
        let order: String = lines.take().iter().map(|line| &line.message[..1]).collect();
        assert_eq!(order, "abc");
    }
}
