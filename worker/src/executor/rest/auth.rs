//! How a REST call authenticates.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use toolroom_domain::{
    Violation,
    tool::{AuthMethod, RestAuth},
};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Surroundings,
    oauth::{Client, Token},
    request::set_query,
};
use crate::executor::{
    error::CallError,
    http::{Outgoing, header_name, header_value},
    secrets::{SecretSource, Secrets, reference},
};

fn is_broken_reference(name: &str) -> bool {
    name.starts_with("${") && reference(name).is_none()
}

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
            Some(name) if is_broken_reference(name) => {
                refuse(
                    "username",
                    "must be a name or a reference such as ${API_USER}",
                );
            }
            Some(_) => {}
        },
        AuthMethod::OAuth2ClientCredentials => {
            match auth.token_url.as_deref().map(Url::parse) {
                None => refuse("token_url", "is required by this method"),
                Some(Ok(url)) if matches!(url.scheme(), "https" | "http") && url.has_host() => {}
                Some(_) => refuse("token_url", "must be an http or https URL"),
            }
            match auth.client_id.as_deref() {
                None | Some("") => refuse("client_id", "is required by this method"),
                Some(id) if is_broken_reference(id) => {
                    refuse(
                        "client_id",
                        "must be an id or a reference such as ${CLIENT_ID}",
                    );
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
    found
}

/// What a request authenticates with, its secrets resolved.
pub(super) enum Credential<'a> {
    None,
    Query(&'a str, Zeroizing<String>),
    Header(HeaderName, HeaderValue),
    Token(Client<'a>, Token),
}

impl<'a> Credential<'a> {
    /// Resolves what a definition names.
    pub(super) async fn resolve(
        auth: Option<&'a RestAuth>,
        around: &Surroundings<'_>,
        secrets: &mut Secrets,
    ) -> Result<Self, CallError> {
        let Some(auth) = auth.filter(|auth| auth.method != AuthMethod::None) else {
            return Ok(Self::None);
        };
        let source = around.secrets;
        let reference = auth.secret_ref.as_deref().unwrap_or_default();
        let secret = secrets.resolve(source, reference).await?;
        let key_name = auth.key_name.as_deref().unwrap_or_default();
        Ok(match auth.method {
            AuthMethod::None => Self::None,
            AuthMethod::ApiKeyQuery => Self::Query(key_name, secret),
            AuthMethod::ApiKeyHeader => {
                let name = header_name(key_name).ok_or_else(|| {
                    let problem = "`rest.api.auth.key_name` is not a header that a tool may set";
                    CallError::invalid(problem)
                })?;
                Self::Header(name, sensitive(&secret)?)
            }
            AuthMethod::Bearer => {
                Self::Header(AUTHORIZATION, sensitive(&format!("Bearer {}", *secret))?)
            }
            AuthMethod::Basic => {
                let username = named(auth.username.as_deref(), source, secrets).await?;
                let pair = BASE64.encode(format!("{}:{}", *username, *secret));
                let value = sensitive(&format!("Basic {pair}"))?;
                secrets.also(pair);
                Self::Header(AUTHORIZATION, value)
            }
            AuthMethod::OAuth2ClientCredentials => {
                let client = Client {
                    auth,
                    id: named(auth.client_id.as_deref(), source, secrets).await?,
                    secret,
                    workspace: around.workspace,
                    tool: around.tool,
                    version: around.version,
                };
                let tokens = around.tokens;
                let token = client.token(tokens, around.wire, secrets, None).await?;
                Self::Token(client, token)
            }
        })
    }

    /// Replaces what the other side refused, where there is something to replace it with.
    pub(super) async fn renew(
        &mut self,
        around: &Surroundings<'_>,
        secrets: &mut Secrets,
    ) -> Result<bool, CallError> {
        let Self::Token(client, token) = self else {
            return Ok(false);
        };
        let tokens = around.tokens;
        *token = client
            .token(tokens, around.wire, secrets, Some(token))
            .await?;
        Ok(true)
    }

    /// Adds the credentials to a request.
    pub(super) fn put(&self, outgoing: &mut Outgoing) -> Result<(), CallError> {
        match self {
            Self::None => {}
            Self::Query(name, secret) => set_query(&mut outgoing.url, name, secret),
            Self::Header(name, value) => {
                outgoing.headers.insert(name, value.clone());
            }
            Self::Token(_, token) => {
                let value = sensitive(&format!("Bearer {}", *token.text))?;
                outgoing.headers.insert(AUTHORIZATION, value);
            }
        }
        Ok(())
    }
}

/// A name that may itself be a reference.
async fn named(
    name: Option<&str>,
    source: &SecretSource,
    secrets: &mut Secrets,
) -> Result<Zeroizing<String>, CallError> {
    match name.unwrap_or_default() {
        name if name.starts_with("${") => secrets.resolve(source, name).await,
        name => Ok(Zeroizing::new(name.to_owned())),
    }
}

pub(super) fn sensitive(text: &str) -> Result<HeaderValue, CallError> {
    let mut value = header_value(text).ok_or_else(|| {
        CallError::invalid("the secret holds line breaks or control characters; set it without")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
