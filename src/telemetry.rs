//! The log of the process, on standard error.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{Log, LogFormat};

/// The form that lines have: as configured, else for people on a terminal and JSON elsewhere.
pub fn format(log: &Log) -> LogFormat {
    log.format
        .unwrap_or_else(|| match std::io::stderr().is_terminal() {
            true => LogFormat::Pretty,
            false => LogFormat::Json,
        })
}

/// Starts logging, once.
///
/// # Errors
/// When the filter is no filter.
pub fn init(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter)
        .with_context(|| format!("`log.filter` is {:?}, which is no filter of levels such as \"info,toolroom_worker=debug\"", log.filter))?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format(log) {
        LogFormat::Pretty => {
            let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(lines.with_ansi(ansi)).try_init()
        }
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_span_list(false))
            .try_init(),
    }
    .context("logging was started already")
}
