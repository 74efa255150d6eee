//! `toolroom login`, `logout` and `whoami`: keeps what the command line lets itself in with.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::{
    client::{Client, ServerUrl, Shown, Target, must_be_private},
    credentials::Credential,
    output::{self, plain},
    remote::{Environment, Place, Remote, Viewer},
};

/// What stands for standard input in the place of a file.
const STANDARD_INPUT: &str = "-";

/// The bits by which others than the owner may read.
const READABLE_BY_OTHERS: u32 = 0o044;

#[derive(clap::Args, Debug)]
pub struct Login {
    #[command(flatten)]
    place: Place,
    /// Read the key from a file, or from standard input if this is `-`; without it, it is asked
    /// for. It is no argument, since those are seen by everybody on the machine.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Make this the server that is meant when none is named; the first one is.
    #[arg(long)]
    default: bool,
}

#[derive(clap::Args, Debug)]
pub struct Logout {
    #[command(flatten)]
    place: Place,
}

/// Checks a key and keeps it.
///
/// # Errors
/// When the server does not take it, or it cannot be kept.
pub async fn login(arguments: Login) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let store = environment.store()?;
    let server = arguments.place.server(&environment, &store.load()?)?;
    // Before it is asked for.
    must_be_private(&server, arguments.place.insecure)?;
    let credential = match &arguments.key_file {
        Some(file) => from_file(file)?,
        None => from_terminal(&server)?,
    };
    let client = Client::try_new(Target {
        server: server.clone(),
        shown: Some(Shown {
            credential: credential.clone(),
            from: "the one just given",
        }),
        workspace: None,
        insecure: arguments.place.insecure,
    })?;
    let viewer = Viewer::ask(&client).await?;
    // Read again: asking took time, and another login may have been quicker.
    let mut credentials = store.load()?;
    credentials.keep_key(&server, credential, arguments.default);
    store.save(&credentials)?;
    output::say(format_args!(
        "logged in to {server} as {}, {} of the workspace {} ({}); the key is kept in {}",
        plain(&viewer.id),
        plain(&viewer.role),
        plain(&viewer.workspace.name),
        viewer.workspace.id,
        store.path().display()
    ));
    if credentials.default_server() != Some(&server) {
        output::say(
            "another server is the default: name this one with --server, or log in with --default",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn from_file(file: &Path) -> anyhow::Result<Credential> {
    if file == Path::new(STANDARD_INPUT) {
        return Credential::read(io::stdin().lock()).context("standard input");
    }
    let name = || file.display().to_string();
    let opened = File::open(file).with_context(name)?;
    if opened.metadata().with_context(name)?.permissions().mode() & READABLE_BY_OTHERS != 0 {
        output::say(format_args!(
            "others on this machine can read {}",
            file.display()
        ));
    }
    Credential::read(opened).with_context(name)
}

fn from_terminal(server: &ServerUrl) -> anyhow::Result<Credential> {
    if !io::stdin().is_terminal() {
        bail!(
            "there is no terminal to ask for the key: give it with --key-file FILE or --key-file -"
        );
    }
    let text = rpassword::prompt_password(format!("API key for {server}: "))
        .context("the key cannot be asked for")?;
    Ok(Credential::try_from(text.trim().to_owned())?)
}

/// Forgets a key.
///
/// # Errors
/// When what is kept cannot be read or written.
pub fn logout(arguments: &Logout) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let store = environment.store()?;
    let mut credentials = store.load()?;
    let server = arguments.place.server(&environment, &credentials)?;
    if credentials.forget(&server) {
        store.save(&credentials)?;
        output::say(format_args!(
            "the key for {server} is forgotten here; it counts there until it is revoked"
        ));
    } else {
        output::say(format_args!("no key for {server} is kept"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says who one is to the server.
///
/// # Errors
/// When it cannot be reached, or knows nobody by the key.
pub async fn whoami(remote: &Remote) -> anyhow::Result<ExitCode> {
    let client = remote.client(&Environment::of_process())?;
    let viewer = Viewer::ask(&client).await?;
    if remote.json {
        output::json(&viewer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = format!("{} ({})", viewer.workspace.name, viewer.workspace.id);
    output::pairs([
        ("server", Some(client.server().to_string())),
        ("who", Some(viewer.id)),
        ("email", viewer.email),
        ("known by", Some(viewer.authenticated_by)),
        ("role", Some(viewer.role)),
        ("workspace", Some(workspace)),
        ("plan", Some(viewer.workspace.plan)),
    ])?;
    Ok(ExitCode::SUCCESS)
}
