//! What the operator decides: flags over environment over `toolroom.toml` over defaults.
//!
//! Loaded once, before anything starts; all faults are told together, each with its key and source.

mod auth;
mod edge;
mod key;
mod layers;
mod mail;
mod master_key;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toolroom_worker::{executor::EgressRule, mail::SmtpServer};
use url::Url;

pub use self::{
    auth::{Auth, Tokens},
    edge::Edge,
    key::{API_KEY_VARIABLE, DATA_DIR, Key, LISTEN, PUBLIC_URL, SERVER_VARIABLE},
    layers::{Faults, Shown, Sources},
    master_key::{CommandLine, MasterKeySource},
    value::LogFormat,
};
use self::{
    layers::Layers,
    value::{Setting, Whole},
};

/// The file that is read from the working directory without being named.
pub const DEFAULT_FILE: &str = "toolroom.toml";

const DEFAULT_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 8000);
const DEFAULT_DATA_DIR: &str = "toolroom-data";

/// The driver warns of every connection that a restart of the database breaks, and the parts that
/// used them say so too; slow statements stay. Of a certificate that counts for nothing the caller is
/// told, who may be anybody's tool: it is no error of ours.
const DEFAULT_LOG_FILTER: &str = "info,sqlx=error,sqlx::query=warn,rustls_platform_verifier=off";

/// Beyond two cores' worth of connections a database only gets slower; the rest wait their turn.
const DEFAULT_CONNECTIONS: u64 = 10;

/// A background job waits for the outside most of its time, so many run beside each other: twice the
/// thousand slow calls that one tool may have under way.
const DEFAULT_BACKGROUND: u64 = 2_048;

/// Calls whose sender waits: each holds a connection of its own, and little else. As many.
const DEFAULT_FOREGROUND: u64 = 2_048;

/// A job's input may have 16 MiB, and what stands around it 1 MiB.
const DEFAULT_BODY_BYTES: u64 = 17 * 1024 * 1024;

/// A call may be waited for up to 300 s, and needs a moment before and after.
const DEFAULT_REQUEST_TIMEOUT_S: u64 = 320;

/// Less than the 30 s after which service managers kill, so that the database can still stop.
const DEFAULT_GRACE_MS: u64 = 10_000;

/// A text that shows itself nowhere.
#[derive(Clone)]
pub struct SecretText(String);

impl SecretText {
    /// The text, for whoever needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Bounds on what a request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Whether workspaces have no more than their plans grant.
    pub plans: bool,
}

/// What the log says, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Levels by target, as `tracing-subscriber` reads them.
    pub filter: String,
    /// How lines look; by default it depends on whether they go to a terminal.
    pub format: Option<LogFormat>,
}

/// How much is run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Background jobs.
    pub background: usize,
    /// Calls whose sender waits.
    pub foreground: usize,
    /// How long running calls may still take at a shutdown.
    pub grace: Duration,
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server listens.
    pub listen: Vec<SocketAddr>,
    /// How the world reaches it, if not by the first of `listen`.
    pub public_url: Option<Url>,
    /// The folder for everything that is kept.
    pub data_dir: PathBuf,
    /// A server of one's own in place of the embedded one.
    pub database_url: Option<SecretText>,
    /// Connections under the server's role.
    pub database_connections: u32,
    /// The folder with `postgres` and `initdb`.
    pub pg_bin: Option<PathBuf>,
    /// The key that wraps all others.
    pub master_key: MasterKeySource,
    /// The one that shall follow it, once somebody asks for that.
    pub next_master_key: Option<MasterKeySource>,
    /// This node's name: unique among the nodes of a database.
    pub node: String,
    /// What tools may reach beyond public addresses.
    pub egress_allow: Vec<EgressRule>,
    /// Names of the variables that tool definitions may read.
    pub env_secrets: Vec<String>,
    /// The folder with connectors of the operator's own.
    pub connectors_dir: Option<PathBuf>,
    /// How much is run at once.
    pub worker: Worker,
    /// The mail server that takes letters.
    pub smtp: Option<SmtpServer>,
    /// Bounds on requests.
    pub limits: Limits,
    /// The log.
    pub log: Log,
    /// How the server meets the network.
    pub edge: Edge,
    /// Who may reach the server.
    pub auth: Auth,
}

impl Setting for SecretText {
    const EXPECTED: &'static str = "a text that is not empty";

    fn from_text(text: &str) -> Option<Self> {
        String::from_text(text).map(Self)
    }

    fn to_toml(&self) -> String {
        "\"********\"".to_owned()
    }
}

/// Where a PostgreSQL is. The driver would take any scheme for its own, and wait for an answer.
struct DatabaseUrl(SecretText);

impl Setting for DatabaseUrl {
    const EXPECTED: &'static str = "a URL such as postgres://user@host:5432/database";

