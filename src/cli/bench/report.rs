//! What was measured, as Markdown.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use super::output;

/// Tables and words about them, gathered until they are printed.
#[derive(Default)]
pub struct Report {
    text: String,
}

impl Report {
    /// Begins a benchmark's part, with the command line that repeats it.
    pub fn heading(&mut self, title: &str, command: impl Display) {
        let _ = write!(self.text, "## {title}\n\n`toolroom bench {command}`\n\n");
    }

    /// Begins a table.
    pub fn table(&mut self, columns: &[&str]) {
        let rule = vec!["---"; columns.len()];
        let _ = writeln!(
            self.text,
            "| {} |\n|{}|",
            columns.join(" | "),
            rule.join("|")
        );
    }

    /// Adds a row to the table that was begun last.
    pub fn row(&mut self, cells: &[String]) {
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// Adds a paragraph, which ends a table.
    pub fn note(&mut self, words: impl Display) {
        let gap = if self.text.ends_with("|\n") { "\n" } else { "" };
        let _ = write!(self.text, "{gap}{words}\n\n");
    }

    /// Prints what was gathered to standard output, and begins anew.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub fn print(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.text);
        let mut out = output::standard();
        writeln!(out, "{}\n", text.trim_end())?;
        out.flush()
    }
}

/// A whole number with its thousands apart, as in `12,345`.
pub fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with two decimals.
pub fn exact(number: f64) -> String {
    format!("{number:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let written = [0.4, 7.0, 999.6, 12_345.0, 1_234_567.0].map(whole);
        assert_eq!(written, ["0", "7", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn a_note_does_not_run_into_a_table() {
        let mut report = Report::default();
        report.heading("Title", "it --n 1");
        report.table(&["a", "b"]);
        report.row(&[whole(1.0), exact(2.0)]);
        report.note("words");
        assert_eq!(
            report.text,
            "## Title\n\n`toolroom bench it --n 1`\n\n| a | b |\n|---|---|\n| 1 | 2.00 |\n\nwords\n\n"
        );
    }
}
