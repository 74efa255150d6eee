//! `toolroom migrate`: bring the database's tables up to this version.

use std::process::ExitCode;

use toolroom_eventlog::recovery::{self, Outcome};

use super::output::say;
use crate::{
    config::Config,
    database::{Access, Missing},
};

/// Migrates, and takes up a log that came from another cluster.
///
/// # Errors
/// When the database cannot be reached or a migration fails.
pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let access = Access::open(config, Missing::Create).await?;
    let owner = access.pool().await?;
    toolroom_eventlog::migrate(&owner).await?;
    if let Outcome::Resumed { sequenced } = recovery::resume(&owner).await? {
        say(format_args!(
            "the log came from another cluster: it goes on here, {sequenced} events found their place"
        ));
    }
    owner.close().await;
    access.close().await?;
    say("the database is up to date");
    Ok(ExitCode::SUCCESS)
}
