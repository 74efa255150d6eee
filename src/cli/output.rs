//! Where commands write: results to standard output or a file, words about them to standard error.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde::Serialize;
use tabwriter::TabWriter;

/// Written at once: system calls for each line would cost more than the lines.
const BUFFER: usize = 256 * 1024;

/// What stands for a value that is not there.
const ABSENT: &str = "–";

/// Spaces between the columns of a table.
const GAP: usize = 2;

/// Standard output, buffered.
pub fn standard() -> BufWriter<io::Stdout> {
    BufWriter::with_capacity(BUFFER, io::stdout())
}

/// Says something to whoever watches; that nobody does is no fault.
pub fn say(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A text of somebody else, without what a terminal would obey or what would break a table.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => c,
        })
        .collect()
}

/// A moment as people read it: to the second, in UTC.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Prints one line.
///
/// # Errors
/// When nothing can be written.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints a value as JSON, for scripts.
///
/// # Errors
/// When nothing can be written.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints a list as JSON, for scripts; to a reader that has had enough, no more of it.
///
/// # Errors
/// When nothing can be written.
pub fn json_list(values: &[impl Serialize]) -> io::Result<()> {
    unless_left(json(&values))
}

/// A reader of a list that leaves early, as `head` does, is no fault. What is told once, such as a
/// new key, is lost then and is not printed so.
fn unless_left(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Prints aligned columns, for people; what is absent as a dash. To a reader that has had enough, no
/// more of it.
///
/// # Errors
/// When nothing can be written.
pub fn table<const COLUMNS: usize>(
    headings: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [Option<String>; COLUMNS]>,
) -> io::Result<()> {
    let mut out = aligned();
    let print = || {
        writeln!(out, "{}", headings.join("\t"))?;
        for row in rows {
            let cells = row.map(|cell| plain(cell.as_deref().unwrap_or(ABSENT)));
            writeln!(out, "{}", cells.join("\t"))?;
        }
        out.flush()
    };
    unless_left(print())
}

/// Prints what is known of one thing, for people.
///
/// # Errors
/// When nothing can be written.
pub fn pairs<const PAIRS: usize>(pairs: [(&str, Option<String>); PAIRS]) -> io::Result<()> {
    let mut out = aligned();
    for (name, value) in pairs {
        writeln!(out, "{name}\t{}", plain(value.as_deref().unwrap_or(ABSENT)))?;
    }
    out.flush()
}

fn aligned() -> TabWriter<io::Stdout> {
    TabWriter::new(io::stdout()).padding(GAP)
}

/// Tells how far something is, on one line of a terminal, and nowhere else.
pub fn progress(what: &'static str) -> impl FnMut(i64) {
    let terminal = io::stderr().is_terminal();
    move |reached| {
        if terminal {
            let _ = write!(io::stderr(), "\r{what} {reached} \x1b[K");
        }
    }
}

/// Tells what is being done, in the place of the line of progress before; on a terminal only.
pub fn status(what: impl std::fmt::Display) {
    if io::stderr().is_terminal() {
        // Erases what is left of a longer line.
        let _ = write!(io::stderr(), "\r{what} \x1b[K");
    }
}

/// Ends a line of progress.
pub fn progress_done() {
    if io::stderr().is_terminal() {
        let _ = writeln!(io::stderr());
    }
}

/// A file that appears under its name only when it is whole, readable to its owner alone.
pub struct NewFile {
    file: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Begins one.
    ///
    /// # Errors
    /// When there is a file of that name already, or none can be made.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        if path.exists() {
            bail!("{} is there already: name another file", path.display());
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .with_context(|| format!("{} cannot be made", partial.display()))?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER, file),
            partial,
            path: path.to_path_buf(),
        })
    }

    /// Puts it on the disk and gives it its name.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            // Unlike a rename, a link never replaces what came there meanwhile.
            .and_then(|()| fs::hard_link(&self.partial, &self.path))
            .with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.partial);
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_cannot_steer_the_terminal() {
        assert_eq!(plain("a\tb\n\u{1b}[1mc\u{9b}d é"), "a�b��[1mc�d é");
    }

    #[test]
    fn a_reader_of_a_list_may_leave() {
        let failed = |kind| unless_left(Err(io::Error::from(kind)));
        assert!(failed(io::ErrorKind::BrokenPipe).is_ok());
        assert!(failed(io::ErrorKind::StorageFull).is_err());
    }

    #[test]
    fn a_file_appears_when_it_is_whole_and_replaces_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert!(NewFile::create(&path).is_err());
        drop(NewFile::create(&folder.path().join("given up")).unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
