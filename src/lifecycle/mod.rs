//! Starting, watching and stopping the server.
//!
//! Soft, then hard: the first signal lets running work end within bounds, the second ends the
//! process. A part that dies takes the process down with it.

mod database;
mod edge;
mod files;
mod node;
mod people;
pub mod signals;

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::net::TcpListener;
use toolroom_api::HttpOptions;

use self::{database::Database, node::Node, signals::Signals};
use crate::{
    config::{Config, LogFormat},
    telemetry,
};

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start, or a part of it dies.
pub async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    files::raise_limit();
    let http = edge::options(&config, !config.auth.required)?;
    let mut signals = Signals::install()?;
    // Before the database: a second server on the same port is told so at once.
    let listeners = bind(&config).await?;
    let Some(mut database) = unless_stopped(&mut signals, Database::start(&config)).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let outcome = run(&config, http, &mut signals, &mut database, listeners).await;
    let stopped = database.stop().await;
    outcome?;
    stopped?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn run(
    config: &Config,
    http: HttpOptions,
    signals: &mut Signals,
    database: &mut Database,
    listeners: Vec<TcpListener>,
) -> anyhow::Result<()> {
    let addresses = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<Vec<_>, _>>()?;
    let start = Node::start(config, http, database.options(), listeners);
    let Some(mut node) = unless_stopped(signals, start).await? else {
        return Ok(());
    };
    announce(config, &addresses);
    let outcome = tokio::select! {
        signal = signals.stop() => {
            tracing::info!(signal, "stopping; a second signal ends at once");
            Ok(())
        }
        error = node.failed() => Err(error),
        error = database.failed() => Err(error),
    };
    if let Err(error) = &outcome {
        tracing::error!(error = %format_args!("{error:#}"), "stopping: a part has failed");
    }
    signals.end_at_the_next();
    node.stop().await;
    outcome
}

async fn bind(config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(config.listen.len());
    for address in &config.listen {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; choose another address with --listen")
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Lets a signal interrupt a start that takes its time.
async fn unless_stopped<T>(
    signals: &mut Signals,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    tokio::select! {
        done = work => done.map(Some),
        signal = signals.stop() => {
            tracing::info!(signal, "stopped while starting");
            Ok(None)
        }
    }
}

/// The first lines: where everything is.
fn announce(config: &Config, addresses: &[std::net::SocketAddr]) {
    let folder =
        std::fs::canonicalize(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let scheme = config.edge.scheme();
    if telemetry::format(&config.log) == LogFormat::Json {
        for address in addresses {
            tracing::info!(
                url = %format_args!("{scheme}://{address}"),
                data_dir = %folder.display(),
                version = env!("SERVER_VERSION"),
                "listening"
            );
        }
        return;
    }
    use std::io::Write as _;
    let mut lines = format!("toolroom {}\n", env!("SERVER_VERSION"));
    for address in addresses {
        lines += &format!(
            "  GraphQL   {scheme}://{address}/graphql\n  GraphiQL  {scheme}://{address}/\n"
        );
    }
    lines += &format!("  data      {}\n", folder.display());
    // Nobody may be reading: a server goes on without its greeting.
    let _ = std::io::stdout().write_all(lines.as_bytes());
}
