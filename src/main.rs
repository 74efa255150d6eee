//! The one binary: wiring only.

mod cli;
mod config;
mod database;
mod lifecycle;
mod master_key;
mod read_models;
mod telemetry;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::{cli::Cli, config::Config};

/// A fifth of a request's time went into glibc's allocator (decision 54).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Stack of a thread. Deeply nested futures of an unoptimised build take more than the usual 2 MiB;
/// what is not used is only reserved.
const STACK_BYTES: usize = 16 * 1024 * 1024;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let (config, shown) = Config::load(cli.sources()?)?;
    telemetry::init(&config.log)?;
    tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?
        .block_on(cli.run(config, &shown))
}
