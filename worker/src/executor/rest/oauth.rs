//! Tokens of OAuth 2.0 for a client itself (RFC 6749, section 4.4).

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};
use toolroom_domain::{
    ErrorCategory, ToolId, WorkspaceId,
    tool::{ClientAuth, RestAuth},
};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::auth::sensitive;
use crate::executor::{
    error::CallError,
    http::{Answer, Outgoing, Wire, exchange},
    secrets::Secrets,
};

/// Tokens that are kept; of more, those that were not used for longest are fetched anew.
const TOKENS: u64 = 10_000;
/// A token that nobody used for so long is forgotten.
const IDLE: Duration = Duration::from_secs(3600);
/// For how long a token counts whose end nobody told: the specification only recommends to tell it.
const UNTOLD_LIFE_S: i64 = 300;
/// The longest life that is believed; a day's token is fetched again soon enough.
const LONGEST_LIFE_S: i64 = 24 * 3600;
/// A token is given up so long before its end, or a tenth of its life if that is less: the clocks of
/// both sides differ, and the call takes its time.
const MARGIN_S: i64 = 30;
/// Characters of a token: what servers accept in a header.
const TOKEN_CHARS: usize = 8 * 1024;
/// What a token endpoint may say of a refusal (RFC 6749, section 5.2); nothing else is passed on.
const ERRORS: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Whose token, and by which credentials it was had: others are another token.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    workspace: WorkspaceId,
    tool: ToolId,
    version: u32,
    credentials: [u8; 32],
}

#[derive(Clone)]
pub(super) struct Token {
    pub(super) text: Zeroizing<String>,
    until: Timestamp,
}

/// What is known of a token. Whoever holds the lock fetches it, the others wait.
#[derive(Default)]
struct Slot {
    token: Option<Token>,
    /// When it last could not be had, and why: told to all who were waiting by then.
    failed: Option<(Instant, CallError)>,
}

/// The tokens that there are.
pub(in crate::executor) struct Tokens(Cache<Key, Arc<Mutex<Slot>>>);

impl Tokens {
    pub(in crate::executor) fn new() -> Self {
        let cache = Cache::builder().max_capacity(TOKENS).time_to_idle(IDLE);
        Self(cache.build())
    }
}

/// What a token is asked for with.
pub(super) struct Client<'a> {
    pub(super) auth: &'a RestAuth,
    pub(super) id: Zeroizing<String>,
    pub(super) secret: Zeroizing<String>,
    pub(super) workspace: WorkspaceId,
    pub(super) tool: ToolId,
    pub(super) version: u32,
}

