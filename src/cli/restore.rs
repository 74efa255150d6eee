//! `toolroom restore`: a backup into a new data folder or an empty database.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use toolroom_eventlog::backup;

use super::output;
use crate::{
    config::{Config, MasterKeySource},
    database::{Access, Missing},
};

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The file to read; `-` for standard input.
    file: PathBuf,
}

/// Read at once.
const BUFFER: usize = 256 * 1024;

/// Restores and verifies.
///
/// # Errors
/// When the file is no whole backup, the database is not empty, or the chain does not hold.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut input: Box<dyn BufRead> = if arguments.file == Path::new("-") {
        Box::new(BufReader::with_capacity(BUFFER, io::stdin()))
    } else {
        let file = File::open(&arguments.file)
            .with_context(|| format!("{} cannot be read", arguments.file.display()))?;
        Box::new(BufReader::with_capacity(BUFFER, file))
    };
    let access = Access::open(config, Missing::Create).await?;
    let owner = access.pool().await?;
    toolroom_eventlog::migrate(&owner).await?;
    let progress = output::progress("verified up to position");
    let restored = backup::restore(&owner, &mut input, progress).await;
    output::progress_done();
    owner.close().await;
    access.close().await?;
    let report = restored?;
    output::say(format_args!(
        "restored {} events, head {}:{}; the chain holds",
        report.events, report.position, report.hash
    ));
    if let MasterKeySource::File(key) = &config.master_key
        && !key.exists()
    {
        output::say(format_args!(
            "put the master key back at {} before the server starts: without it nothing that is encrypted opens",
            key.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
