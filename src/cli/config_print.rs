//! `toolroom config print`: the effective values, each with where it came from.

use std::io::Write as _;
use std::process::ExitCode;

use super::output;
use crate::config::Shown;

/// Prints one key a line, so that the output can be kept as a `toolroom.toml`.
///
/// # Errors
/// When nothing can be written.
pub fn run(shown: &[Shown]) -> anyhow::Result<ExitCode> {
    let mut out = output::standard();
    for Shown { key, value, origin } in shown {
        match value {
            Some(value) => writeln!(out, "{key} = {value} # {origin}")?,
            None => writeln!(out, "# {key} is not set")?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
