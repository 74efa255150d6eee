//! `toolroom workspaces`: workspaces and who is in them, on a server.

mod members;

use std::process::ExitCode;

use anyhow::bail;
use clap::{ArgGroup, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use toolroom_domain::{Role, WorkspaceId};

use super::{
    client::Client,
    output::{self, moment, plain},
    remote::{self, Environment, Remote, Viewer},
};

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the workspaces that you are in.
    List,
    /// Make a workspace of which you are the owner, and print its id.
    Create {
        /// What people call it; it need not be unique.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Change the selected workspace.
    #[command(group(ArgGroup::new("change").required(true).multiple(true)))]
    Update {
        /// What people shall call it.
        #[arg(long, group = "change")]
        name: Option<String>,
        /// In which times are read that name no other zone, such as Europe/Berlin.
        #[arg(long, value_name = "ZONE", group = "change")]
        time_zone: Option<String>,
    },
    /// End a workspace, and with it all that belongs to it.
    Delete {
        /// Which one.
        #[arg(value_name = "ID")]
        id: WorkspaceId,
        /// Do it; without this it is only said what would go.
        #[arg(long)]
        yes: bool,
    },
    /// List the members of the selected workspace, and who is invited.
    Members,
    /// Invite somebody; prints the link to hand on, unless the server sends it by mail.
    Invite {
        /// Their address.
        #[arg(value_name = "EMAIL")]
        email: String,
        /// What they shall be; no more than you are.
        #[arg(long, ignore_case = true, value_parser = remote::role())]
        role: Role,
    },
    /// Give a member, or somebody invited, another role.
    Role {
        /// Who, as `members` shows them.
        #[arg(value_name = "USER")]
        user: String,
        /// What they shall be; no more than you are.
        #[arg(value_name = "ROLE", ignore_case = true, value_parser = remote::role())]
        role: Role,
    },
    /// End a membership, or withdraw an invitation.
    Remove {
        /// Who, as `members` shows them.
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Select a workspace for all further commands to this server.
    Use {
        /// Which one [default: the one that the server selects].
        #[arg(value_name = "ID")]
        id: Option<WorkspaceId>,
    },
    /// Grant a workspace more, or less; for operators.
    Plan {
        /// Which one.
        #[arg(value_name = "ID")]
        id: WorkspaceId,
        /// What it shall have.
        #[arg(value_name = "PLAN", ignore_case = true)]
        plan: Plan,
    },
}

/// What a workspace is granted.
#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum Plan {
    Free,
    Pro,
    Enterprise,
}

/// A workspace as the server tells of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Workspace {
    id: WorkspaceId,
    name: String,
    plan: String,
    time_zone: String,
    created_at: Timestamp,
}

const LIST: &str = "query Workspaces($first: Int!, $after: String) {
  workspaces(first: $first, after: $after) {
    nodes { id name plan timeZone createdAt }
    pageInfo { hasNextPage endCursor }
  }
}";

const CREATE: &str = "mutation CreateWorkspace($name: String!) {
  createWorkspace(name: $name) { id name plan timeZone createdAt }
}";

// What is not named must not be sent: null would clear it.
const UPDATE: &str = "mutation UpdateWorkspace($id: ID!, $name: String, $timeZone: String) {
  updateWorkspace(id: $id, name: $name, timeZone: $timeZone) { id name plan timeZone createdAt }
}";

const DELETE: &str = "mutation DeleteWorkspace($id: ID!) {
  deleteWorkspace(id: $id) { id name plan timeZone createdAt }
}";

const SET_PLAN: &str = "mutation SetPlan($id: ID!, $plan: Plan!) {
  setPlan(workspaceId: $id, plan: $plan) { id name plan timeZone createdAt }
}";

