//! `toolroom rebuild`: fill a read model anew from the log, beside the one that serves.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use toolroom_eventlog::{Database, EventLog, log::Options};
use toolroom_projections::{queue::Queue, rebuild_blocking};

use super::output;
use crate::{
    config::Config,
    database::{Access, Missing},
    master_key, read_models,
};

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// A projection's name, or `all`.
    name: String,
}

/// Returns when the new tables serve.
///
/// # Errors
/// When there is no such projection, or the database does not answer.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let access = Access::open(config, Missing::Refuse).await?;
    let owner = access.pool().await?;
    toolroom_eventlog::migrate(&owner).await?;
    let master = master_key::find_or_make(config, &owner).await?;
    owner.close().await;
    let shutdown = CancellationToken::new();
    let alone = Options {
        sequence: false,
        other_nodes: false,
    };
    let database = Database::connect_lazy(access.options().clone());
    let (log, tasks) = EventLog::start(database, master, alone, &shutdown).await?;
    let mut say = output::progress("rebuilt up to position");
    let rebuilt = rebuild_blocking(
        &log,
        &read_models::all(&Queue::default()),
        &arguments.name,
        &shutdown,
        |progress| say(progress.position),
    )
    .await;
    output::progress_done();
    shutdown.cancel();
    tasks.finish().await;
    log.database.close().await;
    access.close().await?;
    rebuilt?;
    output::say(format_args!("rebuilt {}", arguments.name));
    Ok(ExitCode::SUCCESS)
}
