//! `toolroom backup`: all primary data to a file, while the server goes on.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sqlx::ConnectOptions as _;
use toolroom_eventlog::backup;

use super::output::{self, NewFile};
use crate::{
    config::{Config, MasterKeySource},
    database::{Access, Missing},
};

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The file to write; `-` for standard output.
    file: PathBuf,
}

/// Writes the backup.
///
/// # Errors
/// When the database or the file fails; no file is left then.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let access = Access::open(config, Missing::Refuse).await?;
    let mut owner = access.options().connect().await?;
    let report = if arguments.file == Path::new("-") {
        backup::write(&mut owner, &mut output::standard()).await?
    } else {
        let mut file = NewFile::create(&arguments.file)?;
        let report = backup::write(&mut owner, &mut file).await?;
        file.finish()?;
        report
    };
    drop(owner);
    access.close().await?;
    output::say(format_args!(
        "backed up {} events, head {}:{}",
        report.events, report.position, report.hash
    ));
    if let MasterKeySource::File(key) = &config.master_key {
        output::say(format_args!(
            "the master key is not in it: keep {} too, in another place",
            key.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
