//! Who sends the requests.

use anyhow::{Context as _, bail};
use aws_lc_rs::{hmac, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::json;
use toolroom_domain::Clock as _;
use toolroom_eventlog::SystemClock;

use super::{Arguments, Side};
use crate::cli::bench::{
    http::{
        client::{Client, Target},
        load,
    },
    load::Rate,
    private::Folder,
};

const ISSUER: &str = "https://bench.invalid";
const AUDIENCE: &str = "bench";
const USER: &str = "bench";

/// The file of the first key, within the benchmark's folder.
const FIRST_KEY: &str = "first.key";

/// Bytes of the secret that tokens are signed with: as many as its signatures have.
const SECRET_BYTES: usize = 32;

/// Seconds for which a token counts: longer than any measurement takes.
const TOKEN_S: i64 = 30 * 86_400;

/// Somebody who sends requests.
pub struct Caller<'a> {
    /// What the report calls them.
    pub name: &'static str,
    /// To whom.
    pub side: &'a Side,
    target: Target,
    policies: bool,
}

impl<'a> Caller<'a> {
    /// Of a server as it is.
    pub fn new(name: &'static str, side: &'a Side, target: Target) -> Self {
        Self {
            name,
            side,
            target,
            policies: true,
        }
    }

    /// While its tables have no policies.
    pub fn without_policies(self) -> Self {
        Self {
            policies: false,
            ..self
        }
    }

    /// Sends one request over and over for a turn.
    ///
    /// # Errors
    /// When a connection breaks, or a request is refused.
    pub async fn send(&self, query: &str, arguments: &Arguments) -> anyhow::Result<Rate> {
        self.side.policies.set(self.policies).await?;
        let sent = load::drive(&self.target, query, arguments.clients, arguments.turn()).await?;
        if sent.refused > 0 {
            bail!(
                "{} requests of {} were refused, so the speed of the others means nothing",
                sent.refused,
                self.name
            );
        }
        Ok(sent.rate)
    }
}

/// Whose tokens the closed server takes.
pub struct Issuer {
    secret: String,
}

impl Issuer {
    /// With a secret that nobody else has.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn try_new() -> anyhow::Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        rand::fill(&mut secret).context("the system gives no randomness")?;
        Ok(Self {
            secret: BASE64.encode(secret),
        })
    }

    /// What makes a server demand credentials, and take these tokens.
    ///
    /// # Errors
    /// When the folder's path is no text.
    pub fn settings(&self, folder: &Folder) -> anyhow::Result<Vec<(&'static str, String)>> {
        let file = folder.path().join(FIRST_KEY);
        let file = file.to_str().context("the folder's path is no text")?;
        Ok(vec![
            ("TOOLROOM_AUTH_REQUIRED", "true".to_owned()),
            ("TOOLROOM_AUTH_FIRST_KEY_FILE", file.to_owned()),
            ("TOOLROOM_AUTH_ISSUER", ISSUER.to_owned()),
            ("TOOLROOM_AUTH_AUDIENCE", AUDIENCE.to_owned()),
            ("TOOLROOM_AUTH_SECRET", self.secret.clone()),
            ("TOOLROOM_AUTH_OPERATORS", USER.to_owned()),
            // As local mode has it: a plan's rate is not what is measured.
            ("TOOLROOM_LIMITS_PLANS", "false".to_owned()),
        ])
    }

    /// A token of an operator, signed with HS256.
    pub fn token(&self) -> String {
        let now = SystemClock.now().as_second();
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": USER,
            "iat": now,
            "exp": now + TOKEN_S,
        });
        let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", BASE64.encode(signature))
    }
}

/// The key that a server made at its first start, an operator's.
///
/// # Errors
/// When it made none.
pub fn first_key(folder: &Folder) -> anyhow::Result<String> {
    let key = std::fs::read_to_string(folder.path().join(FIRST_KEY))
        .context("the server made no first key")?;
    Ok(key.trim().to_owned())
}

/// Makes an ordinary key.
///
/// # Errors
/// When the server refuses.
pub async fn member_key(operator: &Target) -> anyhow::Result<String> {
    let mut client = Client::connect(operator).await?;
    let query = r#"mutation { createApiKey(name: "bench", role: MEMBER) { secret } }"#;
    let made = client.ask(query, json!({})).await?;
    let key = made.data["createApiKey"]["secret"].as_str();
    Ok(key.context("the server tells no key")?.to_owned())
}
