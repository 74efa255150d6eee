//! Callers of a server that demands credentials.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Method, header::HeaderMap};
use serde_json::{Value, json};

use super::{Answer, App};

pub const ISSUER: &str = "https://id.example";
pub const AUDIENCE: &str = "authenticated";
pub const SECRET: &str = "a secret of the tests, and of nobody else";

const FIRST_KEY: &str = "first.key";

impl App {
    /// Starts a server that demands credentials and takes tokens of [`ISSUER`]. What the test sends
    /// without saying as whom is sent with the first key.
    pub async fn start_closed() -> Self {
        Self::start_closed_with(&[]).await
    }

    /// As [`Self::start_closed`], with further variables of the environment.
    pub async fn start_closed_with(options: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let file = folder.path().join(FIRST_KEY);
        let file = file.to_str().expect("is text");
        let closed = [
            ("TOOLROOM_AUTH_REQUIRED", "true"),
            ("TOOLROOM_AUTH_FIRST_KEY_FILE", file),
            ("TOOLROOM_AUTH_ISSUER", ISSUER),
            ("TOOLROOM_AUTH_AUDIENCE", AUDIENCE),
            ("TOOLROOM_AUTH_SECRET", SECRET),
        ];
        let options = [&closed[..], options].concat();
        let mut app = Self::start_in(Arc::clone(&folder), &options).await;
        app.http = client(Some(&app.first_key()), None);
        app
    }

    fn first_key(&self) -> String {
        let key = std::fs::read_to_string(self.folder().join(FIRST_KEY));
        key.expect("the first start writes the key")
            .trim()
            .to_owned()
    }

    /// Whoever holds the first key.
    pub fn operator(&self) -> Caller {
        self.shown(Some(&self.first_key()))
    }

    /// Somebody who shows this; nobody known without.
    pub fn shown(&self, credential: Option<&str>) -> Caller {
        self.shown_in(credential, None)
    }

    fn shown_in(&self, credential: Option<&str>, workspace: Option<&str>) -> Caller {
        let mut shown = serde_json::Map::new();
        if let Some(credential) = credential {
            shown.insert(
                "authorization".into(),
                format!("Bearer {credential}").into(),
            );
        }
        if let Some(workspace) = workspace {
            shown.insert("workspaceId".into(), workspace.into());
        }
        Caller {
            url: self.url.clone(),
            http: client(credential, workspace),
            shown: Value::Object(shown),
        }
    }

    /// A user of the identity provider.
    pub fn user(&self, subject: &str) -> Caller {
        self.shown(Some(&token(&claims(subject))))
    }

    /// The same user, who means this workspace.
    pub fn user_in(&self, subject: &str, workspace: &str) -> Caller {
        self.shown_in(Some(&token(&claims(subject))), Some(workspace))
    }
}

/// Somebody who sends requests.
#[derive(Clone)]
pub struct Caller {
    pub url: String,
    pub http: Client,
    /// What a socket of theirs begins with.
    pub shown: Value,
}

impl Caller {
    pub async fn graphql(&self, query: &str, variables: Value) -> Answer {
        let body = json!({ "query": query, "variables": variables });
        self.send(Method::POST, "/graphql", Some(&body)).await
    }

    /// The data of a document that is carried out.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let answer = self.graphql(query, variables).await;
        assert!(
            answer.body.get("errors").is_none(),
            "{query}: {}",
            answer.body
        );
        answer.body["data"].clone()
    }

    /// The code of the first error of a document that is refused.
    pub async fn refusal(&self, query: &str) -> String {
        let answer = self.graphql(query, json!({})).await;
        let code = answer.code();
        code.unwrap_or_else(|| panic!("no refusal with a code: {}", answer.body))
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request).await
    }
}

impl Answer {
    /// The code of an error, in GraphQL's shape, REST's or tRPC's.
    pub fn code(&self) -> Option<String> {
        let found = [
            &self.body["errors"][0]["extensions"]["code"],
            &self.body["code"],
            &self.body["error"]["data"]["errorCode"],
        ];
        found
            .into_iter()
            .find_map(|code| code.as_str().map(str::to_owned))
    }
}

fn client(credential: Option<&str>, workspace: Option<&str>) -> Client {
    let mut headers = HeaderMap::new();
    if let Some(credential) = credential {
        let value = format!("Bearer {credential}").parse().expect("a header");
        headers.insert("authorization", value);
    }
    if let Some(workspace) = workspace {
        headers.insert("x-workspace-id", workspace.parse().expect("a header"));
    }
    Client::builder()
        .no_proxy()
        .default_headers(headers)
        .build()
        .expect("a client")
}

/// Seconds since 1970, and so many more.
pub fn seconds(from_now: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO).as_secs();
    i64::try_from(now).unwrap_or(0) + from_now
}

/// The claims of a token that counts for an hour.
pub fn claims(subject: &str) -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "email": format!("{subject}@example.com"),
        "iat": seconds(-10),
        "exp": seconds(3600),
    })
}

/// A token of the issuer.
pub fn token(claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    signed(&header.to_string(), &claims.to_string(), SECRET.as_bytes())
}

/// What somebody signs with HS256, whatever it says.
pub fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", encoded(signature))
}

pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
