//! `toolroom connectors`: which services tools can be made for, and whether a file that describes
//! one is sound.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;
use toolroom_worker::connector::{
    Connectors,
    check::{Checked, Shown, check},
};

use super::output;
use crate::config::Config;

/// What to do.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the connectors of this server: those that come with it, and those of `connectors_dir`.
    List,
    /// Check a connector's file, and show the request that each of its examples would send.
    /// Nothing is sent.
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// Does it. A file that is not sound ends with 1.
///
/// # Errors
/// When connectors cannot be loaded, or nothing can be written.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        What::List => list(config),
        What::Check { file } => {
            let name = file.display().to_string();
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("{name} cannot be read"))?;
            let checked = check(&name, &text).await?;
            let mut out = output::standard();
            let faults = print(&mut out, &name, &checked)?;
            out.flush()?;
            for fault in &faults {
                output::say(fault);
            }
            Ok(match faults.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            })
        }
    }
}

fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let connectors = Connectors::load(config.connectors_dir.as_deref())?;
    let rows = connectors.specs().iter().map(|spec| {
        let (origin, documentation) = connectors.origin(&spec.kind).unwrap_or_default();
        let actions: Vec<_> = spec.actions.iter().map(|a| a.id.as_str()).collect();
        [
            Some(spec.kind.clone()),
            Some(spec.name.clone()),
            Some(actions.join(", ")),
            Some(origin.to_owned()),
            documentation.map(str::to_owned),
        ]
    });
    output::table(["TYPE", "NAME", "ACTIONS", "FILE", "DOCUMENTATION"], rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what was found, and gives what is wrong.
fn print(out: &mut impl Write, name: &str, checked: &Checked) -> anyhow::Result<Vec<String>> {
    let (kind, actions) = (&checked.kind, checked.actions);
    writeln!(out, "{name}: {kind}, {actions} actions")?;
    let mut faults = Vec::new();
    for example in &checked.examples {
        writeln!(out)?;
        writeln!(out, "{}: {}", example.action, output::plain(&example.name))?;
        for request in &example.requests {
            print_request(out, request)?;
        }
        print_end(out, example)?;
        faults.extend(example.problem.clone());
    }
    Ok(faults)
}

/// A request as HTTP writes it, its body as it means it.
fn print_request(out: &mut impl Write, request: &Value) -> anyhow::Result<()> {
    let text = |value: &Value| match value {
        Value::String(text) => output::plain(text),
        other => output::plain(&other.to_string()),
    };
    let Some(method) = request.get("method") else {
        // Other protocols are shown as they say.
        writeln!(out, "  {}", output::plain(&request.to_string()))?;
        return Ok(());
    };
    writeln!(out, "  {} {}", text(method), text(&request["url"]))?;
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        // The same in all requests.
        if name != "accept" && name != "idempotency-key" {
            writeln!(out, "    {name}: {}", text(value))?;
        }
    }
    if let Some(body) = request.get("body") {
        writeln!(out, "    {}", text(body))?;
    }
    Ok(())
}

fn print_end(out: &mut impl Write, example: &Shown) -> anyhow::Result<()> {
    if let Some(output) = &example.output {
        writeln!(out, "  gives {}", output::plain(&output.to_string()))?;
    }
    if !example.later.is_empty() {
        let later = example.later.join(", ");
        writeln!(
            out,
            "  then {later}: give the example `answers` to see more"
        )?;
    }
    if example.problem.is_some() {
        writeln!(out, "  FAULT, see below")?;
    }
    Ok(())
}
