//! GraphQL over HTTP, as a client: the one place that makes clients for the command line.
//!
//! A key is worth as much as its holder, so it goes to the server that was named and nowhere else:
//! no redirect is followed, nothing to this machine goes through a proxy, and what others could
//! read on the way is refused unless the operator insists.

mod failure;
mod url;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use toolroom_domain::WorkspaceId;

pub use self::{failure::Failure, url::ServerUrl};
use self::{failure::Refused, url::LOCALHOST};
use super::{credentials::Credential, output};

/// Longer than any network on which this is of use takes to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than any of these requests takes, even behind a rebuild.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer that is read: a page is some ten KiB.
const ANSWER_MIB: usize = 8;

/// Rows asked for at once: the most that the server gives.
const PAGE: usize = 200;

/// Pages of a list: more rows than a person reads, and an end if a server never says so.
const PAGES: usize = 50;

/// Which workspace is meant.
const WORKSPACE: HeaderName = HeaderName::from_static("x-workspace-id");

/// A credential, and where it came from, to be named when it does not count.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What is shown to the server.
    pub credential: Credential,
    /// As in "the key was …".
    pub from: &'static str,
}

/// Whom to talk to, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub server: ServerUrl,
    /// What to show it; nothing in local mode.
    pub shown: Option<Shown>,
    /// The workspace to select, if not the one that the server selects.
    pub workspace: Option<WorkspaceId>,
    /// Whether a key may be sent where others can read it.
    pub insecure: bool,
}

/// A client of one server.
pub struct Client {
    http: reqwest::Client,
    target: Target,
}

/// A list as GraphQL gives it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    nodes: Vec<T>,
    page_info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Map<String, Value>>,
    #[serde(default)]
    errors: Vec<failure::Refusal>,
}

/// Refuses to send a key where others can read it.
///
/// # Errors
/// When the server is elsewhere and speaks no TLS.
pub fn must_be_private(server: &ServerUrl, insecure: bool) -> anyhow::Result<()> {
    if insecure || server.is_private() {
        return Ok(());
    }
    bail!(
        "a key sent to {server} could be read by anybody on the way: use https://, or add --insecure if the way is yours"
    )
}

impl Client {
    /// A client that has connected to nobody yet.
    ///
    /// # Errors
    /// When a key would be sent where others can read it, or TLS cannot be set up.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the command line's factory of clients: it calls the server that its user names, not what a tool's definition names"
    )]
    pub fn try_new(target: Target) -> anyhow::Result<Self> {
        if target.shown.is_some() {
            must_be_private(&target.server, target.insecure)?;
        }
        // Whatever a resolver says of the name, a key for this machine stays on it.
        let loopback = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
            .map(|address: std::net::IpAddr| (address, 0).into());
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .resolve_to_addrs(LOCALHOST, &loopback)
            .user_agent(concat!("toolroom/", env!("CARGO_PKG_VERSION")));
        if target.server.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().context("no client can be made")?;
        Ok(Self { http, target })
    }

    /// Whom it talks to.
    pub fn server(&self) -> &ServerUrl {
        &self.target.server
    }

    /// The workspace that is named with each request, if any.
    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.target.workspace
    }

    /// The same client, for a workspace.
    #[must_use]
    pub fn of_workspace(mut self, workspace: WorkspaceId) -> Self {
        self.target.workspace = Some(workspace);
        self
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/graphql-response+json, application/json"),
        );
        if let Some(shown) = &self.target.shown {
            let mut value = HeaderValue::try_from(format!("Bearer {}", shown.credential.expose()))
                .map_err(|_| anyhow::anyhow!("the key holds what no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some(workspace) = self.target.workspace {
            headers.insert(WORKSPACE, HeaderValue::try_from(workspace.to_string())?);
        }
        Ok(headers)
    }

    /// Sends a document that asks for one field, and gives what that field holds.
    ///
    /// # Errors
    /// A [`Failure`] when the server cannot be reached or refuses.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        document: &str,
        variables: Value,
    ) -> anyhow::Result<T> {
        let body = json!({"query": document, "variables": variables});
        let sent = self
            .http
            .post(self.target.server.endpoint())
            .headers(self.headers()?)
            .json(&body)
            .send()
            .await;
        let response = sent.map_err(|e| Failure::of_call(self.server(), &e))?;
        Ok(self.read(response).await?)
    }

    async fn read<T: DeserializeOwned>(&self, response: reqwest::Response) -> Result<T, Failure> {
        let server = self.server().clone();
        let status = response.status();
        if status.is_redirection() {
            let target = response.headers().get(header::LOCATION);
            let target = target.and_then(|target| target.to_str().ok());
            return Err(Failure::Redirected {
                server,
                target: output::plain(target.unwrap_or("another address")),
            });
        }
        let body = self.bounded(response).await?;
        let Ok(answer) = serde_json::from_slice::<Answer>(&body) else {
            return Err(Failure::Foreign { server, status });
        };
        if !answer.errors.is_empty() {
            return Err(Failure::Refused(Refused {
                server,
                errors: answer.errors,
                shown: self.target.shown.as_ref().map(|shown| shown.from),
            }));
        }
        let Some(field) = answer.data.and_then(|data| data.into_iter().next()) else {
            return Err(Failure::Foreign { server, status });
        };
        serde_json::from_value(field.1).map_err(|error| Failure::Unreadable {
            server,
            // Which value was found there is not told: it might be a key.
            cause: format!("{} of `{}`", category(&error), field.0),
        })
    }

    async fn bounded(&self, mut response: reqwest::Response) -> Result<BytesMut, Failure> {
        let server = self.server();
        let mut body = BytesMut::new();
        let broken = |error: reqwest::Error| Failure::of_call(server, &error);
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > ANSWER_MIB * 1024 * 1024 {
                return Err(Failure::TooLarge {
                    server: server.clone(),
                    limit: ANSWER_MIB,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Sends a document that asks for one list by `$first` and `$after`, until its end.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn list<T: DeserializeOwned>(&self, document: &str) -> anyhow::Result<Vec<T>> {
        let mut rows = Vec::new();
        let mut after = None;
        for _ in 0..PAGES {
            let variables = json!({"first": PAGE, "after": after});
            let page: Page<T> = self.ask(document, variables).await?;
            rows.extend(page.nodes);
            after = page.page_info.end_cursor;
            if !page.page_info.has_next_page || after.is_none() {
                return Ok(rows);
            }
        }
        output::say(format_args!("there are more than these {}", rows.len()));
        Ok(rows)
    }
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type in the value",
        _ => "the JSON is broken in the value",
    }
}
