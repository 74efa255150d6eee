//! The command line: what can be asked for, and who does it. One file a command.

mod backup;
mod bench;
mod client;
mod config_print;
mod connectors;
mod credentials;
mod doctor;
mod erase;
mod export;
mod keys;
mod login;
mod migrate;
mod output;
mod rebuild;
mod remote;
mod replay;
mod restore;
mod schema;
mod verify;
mod workspaces;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, DATA_DIR, DEFAULT_FILE, LISTEN, PUBLIC_URL, Shown, Sources},
    lifecycle,
};

/// The event-sourced tool backend for AI agents.
#[derive(Debug, Parser)]
#[command(name = "toolroom", version = env!("SERVER_VERSION"), propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args, Debug)]
struct Common {
    /// The configuration file [default: toolroom.toml, if it is there].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for everything that is kept [default: toolroom-data].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
}

#[derive(Args, Debug, Default)]
struct Serve {
    /// Where to listen; may be given several times [default: 127.0.0.1:8000].
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// How clients reach the server, where that differs from the address.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server (what happens without any command).
    Serve(Serve),
    /// Bring the database's tables up to this version.
    Migrate,
    /// Fill a read model, or all, anew from the log; the old one serves until the new one does.
    Rebuild(rebuild::Arguments),
    /// Print events as JSON lines, in the order of the log.
    Replay(replay::Arguments),
    /// Prove that the log, or an exported file, is what was written.
    Verify(verify::Arguments),
    /// Write a stretch of the log to a file that proves itself.
    Export(export::Arguments),
    /// Write all primary data to a file, while the server goes on.
    Backup(backup::Arguments),
    /// Take a backup into a new data folder or an empty database.
    Restore(restore::Arguments),
    /// Destroy what a workspace kept, for good: its key, values, secrets, and all that is derived.
    Erase(erase::Arguments),
    /// Measure this machine and disk, on a private database that goes afterwards.
    Bench(bench::Arguments),
    /// Print the GraphQL schema.
    Schema,
    /// Check a key of a server, and keep it for the commands below.
    Login(login::Login),
    /// Forget the key of a server.
    Logout(login::Logout),
    /// Say who you are to a server.
    Whoami(remote::Remote),
    /// Make, list and revoke API keys, on a server.
    Keys(keys::Arguments),
    /// Make workspaces, and say who is in them, on a server.
    Workspaces(workspaces::Arguments),
    /// List the services that tools can be made for, or check a file that describes one.
    Connectors(connectors::Arguments),
    /// Look for faults of the set-up, and say how to mend each.
    Doctor,
    /// Show the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective values, each with where it came from; secrets are masked.
    Print,
}

impl Cli {
    /// What the configuration is read from.
    ///
    /// # Errors
    /// When flags of `serve` are given to another command.
    pub fn sources(&self) -> anyhow::Result<Sources> {
        let given = !self.serve.listen.is_empty() || self.serve.public_url.is_some();
        let serve = match &self.command {
            Some(_) if given => bail!(
                "--listen and --public-url belong behind the command, and only `serve` takes them"
            ),
            Some(Command::Serve(serve)) => serve,
            _ => &self.serve,
        };
        let mut flags = Vec::new();
        if !serve.listen.is_empty() {
            flags.push((&LISTEN, "listen", serve.listen.clone()));
        }
        if let Some(url) = &serve.public_url {
            flags.push((&PUBLIC_URL, "public-url", vec![url.clone()]));
        }
        if let Some(folder) = &self.common.data_dir {
            flags.push((&DATA_DIR, "data-dir", vec![folder.clone()]));
        }
        Ok(Sources {
            flags,
            // A variable that is not text is none of ours.
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            file: self.common.config.clone(),
            default_file: PathBuf::from(DEFAULT_FILE),
        })
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// When it cannot be done.
    pub async fn run(self, config: Config, shown: &[Shown]) -> anyhow::Result<ExitCode> {
        match self.command.unwrap_or(Command::Serve(Serve::default())) {
            Command::Serve(_) => lifecycle::serve(config).await,
            Command::Migrate => migrate::run(&config).await,
            Command::Rebuild(arguments) => rebuild::run(&config, arguments).await,
            Command::Replay(arguments) => replay::run(&config, arguments).await,
            Command::Verify(arguments) => verify::run(&config, arguments).await,
            Command::Export(arguments) => export::run(&config, arguments).await,
            Command::Backup(arguments) => backup::run(&config, arguments).await,
            Command::Restore(arguments) => restore::run(&config, arguments).await,
            Command::Erase(arguments) => erase::run(&config, arguments).await,
            Command::Bench(arguments) => bench::run(&config, arguments).await,
            Command::Schema => schema::run(),
            Command::Login(arguments) => login::login(arguments).await,
            Command::Logout(arguments) => login::logout(&arguments),
            Command::Whoami(remote) => login::whoami(&remote).await,
            Command::Keys(arguments) => keys::run(&config, arguments).await,
            Command::Workspaces(arguments) => workspaces::run(arguments).await,
            Command::Connectors(arguments) => connectors::run(&config, arguments).await,
            Command::Doctor => doctor::run(&config).await,
            Command::Config {
                command: ConfigCommand::Print,
            } => config_print::run(shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn flags(line: &[&str]) -> anyhow::Result<Vec<&'static str>> {
        let cli = Cli::try_parse_from(std::iter::once(&"toolroom").chain(line))?;
        Ok(cli
            .sources()?
            .flags
            .iter()
            .map(|(_, flag, _)| *flag)
            .collect())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_command_without_a_command() {
        assert_eq!(flags(&["--listen", "127.0.0.1:1"]).unwrap(), ["listen"]);
        assert_eq!(
            flags(&["serve", "--listen", "127.0.0.1:1"]).unwrap(),
            ["listen"]
        );
        assert_eq!(flags(&["--data-dir", "x", "verify"]).unwrap(), ["data-dir"]);
        assert_eq!(flags(&["verify", "--data-dir", "x"]).unwrap(), ["data-dir"]);
    }

    #[test]
    fn flags_of_serve_are_not_lost_before_a_command() {
        assert!(flags(&["--listen", "127.0.0.1:1", "verify"]).is_err());
        assert!(flags(&["--listen", "127.0.0.1:1", "serve"]).is_err());
    }
}
