//! `toolroom schema`: the GraphQL schema, for which nothing need run.

use std::io::Write as _;
use std::process::ExitCode;

use super::output;

/// Prints it.
///
/// # Errors
/// When nothing can be written.
pub fn run() -> anyhow::Result<ExitCode> {
    let mut out = output::standard();
    out.write_all(toolroom_api::graphql::sdl().as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
