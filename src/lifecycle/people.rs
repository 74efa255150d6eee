//! How callers are known, and the first of them.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use bytes::Bytes;
use toolroom_api::auth::{
    AuthOptions, Authenticator,
    api_key::ApiKey,
    bootstrap,
    jwt::{Expected, FetchError, FetchJwks, Jwks, MAX_BYTES, Verifier},
};
use toolroom_domain::Clock;
use toolroom_eventlog::EventLog;
use toolroom_worker::executor::{EgressOptions, Fetcher};
use url::Url;

use crate::config::{Auth, Config, Tokens};

/// Recognises callers as the configuration says.
///
/// # Errors
/// When the vault's keys cannot be had or the HTTP client cannot be built.
pub async fn authenticator(
    config: &Config,
    log: &EventLog,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Authenticator> {
    let options = AuthOptions {
        local: !config.auth.required,
        operators: config.auth.operators.iter().cloned().collect(),
        tokens: match &config.auth.tokens {
            Some(tokens) => Some(verifier(tokens, config, clock)?),
            None => None,
        },
    };
    Ok(Authenticator::init(log, options, Arc::clone(clock)).await?)
}

fn verifier(tokens: &Tokens, config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Verifier> {
    let expected = Expected {
        issuer: tokens.issuer.clone(),
        audiences: tokens.audience.clone(),
        leeway: tokens.leeway,
    };
    let mut verifier = Verifier::new(expected, Arc::clone(clock));
    if let Some(secret) = &tokens.secret {
        verifier = verifier.with_secret(secret.clone());
    }
    if let Some(url) = &tokens.jwks_url {
        let provider = Provider(fetcher(url, config)?);
        verifier = verifier.with_jwks(Jwks::new(provider, Arc::clone(clock)));
    }
    Ok(verifier)
}

/// The operator has named the provider, so its host is open; to this fetcher, not to tools.
fn fetcher(url: &Url, config: &Config) -> anyhow::Result<Fetcher> {
    let host = url.host_str().context("`auth.jwks_url` has no host")?;
    let port = url.port_or_known_default().unwrap_or(443);
    let mut allow = config.egress_allow.clone();
    allow.push(format!("{host}:{port}").parse()?);
    let options = EgressOptions {
        allow,
        ..EgressOptions::default()
    };
    Fetcher::try_new(options, url.clone()).context("the identity provider's keys cannot be fetched")
}

struct Provider(Fetcher);

#[async_trait]
impl FetchJwks for Provider {
    async fn fetch(&self) -> Result<Bytes, FetchError> {
        Ok(self.0.fetch(MAX_BYTES).await?)
    }
}

/// Makes the workspace `default`, and where credentials are required the first key, if this
/// database has had none yet. The key is told once: in the file that the configuration names, or on
/// standard output.
///
/// # Errors
/// When the database does not answer, or the file holds no key or cannot be written.
pub async fn first(
    config: &Auth,
    log: &EventLog,
    auth: &Authenticator,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    bootstrap::default_workspace(log, clock).await?;
    if config.is_idle() {
        tracing::warn!(
            "`auth.issuer` or `auth.operators` is set, but nobody is asked for a token: whoever reaches this server owns it; set `auth.required = true` if that is not meant"
        );
    }
    // Asked before a key is made: else one that opens nothing would be written to the file again
    // whenever its owner has put it elsewhere.
    if !config.required || bootstrap::has_first_key(log).await? {
        return Ok(());
    }
    let key = match &config.first_key_file {
        Some(file) => from_file_or_new(file)?,
        None => bootstrap::new_key()?,
    };
    if !bootstrap::first_key(log, auth.hash_key(), clock, &key).await? {
        return Ok(());
    }
    match &config.first_key_file {
        Some(file) => tracing::info!(
            file = %file.display(),
            "this database's first key, of the owner of the workspace `default`, is in the file"
        ),
        None => tell(&key)?,
    }
    Ok(())
}

/// To standard output alone: what is logged is kept where others read it.
fn tell(key: &ApiKey) -> anyhow::Result<()> {
    let told = format!(
        "\nThe first API key, of the owner of the workspace `default`. It is shown this once:\n\n  {}\n\nUse it as `Authorization: Bearer …`, or give it to `toolroom login`.\n\n",
        key.reveal()
    );
    let mut out = std::io::stdout();
    out.write_all(told.as_bytes())
        .and_then(|()| out.flush())
        .context("the first API key could not be shown; make another with `toolroom keys create --direct`")
}

/// What is in a file that its owner alone may read.
fn read(file: &Path) -> std::io::Result<String> {
    let mut opened = std::fs::File::open(file)?;
    if opened.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(std::io::Error::other(
            "others can read it too; mend it with `chmod 600`",
        ));
    }
    let mut text = String::new();
    opened.read_to_string(&mut text)?;
    Ok(text)
}

/// The key in a file, which is made with mode 0600 if there is none.
///
/// # Errors
/// When others may read it, it holds no key, or it cannot be read or made.
fn from_file_or_new(file: &Path) -> anyhow::Result<ApiKey> {
    match read(file) {
        Ok(text) => match ApiKey::parse(text.trim()) {
            Ok(key) => Ok(key),
            Err(error) => bail!(
                "`auth.first_key_file`: {} holds no API key: {}",
                file.display(),
                error.reason()
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = bootstrap::new_key()?;
            let mut made = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(file)
                .with_context(|| cannot(file, "be made"))?;
            made.write_all(format!("{}\n", key.reveal()).as_bytes())
                .and_then(|()| made.sync_all())
                .with_context(|| cannot(file, "be written"))?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| cannot(file, "be read")),
    }
}

fn cannot(file: &Path, what: &str) -> String {
    format!("`auth.first_key_file`: {} cannot {what}", file.display())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_first_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("first.key");
        let made = from_file_or_new(&file).unwrap();
        assert_eq!(from_file_or_new(&file).unwrap().reveal(), made.reveal());
        for mode in [0o640, 0o604] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let refused = match from_file_or_new(&file) {
                Ok(_) => panic!("{mode:o} is taken"),
                Err(error) => format!("{error:#}"),
            };
            assert!(refused.contains("chmod 600"), "{refused}");
            assert!(!refused.contains(made.reveal()), "{refused}");
        }
    }
}
