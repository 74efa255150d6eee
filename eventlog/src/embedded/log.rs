//! The server's log file: bounded, and quoted in errors.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::error::{Error, io_at};

/// Above this size, in bytes, a start moves the log to `….1`. Months of starts and stops fit.
const ROTATE_ABOVE: u64 = 4 * 1024 * 1024;

/// How much of the log's end an error quotes, in bytes and in lines: enough for the reason,
/// short enough for a terminal.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// The log as one start sees it.
#[derive(Debug)]
pub(super) struct ServerLog {
    pub(super) path: PathBuf,
    pub(super) file: File,
    from: u64,
}

impl ServerLog {
    /// Opens the log for appending, moving a large one away first.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if path.metadata().is_ok_and(|meta| meta.len() > ROTATE_ABOVE) {
            fs::rename(path, path.with_extension("log.1")).map_err(io_at("rotate", path))?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(io_at("open", path))?;
        let from = file.metadata().map_err(io_at("read", path))?.len();
        Ok(Self {
            path: path.to_path_buf(),
            file,
            from,
        })
    }

    /// The last lines since this start.
    pub(super) fn tail(&self) -> String {
        self.read_tail()
            .unwrap_or_else(|error| format!("(unreadable: {error})"))
    }

    fn read_tail(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            self.from.max(end.saturating_sub(TAIL_BYTES)),
        ))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(last_lines(&bytes))
    }
}

/// The last lines of a program's output, joined for an error message.
pub(super) fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return "(nothing)".to_owned();
    }
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_large_log_is_moved_away_and_an_old_start_is_not_quoted() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("postgres.log");
        fs::write(&path, "from an earlier start\n").unwrap();
        let mut log = ServerLog::open(&path).unwrap();
        assert_eq!(log.tail(), "(nothing)");
        writeln!(log.file, "from this start").unwrap();
        assert_eq!(log.tail(), "from this start");

        let large = usize::try_from(ROTATE_ABOVE).unwrap() + 1;
        fs::write(&path, vec![b'x'; large]).unwrap();
        ServerLog::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().len(), 0);
        let moved = temp.path().join("postgres.log.1");
        assert_eq!(moved.metadata().unwrap().len(), ROTATE_ABOVE + 1);
    }

    #[test]
    fn the_tail_is_bounded_in_lines() {
        let output: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let tail = last_lines(output.as_bytes());
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 99"));
    }
}
