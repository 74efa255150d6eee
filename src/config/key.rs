//! Every key of the configuration, with where it may come from.

/// A key, as `toolroom.toml` names it: `section.name`.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The dotted name.
    pub name: &'static str,
    /// The variables of the environment that set it; the first that is set wins.
    pub env: &'static [&'static str],
    /// Whether the value must never be shown.
    pub secret: bool,
}

macro_rules! keys {
    ($($constant:ident = $name:literal, $env:expr $(, $secret:ident)?;)+) => {
        $(pub const $constant: Key = Key { name: $name, env: &$env, secret: keys!(@ $($secret)?) };)+

        /// All of them, in the order in which they are printed.
        pub const ALL: &[&Key] = &[$(&$constant),+];
    };
    (@ secret) => { true };
    (@) => { false };
}

keys! {
    LISTEN = "listen", ["TOOLROOM_LISTEN"];
    PUBLIC_URL = "public_url", ["TOOLROOM_PUBLIC_URL"];
    DATA_DIR = "data_dir", ["TOOLROOM_DATA_DIR"];
    // The common name too, since platforms set it; ours wins.
    DATABASE_URL = "database_url", ["TOOLROOM_DATABASE_URL", "DATABASE_URL"], secret;
    DATABASE_CONNECTIONS = "database.connections", ["TOOLROOM_DATABASE_CONNECTIONS"];
    PG_BIN = "pg_bin", ["TOOLROOM_PG_BIN"];
    MASTER_KEY = "master_key", ["TOOLROOM_MASTER_KEY"], secret;
    MASTER_KEY_FILE = "master_key_file", ["TOOLROOM_MASTER_KEY_FILE"];
    MASTER_KEY_COMMAND = "master_key_command", ["TOOLROOM_MASTER_KEY_COMMAND"];
    NEXT_MASTER_KEY = "next_master_key", ["TOOLROOM_NEXT_MASTER_KEY"], secret;
    NEXT_MASTER_KEY_FILE = "next_master_key_file", ["TOOLROOM_NEXT_MASTER_KEY_FILE"];
    NEXT_MASTER_KEY_COMMAND = "next_master_key_command", ["TOOLROOM_NEXT_MASTER_KEY_COMMAND"];
    NODE = "node", ["TOOLROOM_NODE"];
    EGRESS_ALLOW = "egress.allow", ["TOOLROOM_EGRESS_ALLOW"];
    ENV_SECRETS = "env_secrets", ["TOOLROOM_ENV_SECRETS"];
    CONNECTORS_DIR = "connectors_dir", ["TOOLROOM_CONNECTORS_DIR"];
    WORKER_BACKGROUND = "worker.background", ["TOOLROOM_WORKER_BACKGROUND"];
    WORKER_FOREGROUND = "worker.foreground", ["TOOLROOM_WORKER_FOREGROUND"];
    WORKER_GRACE_MS = "worker.grace_ms", ["TOOLROOM_WORKER_GRACE_MS"];
    BODY_BYTES = "limits.body_bytes", ["TOOLROOM_LIMITS_BODY_BYTES"];
    REQUEST_TIMEOUT_S = "limits.request_timeout_s", ["TOOLROOM_LIMITS_REQUEST_TIMEOUT_S"];
    LOG_FILTER = "log.filter", ["TOOLROOM_LOG", "RUST_LOG"];
    LOG_FORMAT = "log.format", ["TOOLROOM_LOG_FORMAT"];
    TLS_CERTIFICATE = "tls.certificate", ["TOOLROOM_TLS_CERTIFICATE"];
    TLS_KEY = "tls.key", ["TOOLROOM_TLS_KEY"];
    CORS_ORIGINS = "cors.origins", ["TOOLROOM_CORS_ORIGINS"];
    CORS_COOKIES = "cors.cookies", ["TOOLROOM_CORS_COOKIES"];
    PROXIES_TRUSTED = "proxies.trusted", ["TOOLROOM_PROXIES_TRUSTED"];
    PROXIES_HEADER = "proxies.header", ["TOOLROOM_PROXIES_HEADER"];
    AUTH_REQUIRED = "auth.required", ["TOOLROOM_AUTH_REQUIRED"];
    AUTH_OPERATORS = "auth.operators", ["TOOLROOM_AUTH_OPERATORS"];
    AUTH_FIRST_KEY_FILE = "auth.first_key_file", ["TOOLROOM_AUTH_FIRST_KEY_FILE"];
    AUTH_ISSUER = "auth.issuer", ["TOOLROOM_AUTH_ISSUER"];
    AUTH_AUDIENCE = "auth.audience", ["TOOLROOM_AUTH_AUDIENCE"];
    AUTH_SECRET = "auth.secret", ["TOOLROOM_AUTH_SECRET"], secret;
    AUTH_JWKS_URL = "auth.jwks_url", ["TOOLROOM_AUTH_JWKS_URL"];
    AUTH_LEEWAY_S = "auth.leeway_s", ["TOOLROOM_AUTH_LEEWAY_S"];
    SMTP_URL = "smtp.url", ["TOOLROOM_SMTP_URL"], secret;
    SMTP_FROM = "smtp.from", ["TOOLROOM_SMTP_FROM"];
    LIMITS_PLANS = "limits.plans", ["TOOLROOM_LIMITS_PLANS"];
}

/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "TOOLROOM_CONFIG";

/// Where the commands that talk to a server find it, and what they show it. The server itself has
/// no use for either: they are no keys of the configuration.
pub const SERVER_VARIABLE: &str = "TOOLROOM_SERVER";
/// See [`SERVER_VARIABLE`].
pub const API_KEY_VARIABLE: &str = "TOOLROOM_API_KEY";

/// The variable that a build reads the revision from; harmless at run time.
const REVISION_VARIABLE: &str = "TOOLROOM_REVISION";

/// Whether a variable that begins with `TOOLROOM_` is one that we know.
pub fn is_known_variable(name: &str) -> bool {
    [
        FILE_VARIABLE,
        REVISION_VARIABLE,
        SERVER_VARIABLE,
        API_KEY_VARIABLE,
    ]
    .contains(&name)
        || ALL.iter().any(|key| key.env.contains(&name))
        || is_service_link(name)
}

/// Kubernetes and Docker links set such variables in every container beside a service that is
/// called `toolroom`: `TOOLROOM_PORT`, `TOOLROOM_PORT_8000_TCP_ADDR`, `TOOLROOM_SERVICE_HOST`, …
fn is_service_link(name: &str) -> bool {
    [
        "TOOLROOM_PORT",
        "TOOLROOM_SERVICE_HOST",
        "TOOLROOM_SERVICE_PORT",
    ]
    .iter()
    .any(|link| name == *link || name.strip_prefix(link).is_some_and(|r| r.starts_with('_')))
}
