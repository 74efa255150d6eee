//! `toolroom keys`: API keys of a workspace, made, listed and revoked on a server; or, where all
//! were lost, made on its database.

mod direct;
mod expiry;
mod rotate;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use toolroom_domain::{ApiKeyId, Clock as _, Role};
use toolroom_eventlog::SystemClock;

use self::expiry::Expiry;
use super::{
    client::Client,
    output::{self, moment, plain},
    remote::{self, Environment, Remote},
};
use crate::config::Config;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key, and print it: it is shown this once.
    Create(Create),
    /// List all keys, those that were revoked too.
    List,
    /// End a key, on every node, for good.
    Revoke {
        /// Its id, as `list` shows it.
        #[arg(value_name = "ID")]
        id: ApiKeyId,
    },
    /// Have all keys and secrets wrapped by the next master key, and tell how far that is until it is
    /// done. For operators. Interrupted, it goes on without being watched.
    RotateMaster,
}

#[derive(clap::Args, Debug)]
struct Create {
    /// What it is for, to know it by later.
    #[arg(value_name = "NAME")]
    name: String,
    /// What its holder may do; no more than you may.
    #[arg(long, ignore_case = true, value_parser = remote::role())]
    role: Role,
    /// When it ends by itself: after a time such as 90d, or at a date or time (UTC).
    #[arg(long, value_name = "DURATION|DATE", value_parser = str::parse::<Expiry>)]
    expires: Option<Expiry>,
    /// Make it on the database itself, in the workspace `default`: for whoever has the database and
    /// the master key, and no key any more.
    #[arg(long)]
    direct: bool,
    /// Let its holder run the server: do everything in every workspace.
    #[arg(long, requires = "direct")]
    operator: bool,
}

/// A key as the server tells of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiKey {
    id: ApiKeyId,
    name: String,
    prefix: String,
    role: String,
    operator: bool,
    created_by: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

/// A key just made. Not `Debug`: it holds the key itself.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedApiKey {
    secret: Option<String>,
    api_key: ApiKey,
}

const CREATE: &str = "mutation CreateApiKey($name: String!, $role: Role!, $expiresAt: DateTime) {
  createApiKey(name: $name, role: $role, expiresAt: $expiresAt) {
    secret
    apiKey { id name prefix role operator createdBy createdAt expiresAt lastUsedAt revokedAt }
  }
}";

const LIST: &str = "query ApiKeys($first: Int!, $after: String) {
  apiKeys(first: $first, after: $after) {
    nodes { id name prefix role operator createdBy createdAt expiresAt lastUsedAt revokedAt }
    pageInfo { hasNextPage endCursor }
  }
}";

const REVOKE: &str = "mutation RevokeApiKey($id: ID!) {
  revokeApiKey(id: $id) { id name prefix role operator createdBy createdAt expiresAt lastUsedAt revokedAt }
}";

/// Does what was asked for.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { remote, command } = arguments;
    let client = || remote.client(&Environment::of_process());
    match command {
        Command::Create(create) => {
            let expires_at = create.expires.map(|expiry| expiry.after(SystemClock.now()));
            let expires_at = expires_at.transpose()?;
            let created = match create.direct {
                true if remote.names_a_server() => {
                    bail!("--direct asks no server: leave --server, --workspace and --insecure out")
                }
                true => direct::make(config, &create, expires_at).await?,
                false => ask(&client()?, &create, expires_at).await?,
            };
            tell(&created, remote.json)?;
        }
        Command::List => list(&client()?, remote.json).await?,
        Command::RotateMaster => rotate::run(&client()?, remote.json).await?,
        Command::Revoke { id } => revoke(&client()?, id, remote.json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(
    client: &Client,
    create: &Create,
    expires_at: Option<Timestamp>,
) -> anyhow::Result<CreatedApiKey> {
    let variables = json!({
        "name": create.name,
        "role": create.role,
        "expiresAt": expires_at,
    });
    client.ask(CREATE, variables).await
}

/// Prints a new key alone on standard output, and on standard error what it is.
fn tell(created: &CreatedApiKey, as_json: bool) -> anyhow::Result<()> {
    let ApiKey { id, name, .. } = &created.api_key;
    let revoke = format!("revoke it with `toolroom keys revoke {id}`");
    let Some(secret) = &created.secret else {
        bail!("the server made the key {id}, but did not tell it: {revoke}");
    };
    let printed = match as_json {
        true => output::json(created),
        false => output::line(secret),
    };
    printed.with_context(|| format!("the key could not be written and is lost: {revoke}"))?;
    let ends = match created.api_key.expires_at {
        Some(at) => format!("ends {}", moment(at)),
        None => "never ends by itself".to_owned(),
    };
    output::say(format_args!(
        "made the key {} ({id}), {}{}, which {ends}; it is not shown again",
        plain(name),
        plain(&created.api_key.role),
        if created.api_key.operator {
            " and operator"
        } else {
            ""
        },
    ));
    Ok(())
}

async fn list(client: &Client, as_json: bool) -> anyhow::Result<()> {
    let keys: Vec<ApiKey> = client.list(LIST).await?;
    if as_json {
        return Ok(output::json_list(&keys)?);
    }
    let headings = [
        "ID",
        "NAME",
        "PREFIX",
        "ROLE",
        "OPERATOR",
        "CREATED",
        "EXPIRES",
        "LAST USED",
        "REVOKED",
    ];
    output::table(
        headings,
        keys.into_iter().map(|key| {
            [
                Some(key.id.to_string()),
                Some(key.name),
                Some(key.prefix),
                Some(key.role),
                key.operator.then(|| "yes".to_owned()),
                Some(moment(key.created_at)),
                key.expires_at.map(moment),
                key.last_used_at.map(moment),
                key.revoked_at.map(moment),
            ]
        }),
    )?;
    Ok(())
}

async fn revoke(client: &Client, id: ApiKeyId, as_json: bool) -> anyhow::Result<()> {
    let key: ApiKey = client.ask(REVOKE, json!({"id": id})).await?;
    if as_json {
        return Ok(output::json(&key)?);
    }
    output::say(format_args!("revoked the key {} ({id})", plain(&key.name)));
    Ok(())
}