    fn from_text(text: &str) -> Option<Self> {
        let url = Url::parse(text.trim()).ok()?;
        matches!(url.scheme(), "postgres" | "postgresql")
            .then(|| SecretText::from_text(text))?
            .map(Self)
    }

    fn to_toml(&self) -> String {
        self.0.to_toml()
    }
}

impl Setting for EgressRule {
    const EXPECTED: &'static str =
        "hosts, addresses or CIDR ranges, such as [\"api.internal:8443\", \"10.0.0.0/8\"]";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_toml(&self) -> String {
        toml::Value::String(self.to_string()).to_string()
    }
}

/// Takes a whole number out of the layers, its bounds in the words of its fault.
fn whole<const MIN: u64, const MAX: u64>(
    layers: &mut Layers,
    key: &'static Key,
    default: u64,
) -> u64 {
    let expected = format!("a whole number {}", Whole::<MIN, MAX>::bounds());
    layers
        .required_of(key, Whole::<MIN, MAX>(default), &expected)
        .0
}

impl Config {
    /// Reads all sources; also gives each effective value with its origin.
    ///
    /// # Errors
    /// With all faults.
    pub fn load(sources: Sources) -> Result<(Self, Vec<Shown>), Faults> {
        let mut layers = Layers::read(sources);
        let config = Self::take(&mut layers);
        Ok((config, layers.finish()?))
    }

    fn take(layers: &mut Layers) -> Self {
        let listen: Vec<SocketAddr> =
            layers.required(&key::LISTEN, vec![SocketAddr::from(DEFAULT_LISTEN)]);
        if listen.is_empty() {
            layers.fault("`listen`: at least one address is needed".to_owned());
        }
        let public_url = layers.optional(&key::PUBLIC_URL);
        let data_dir: PathBuf = layers.required(&key::DATA_DIR, PathBuf::from(DEFAULT_DATA_DIR));
        let database_url: Option<DatabaseUrl> =
            layers.optional_of(&key::DATABASE_URL, DatabaseUrl::EXPECTED);
        let database_url = database_url.map(|url| url.0);
        let database_connections =
            whole::<2, 500>(layers, &key::DATABASE_CONNECTIONS, DEFAULT_CONNECTIONS);
        let pg_bin = layers.optional(&key::PG_BIN);
        let (master_key, next_master_key) = master_key::take(layers, &data_dir);
        let exposed = !listen.iter().all(|address| address.ip().is_loopback());
        let auth = Auth::take(layers, exposed, database_url.is_some());
        Self {
            auth,
            listen,
            public_url,
            database_connections: u32::try_from(database_connections).unwrap_or(u32::MAX),
            pg_bin,
            master_key,
            next_master_key,
            data_dir,
            node: layers.required(&key::NODE, default_node(database_url.is_some())),
            database_url,
            egress_allow: layers.required(&key::EGRESS_ALLOW, Vec::new()),
            env_secrets: layers.required(&key::ENV_SECRETS, Vec::new()),
            connectors_dir: layers.optional(&key::CONNECTORS_DIR),
            worker: Worker {
                background: whole::<1, 10_000>(layers, &key::WORKER_BACKGROUND, DEFAULT_BACKGROUND)
                    as usize,
                foreground: whole::<1, 100_000>(layers, &key::WORKER_FOREGROUND, DEFAULT_FOREGROUND)
                    as usize,
                grace: Duration::from_millis(whole::<0, 600_000>(
                    layers,
                    &key::WORKER_GRACE_MS,
                    DEFAULT_GRACE_MS,
                )),
            },
            smtp: mail::take(layers),
            limits: Limits {
                body_bytes: whole::<1_024, 104_857_600>(
                    layers,
                    &key::BODY_BYTES,
                    DEFAULT_BODY_BYTES,
                ) as usize,
                request_timeout: Duration::from_secs(whole::<1, 3_600>(
                    layers,
                    &key::REQUEST_TIMEOUT_S,
                    DEFAULT_REQUEST_TIMEOUT_S,
                )),
                plans: layers.required(&key::LIMITS_PLANS, true),
            },
            log: Log {
                filter: layers.required(&key::LOG_FILTER, DEFAULT_LOG_FILTER.to_owned()),
                format: layers.optional(&key::LOG_FORMAT),
            },
            edge: Edge::take(layers),
        }
    }
}

/// The host's name; where others may be at the same database, this process's id too, so that two
/// nodes on one machine differ. Alone, a node that starts again takes up at once what it held.
fn default_node(shared: bool) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "node",
        name => name,
    };
    match shared {
        true => format!("{host}-{}", std::process::id()),
        false => host.to_owned(),
    }
}

#[cfg(test)]
mod tests;