/// Does what was asked for.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { remote, command } = arguments;
    let environment = Environment::of_process();
    let client = remote.client(&environment)?;
    let as_json = remote.json;
    match command {
        Command::List => list(&client, as_json).await?,
        Command::Create { name } => {
            let made: Workspace = client.ask(CREATE, json!({"name": name})).await?;
            match as_json {
                true => output::json(&made)?,
                false => output::line(&made.id.to_string())?,
            }
        }
        Command::Update { name, time_zone } => {
            let mut variables = json!({"id": selected(&client).await?});
            let changes = [("name", name), ("timeZone", time_zone)];
            for (field, value) in changes {
                if let Some(value) = value {
                    variables[field] = Value::String(value);
                }
            }
            told(&client.ask(UPDATE, variables).await?, as_json)?;
        }
        Command::Delete { id, yes } => delete(client.of_workspace(id), id, yes, as_json).await?,
        Command::Members => members::list(&client, as_json).await?,
        Command::Invite { email, role } => members::invite(&client, &email, role, as_json).await?,
        Command::Role { user, role } => members::set_role(&client, &user, role, as_json).await?,
        Command::Remove { user } => members::remove(&client, &user, as_json).await?,
        Command::Use { id } => choose(client, id, &environment).await?,
        Command::Plan { id, plan } => {
            let variables = json!({"id": id, "plan": plan});
            let client = client.of_workspace(id);
            told(&client.ask(SET_PLAN, variables).await?, as_json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The workspace that commands act on.
async fn selected(client: &Client) -> anyhow::Result<WorkspaceId> {
    match client.workspace() {
        Some(id) => Ok(id),
        None => Ok(Viewer::ask(client).await?.workspace.id),
    }
}

fn told(workspace: &Workspace, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return Ok(output::json(workspace)?);
    }
    Ok(output::pairs([
        ("id", Some(workspace.id.to_string())),
        ("name", Some(workspace.name.clone())),
        ("plan", Some(workspace.plan.clone())),
        ("time zone", Some(workspace.time_zone.clone())),
        ("created", Some(moment(workspace.created_at))),
    ])?)
}

async fn list(client: &Client, as_json: bool) -> anyhow::Result<()> {
    let workspaces: Vec<Workspace> = client.list(LIST).await?;
    if as_json {
        return Ok(output::json_list(&workspaces)?);
    }
    output::table(
        ["ID", "NAME", "PLAN", "TIME ZONE", "CREATED"],
        workspaces.into_iter().map(|workspace| {
            [
                Some(workspace.id.to_string()),
                Some(workspace.name),
                Some(workspace.plan),
                Some(workspace.time_zone),
                Some(moment(workspace.created_at)),
            ]
        }),
    )?;
    Ok(())
}

async fn delete(client: Client, id: WorkspaceId, yes: bool, as_json: bool) -> anyhow::Result<()> {
    if !yes {
        let workspace = Viewer::ask(&client).await?.workspace;
        bail!(
            "{} ({id}) would go for good, with its tools, jobs, members and keys: repeat this with --yes",
            plain(&workspace.name)
        );
    }
    let gone: Workspace = client.ask(DELETE, json!({"id": id})).await?;
    if as_json {
        return Ok(output::json(&gone)?);
    }
    output::say(format_args!("deleted {} ({id})", plain(&gone.name)));
    Ok(())
}

/// Keeps the choice, once the server has shown that one is in that workspace.
async fn choose(
    client: Client,
    id: Option<WorkspaceId>,
    environment: &Environment,
) -> anyhow::Result<()> {
    let store = environment.store()?;
    let server = client.server().clone();
    if environment.key_for(&server)?.is_some() {
        bail!(
            "a choice is kept for keys of `toolroom login`: beside TOOLROOM_API_KEY, name the workspace with --workspace"
        );
    }
    if let Some(id) = id {
        let viewer = Viewer::ask(&client.of_workspace(id)).await?;
        output::say(format_args!(
            "selected {} ({id}) of {server}, where you are {}",
            plain(&viewer.workspace.name),
            plain(&viewer.role)
        ));
    }
    let mut credentials = store.load()?;
    credentials.choose_workspace(&server, id);
    store.save(&credentials)
}
