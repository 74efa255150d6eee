//! `toolroom erase`: what a workspace kept is destroyed, for good, beside a running server or without
//! one.
//!
//! The key goes first, in the transaction of the event that tells of it; all else only clears away
//! what nobody can open any more, and can be begun again wherever it was cut short.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Clock as _, WorkspaceId,
    job::{self, Job},
    workspace::{Command, Sender, Workspace},
};
use toolroom_eventlog::{
    CommandContext, CommandError, Database, EventLog, SystemClock,
    append::SideRow,
    command::Target,
    erase::{self, Survey},
    ids,
    log::Options,
};
use toolroom_projections::queue::Queue;

use super::output::{self, plain};
use crate::{
    config::Config,
    database::{Access, Missing},
    master_key, read_models,
};

/// The part of Toolroom that does this, as events name it.
const PART: &str = "erase";

/// Why jobs of the workspace that have not ended are cancelled.
const REASON: &str = "the workspace was erased";

/// How long the event may take to get its place: any node that runs gives it one in milliseconds,
/// and one that stopped without a word leaves the work to others after some seconds.
const PLACED_WITHIN: Duration = Duration::from_secs(60);

/// How long a read model may take to leave the workspace out before it is told that it has not.
const PURGED_WITHIN: Duration = Duration::from_secs(120);

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Which one.
    #[arg(long, value_name = "ID")]
    workspace: WorkspaceId,
    /// Do it without asking for the workspace's name.
    #[arg(long)]
    yes: bool,
    /// Only say what would go.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Even if it is the workspace that the server began with: nothing runs in it any more, and its
    /// keys, those of operators too, open nothing.
    #[arg(long)]
    even_default: bool,
}

/// Destroys the workspace's key and what is kept and derived of it.
///
/// # Errors
/// When there is no such workspace, it is not confirmed, or the database does not answer: then it can
/// be begun again.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.workspace == WorkspaceId::DEFAULT && !arguments.even_default {
        bail!(
            "{} is the workspace that the server began with: nothing could run in it any more, and operators' keys belong to it; say --even-default if that is meant",
            arguments.workspace
        );
    }
    let access = Access::open(config, Missing::Refuse).await?;
    let owner = access.pool().await?;
    toolroom_eventlog::migrate(&owner).await?;
    let master = master_key::find_or_make(config, &owner).await?;
    owner.close().await;
    let shutdown = CancellationToken::new();
    // Without a server nobody else gives events their places.
    let database = Database::connect_lazy(access.options().clone());
    let (log, tasks) = EventLog::start(database, master, Options::default(), &shutdown).await?;
    let erased = erase(&log, &arguments, &shutdown).await;
    shutdown.cancel();
    tasks.finish().await;
    log.database.close().await;
    access.close().await?;
    erased?;
    Ok(ExitCode::SUCCESS)
}

async fn erase(
    log: &EventLog,
    arguments: &Arguments,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let id = arguments.workspace;
    let workspace = match log.bus.load::<Workspace>(id, &id.to_string()).await {
        Ok(loaded) => loaded.aggregate,
        Err(CommandError::NotFound) => bail!("there is no workspace {id}"),
        Err(error) => return Err(error.into()),
    };
    let name = plain(workspace.name());
    let survey = erase::survey(log.database.committer_pool(), id).await;
    let survey = survey.context("what there is of it could not be counted")?;
    tell(&workspace, &name, &survey);
    if arguments.dry_run {
        return Ok(());
    }
    if !arguments.yes && !workspace.is_erased() {
        confirm(workspace.name())?;
    }
    let position = destroy(log, id).await?;
    log.vault.forget(id).await;
    output::say("its key is destroyed: nothing that it kept can be read any more");
    let cancelled = cancel_jobs(log, id).await?;
    let mut progress = output::progress("deleted rows");
    let rows = erase::purge(log.database.committer_pool(), id, |rows| {
        progress(i64::try_from(rows).unwrap_or(i64::MAX));
    })
    .await?;
    output::progress_done();
    purge_read_models(log, position, shutdown).await?;
    output::say(format_args!(
        "erased `{name}` ({id}): {cancelled} jobs cancelled, {rows} rows deleted; backups that were made before still hold it"
    ));
    Ok(())
}

