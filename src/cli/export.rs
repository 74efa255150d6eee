//! `toolroom export`: a stretch of the log in a file that proves itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sqlx::PgPool;
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{
    Feed,
    export::{self, Range, Report},
};

use super::output::{self, NewFile};
use crate::{
    config::Config,
    database::{Access, Missing},
};

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The first position.
    #[arg(long, value_name = "POSITION", default_value_t = 1)]
    from: i64,
    /// The last position [default: the newest].
    #[arg(long, value_name = "POSITION")]
    to: Option<i64>,
    /// Show only this workspace's events; the others are there as digests.
    #[arg(long, value_name = "ID")]
    workspace: Option<WorkspaceId>,
    /// The file to write [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the export.
///
/// # Errors
/// When the positions are not in the log, or the file cannot be written.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let access = Access::open(config, Missing::Refuse).await?;
    let pool = access.pool().await?;
    let to = match arguments.to {
        Some(to) => to,
        None => Feed::new(pool.clone()).head().await?.position,
    };
    let range = Range {
        from: arguments.from,
        to,
        workspace: arguments.workspace.map(|workspace| workspace.to_string()),
    };
    let written = write(&pool, &range, arguments.output.as_deref()).await;
    pool.close().await;
    access.close().await?;
    let report = written?;
    output::say(format_args!(
        "exported positions {} to {}: {} events, {} digests, {} large values, head {}:{}",
        report.from, report.to, report.events, report.digests, report.blobs, report.to, report.head
    ));
    Ok(ExitCode::SUCCESS)
}

async fn write(pool: &PgPool, range: &Range, file: Option<&Path>) -> anyhow::Result<Report> {
    let Some(path) = file else {
        return Ok(export::write(pool, range, &mut output::standard(), |_| {}).await?);
    };
    let mut file = NewFile::create(path)?;
    let progress = output::progress("exported up to position");
    let report = export::write(pool, range, &mut file, progress).await;
    output::progress_done();
    let report = report?;
    file.finish()?;
    Ok(report)
}
