//! How a REST call authenticates.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use toolroom_domain::{
    Violation,
    tool::{AuthMethod, RestAuth},
};
use zeroize::Zeroizing;

use crate::executor::{
    error::CallError,
    http::{Outgoing, header_name, header_value},
    secrets::{SecretSource, Secrets, reference},
};

/// Whether everything that the method needs is there.
pub(super) fn check(auth: &RestAuth) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut refuse = |field: &str, problem: &str| found.push(Violation::new(field, problem));
    if auth.method != AuthMethod::None {
        match auth.secret_ref.as_deref().map(reference) {
            None => refuse("secret_ref", "is required by this method"),
            Some(None) => refuse("secret_ref", "must be a reference such as ${API_KEY}"),
            Some(Some(_)) => {}
        }
    }
    let key_name = auth.key_name.as_deref().unwrap_or_default();
    match auth.method {
        AuthMethod::ApiKeyQuery if key_name.is_empty() => {
            refuse(
                "key_name",
                "is required by this method: the query parameter's name",
            );
        }
        AuthMethod::ApiKeyHeader if header_name(key_name).is_none() => {
            refuse(
                "key_name",
                "must be a header that a tool may set, such as X-API-Key",
            );
        }
        AuthMethod::Basic => match auth.username.as_deref() {
            None => refuse("username", "is required by this method"),
            Some(name) if name.contains(':') || name.chars().any(char::is_control) => {
                refuse("username", "must not hold `:` or control characters");
            }
            Some(name) if name.starts_with("${") && reference(name).is_none() => {
                refuse(
                    "username",
                    "must be a name or a reference such as ${API_USER}",
                );
            }
            Some(_) => {}
        },
        _ => {}
    }
    found
}

/// Adds the credentials to a request.
pub(super) async fn apply(
    auth: &RestAuth,
    source: &SecretSource,
    secrets: &mut Secrets,
    outgoing: &mut Outgoing,
) -> Result<(), CallError> {
    if auth.method == AuthMethod::None {
        return Ok(());
    }
    let secret = secrets
        .resolve(source, auth.secret_ref.as_deref().unwrap_or_default())
        .await?;
    let key_name = auth.key_name.as_deref().unwrap_or_default();
    match auth.method {
        AuthMethod::None => {}
        AuthMethod::ApiKeyQuery => {
            outgoing
                .url
                .query_pairs_mut()
                .append_pair(key_name, &secret);
        }
        AuthMethod::ApiKeyHeader => {
            let name = header_name(key_name).ok_or_else(|| {
                CallError::invalid("`rest.api.auth.key_name` is not a header that a tool may set")
            })?;
            outgoing.headers.insert(name, sensitive(&secret)?);
        }
        AuthMethod::Bearer => {
            let value = sensitive(&format!("Bearer {}", *secret))?;
            outgoing.headers.insert(AUTHORIZATION, value);
        }
        AuthMethod::Basic => {
            let username = match auth.username.as_deref().unwrap_or_default() {
                name if name.starts_with("${") => secrets.resolve(source, name).await?,
                name => Zeroizing::new(name.to_owned()),
            };
            let pair = BASE64.encode(format!("{}:{}", *username, *secret));
            let value = sensitive(&format!("Basic {pair}"))?;
            secrets.also(pair);
            outgoing.headers.insert(AUTHORIZATION, value);
        }
    }
    Ok(())
}

fn sensitive(text: &str) -> Result<HeaderValue, CallError> {
    let mut value = header_value(text).ok_or_else(|| {
        CallError::invalid("the secret holds line breaks or control characters; set it without")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