impl Client<'_> {
    /// The token, from the cache while it lasts. One that was refused is not given again.
    pub(super) async fn token(
        &self,
        tokens: &Tokens,
        wire: &Wire<'_>,
        secrets: &mut Secrets,
        refused: Option<&Token>,
    ) -> Result<Token, CallError> {
        let asked = Instant::now();
        let slot = tokens.0.get_with(self.key(), Arc::default);
        let mut slot = slot.lock().await;
        if let Some(token) = &slot.token
            && token.until > wire.clock().now()
            && refused.is_none_or(|refused| refused.text != token.text)
        {
            secrets.also(token.text.to_string());
            return Ok(token.clone());
        }
        if let Some((at, error)) = &slot.failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        let fetched = self.fetch(wire, secrets).await;
        match &fetched {
            Ok(token) => slot.token = Some(token.clone()),
            Err(error) => slot.failed = Some((Instant::now(), error.clone())),
        }
        fetched
    }

    fn key(&self) -> Key {
        let mut context = Context::new(&SHA256);
        for part in [&self.id, &self.secret] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut credentials = [0; 32];
        credentials.copy_from_slice(context.finish().as_ref());
        Key {
            workspace: self.workspace,
            tool: self.tool,
            version: self.version,
            credentials,
        }
    }

    async fn fetch(&self, wire: &Wire<'_>, secrets: &mut Secrets) -> Result<Token, CallError> {
        let answer = exchange(wire, self.request(wire, secrets)?, secrets).await?;
        if !answer.status.is_success() {
            return Err(refusal(answer, secrets).await);
        }
        let received = wire.clock().now();
        let unfit = |problem: &str| {
            let message = format!("the token endpoint's answer {problem}");
            CallError::failed(ErrorCategory::ServerError, message)
        };
        let answer = answer.parsed().await.map_err(|_| unfit("is not JSON"))?;
        let bearer = answer.get("token_type").and_then(Value::as_str);
        if bearer.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(unfit("is a token of another type than bearer"));
        }
        let text = answer.get("access_token").and_then(Value::as_str);
        let text = text.filter(|t| !t.is_empty() && t.len() <= TOKEN_CHARS);
        let text = text.ok_or_else(|| unfit("holds no `access_token`"))?;
        secrets.also(text.to_owned());
        let life = life(&answer);
        let margin = MARGIN_S.min(life / 10);
        let until = received.checked_add(SignedDuration::from_secs(life - margin));
        Ok(Token {
            text: Zeroizing::new(text.to_owned()),
            until: until.unwrap_or(received),
        })
    }

    fn request(&self, wire: &Wire<'_>, secrets: &mut Secrets) -> Result<Outgoing, CallError> {
        let written = self.auth.token_url.as_deref().unwrap_or_default();
        let url = Url::parse(written).map_err(|_| {
            CallError::invalid("`rest.api.auth.token_url` is not a URL; revise the tool")
        })?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [
            ("scope", &self.auth.scope),
            ("audience", &self.auth.audience),
        ] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        let step = wire.side_step("token");
        // Another token does no harm: the former one is not used any more.
        let mut outgoing = Outgoing::new(Method::POST, url, step)
            .written_as(written)
            .safe_to_repeat();
        match self.auth.client_auth.unwrap_or_default() {
            ClientAuth::ClientSecretBasic => {
                let encoded = |text: &str| {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                let pair = format!("{}:{}", encoded(&self.id), encoded(&self.secret));
                let pair = BASE64.encode(pair);
                let value = sensitive(&format!("Basic {pair}"))?;
                secrets.also(pair);
                outgoing.headers.insert(AUTHORIZATION, value);
            }
            ClientAuth::ClientSecretPost => {
                form.append_pair("client_id", &self.id);
                form.append_pair("client_secret", &self.secret);
            }
        }
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        Ok(outgoing.with_body(kind, form.finish().into()))
    }
}

/// For how long a token counts, in seconds.
fn life(answer: &Value) -> i64 {
    let told = match answer.get("expires_in") {
        Some(Value::String(text)) => text.trim().parse::<f64>().ok(),
        Some(number) => number.as_f64(),
        None => None,
    };
    match told {
        Some(seconds) if seconds.is_finite() => (seconds as i64).clamp(0, LONGEST_LIFE_S),
        _ => UNTOLD_LIFE_S,
    }
}

/// Why there is no token: mostly, that the client is not accepted.
async fn refusal(answer: Answer, secrets: &Secrets) -> CallError {
    if !matches!(
        answer.status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) {
        let error = match answer.successful(secrets) {
            Err(error) => error,
            Ok(_) => return CallError::invalid("the token endpoint gave no token"),
        };
        return CallError {
            message: format!("no token could be had: {}", error.message),
            ..error
        };
    }
    let told = answer.parsed().await.unwrap_or_default();
    let told = told.get("error").and_then(Value::as_str);
    let reason = told.filter(|reason| ERRORS.contains(reason));
    let message = format!(
        "the token endpoint refuses the client ({}); check `client_id`, `secret_ref` and `scope`",
        reason.unwrap_or("without a reason that is known")
    );
    let error = CallError::failed(ErrorCategory::Authentication, message);
    error.with_details(answer.said(secrets))
}