fn tell(workspace: &Workspace, name: &str, survey: &Survey) {
    let so_far = match workspace.is_erased() {
        true => ", which was erased before and is cleared away to the end",
        false => "",
    };
    output::say(format_args!(
        "the workspace `{name}`{so_far}: the inputs and outputs of {} jobs, {} of which have not ended; {} large values ({} bytes), {} secrets and credentials, {} API keys, {} remembered commands, and all that is derived",
        survey.jobs,
        survey.unfinished,
        survey.blobs,
        survey.blob_bytes,
        survey.secrets,
        survey.keys,
        survey.commands
    ));
    output::say(format_args!(
        "its {} events stay, with names, tool definitions and addresses of members as they are",
        survey.events
    ));
}

/// Has whoever sits there write the workspace's name.
fn confirm(name: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("nobody can be asked here: say --yes to erase it for good");
    }
    output::say("this cannot be undone; write the workspace's name to go on:");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() != name.trim() {
        bail!("that is not its name; nothing was erased");
    }
    Ok(())
}

fn context(id: WorkspaceId) -> CommandContext {
    CommandContext::system(id, PART, ids::new_uuid().simple().to_string())
}

/// Appends the event with the end of the key; says up to where read models must come.
async fn destroy(log: &EventLog, id: WorkspaceId) -> anyhow::Result<i64> {
    let command = Command::Erase {
        sender: Sender::Operator,
        at: SystemClock.now(),
    };
    let context = CommandContext {
        side: vec![SideRow::Erase],
        ..context(id)
    };
    let target = Target::<Workspace>::Existing(id.to_string());
    let executed = log.bus.execute(target, command, &context).await?;
    let Some(global_seq) = executed.global_seq else {
        return Ok(log.feed.head().await?.position);
    };
    let position = log.feed.position_of(global_seq, PLACED_WITHIN).await?;
    position.context(
        "its key is destroyed, but the event has no place in the log yet: begin again when the server sequences",
    )
}

/// Ends what has not ended: on whichever node it runs, it is aborted when that node learns of it.
async fn cancel_jobs(log: &EventLog, id: WorkspaceId) -> anyhow::Result<u64> {
    let mut cancelled = 0;
    let mut after = 0;
    let pool = log.database.committer_pool();
    while let Some(stretch) = erase::stretch(pool, id, after).await? {
        after = stretch.to;
        for job in stretch.unfinished {
            let command = job::Command::Cancel {
                reason: Some(REASON.to_owned()),
                at: SystemClock.now(),
            };
            let target = Target::<Job>::Existing(job);
            match log.bus.execute(target, command, &context(id)).await {
                Ok(_) => cancelled += 1,
                // It has ended meanwhile.
                Err(CommandError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(cancelled)
}

/// Waits until no read model holds anything of the workspace; those that nobody keeps are taken that
/// far here.
async fn purge_read_models(
    log: &EventLog,
    position: i64,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let projections = read_models::all(&Queue::default());
    let names: Vec<_> = projections.iter().map(|p| p.name()).collect();
    let config = toolroom_projections::Config {
        projections,
        node: format!("erase-{}", ids::new_uuid().simple()),
    };
    let (reader, mut followers) = toolroom_projections::start(log, config, shutdown);
    reader.prepare().await?;
    let mut behind = Vec::new();
    for name in names {
        if !reader.wait_for(name, position, PURGED_WITHIN).await? {
            behind.push(name);
        }
    }
    shutdown.cancel();
    while followers.join_next().await.is_some() {}
    if !behind.is_empty() {
        bail!(
            "its key is destroyed, but {} did not come to the event in time and may still show names and texts: see `toolroom doctor`, then begin again",
            behind.join(", ")
        );
    }
    Ok(())
}
