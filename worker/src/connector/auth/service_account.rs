//! Access tokens for a Google service account: a JWT signed with the account's key is exchanged for
//! one (RFC 7523, as <https://developers.google.com/identity/protocols/oauth2/service-account#httprest>
//! tells it).

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::{
    digest::{Context, SHA256},
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use reqwest::{
    Method as HttpMethod,
    header::{AUTHORIZATION, HeaderValue},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use toolroom_domain::ErrorCategory;
use url::Url;
use zeroize::Zeroizing;

use super::{Around, Method, Parameters, sensitive};
use crate::executor::{
    CallError,
    http::{self, Outgoing, Wire},
    secrets::Secrets,
};

/// How long an assertion is good: the longest that Google takes.
const ASSERTION_S: i64 = 3_600;
/// A token is not used in the last minute of its life: the call has to get there, and clocks differ.
const MARGIN_S: i64 = 60;
/// The longest that a token is kept, whatever its lifetime is said to be.
const LONGEST_S: i64 = 12 * 3_600;
/// Tokens kept: accounts that are in use at a time.
const TOKENS: u64 = 1_000;
/// A token that nobody wants is forgotten.
const IDLE: Duration = Duration::from_secs(2 * 3_600);
/// Bytes of a key file; Google's have about 2,400.
const KEY_FILE_BYTES: usize = 16 * 1024;
/// Bytes of a token; Google's have up to 2,048.
const TOKEN_BYTES: usize = 16 * 1024;
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Why a key file cannot be used. Nothing of it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum KeyError {
    /// It is no JSON object.
    #[error(
        "the service account's key must be the JSON of its key file, as an object or as its text"
    )]
    NoObject,
    /// A field is missing.
    #[error("the service account's key has no `{0}`; give the whole key file as it was downloaded")]
    Missing(&'static str),
    /// Where the token is fetched is no address.
    #[error("the service account's `token_uri` is not an http or https address")]
    TokenUri,
    /// The key is none.
    #[error(
        "the service account's `private_key` is not an RSA key in PEM (PKCS #8) of 2048 bits or more"
    )]
    PrivateKey,
}

impl From<KeyError> for CallError {
    fn from(error: KeyError) -> Self {
        Self {
            category: ErrorCategory::Authentication,
            ..Self::invalid(error.to_string())
        }
    }
}

/// A service account, and how it signs.
struct ServiceAccount {
    client_email: String,
    key_id: Option<String>,
    token_url: Url,
    key: RsaKeyPair,
    /// Which account and key it is, for whoever keeps its tokens.
    digest: [u8; 32],
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccount({})", self.client_email)
    }
}

/// What a token is wanted for.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    /// What the token shall be good for.
    scopes: &'a [String],
    /// The user in whose name the account acts.
    subject: Option<&'a str>,
}

/// The method `google_service_account`.
#[derive(Default)]
pub(super) struct GoogleServiceAccount {
    tokens: Tokens,
}

#[async_trait]
impl Method for GoogleServiceAccount {
    async fn apply(
        &self,
        parameters: &Parameters,
        outgoing: &mut Outgoing,
        around: &mut Around<'_, '_>,
    ) -> Result<(), CallError> {
        let text = |name: &str| parameters.value(name).and_then(Value::as_str);
        let key_file = parameters.value("key").unwrap_or(&Value::Null);
        let account = ServiceAccount::try_new(key_file, text("token_url"))?;
        let scopes = parameters.value("scopes").and_then(Value::as_array);
        let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
        let scopes: Vec<_> = scopes.map(str::to_owned).collect();
        let wanted = Wanted {
            scopes: &scopes,
            subject: text("subject"),
        };
        let Some(wire) = around.wire else {
            outgoing
                .headers
                .insert(AUTHORIZATION, sensitive("Bearer ***")?);
            return Ok(());
        };
        let (now, secrets) = (around.clock.now(), &mut *around.secrets);
        let fetched = self.tokens.token(&account, &wanted, now, async |claim| {
            fetch(wire, secrets, claim).await
        });
        let token = fetched.await?;
        around.secrets.also(token.to_string());
        let value = sensitive(&format!("Bearer {}", *token))?;
        outgoing.headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

/// Exchanges a claim for a token: at most another token comes of doing it twice.
async fn fetch(
    wire: &Wire<'_>,
    secrets: &mut Secrets,
    claim: Claim,
) -> Result<TokenAnswer, CallError> {
    // Worth a token for an hour.
    secrets.also(claim.assertion.to_string());
    let fields = [("grant_type", GRANT_TYPE), ("assertion", &claim.assertion)];
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    let written = claim.url.to_string();
    let outgoing = Outgoing::new(HttpMethod::POST, claim.url, wire.side_step("token"))
        .written_as(written)
        .with_body(content_type, form.into())
        .safe_to_repeat();
    let answer = http::exchange(wire, outgoing, secrets).await?;
    Ok(TokenAnswer {
        status: answer.status.as_u16(),
        body: answer.parsed().await.unwrap_or(Value::Null),
        retry_after: answer.retry_after(),
    })
}

/// What is exchanged for a token.
struct Claim {
    /// Where.
    url: Url,
    /// The signed claim.
    assertion: Zeroizing<String>,
}

/// What was answered to a [`Claim`].
struct TokenAnswer {
    /// The status.
    status: u16,
    /// The body as JSON, `null` if it is none.
    body: Value,
    /// When to come again, if the answer tells.
    retry_after: Option<Duration>,
}

impl ServiceAccount {
    /// The account of a key file, given as its object or its text. `token_url` stands in the place
    /// of the file's `token_uri`.
    ///
    /// # Errors
    /// When it is not as Google writes it.
    fn try_new(key_file: &Value, token_url: Option<&str>) -> Result<Self, KeyError> {
        let parsed;
        let fields = match key_file {
            Value::Object(fields) => fields,
            Value::String(text) if text.len() <= KEY_FILE_BYTES => {
                parsed = serde_json::from_str(text).map_err(|_| KeyError::NoObject)?;
                &parsed
            }
            _ => return Err(KeyError::NoObject),
        };
        let field = |name: &'static str| {
            let text = fields.get(name).and_then(Value::as_str);
            text.filter(|t| !t.is_empty())
                .ok_or(KeyError::Missing(name))
        };
        let (client_email, pem) = (field("client_email")?, field("private_key")?);
        let token_uri = match token_url {
            Some(url) => url,
            None => field("token_uri")?,
        };
        let token_url: Url = token_uri.parse().map_err(|_| KeyError::TokenUri)?;
        if !matches!(token_url.scheme(), "http" | "https") {
            return Err(KeyError::TokenUri);
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_| KeyError::PrivateKey)?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der());
        let key = key.map_err(|_| KeyError::PrivateKey)?;
        let mut digest = Context::new(&SHA256);
        for part in [client_email, pem, token_url.as_str()] {
            absorb(&mut digest, part.as_bytes());
        }
        Ok(Self {
            client_email: client_email.to_owned(),
            key_id: field("private_key_id").ok().map(str::to_owned),
            token_url,
            key,
            digest: finished(digest),
        })
    }

    /// The signed claim to a token.
    ///
    /// # Errors
    /// When the key does not sign.
    fn assertion(
        &self,
        wanted: &Wanted<'_>,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, KeyError> {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = Value::from(id.as_str());
        }
        let now = now.as_second();
        let mut claims = json!({
            "iss": self.client_email,
            "scope": wanted.scopes.join(" "),
            "aud": self.token_url.as_str(),
            "iat": now,
            "exp": now + ASSERTION_S,
        });
        if let Some(subject) = wanted.subject {
            claims["sub"] = Value::from(subject);
        }
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .map_err(|_| KeyError::PrivateKey)?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(Zeroizing::new(format!("{message}.{signature}")))
    }

    fn slot_key(&self, wanted: &Wanted<'_>) -> [u8; 32] {
        let mut digest = Context::new(&SHA256);
        absorb(&mut digest, &self.digest);
        absorb(&mut digest, wanted.subject.unwrap_or_default().as_bytes());
        for scope in wanted.scopes {
            absorb(&mut digest, scope.as_bytes());
        }
        finished(digest)
    }
}

/// Each part after its length, so that no two lists of parts are one.
fn absorb(digest: &mut Context, part: &[u8]) {
    digest.update(&(part.len() as u64).to_be_bytes());
    digest.update(part);
}

fn finished(digest: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    bytes
}

struct Token {
    text: Zeroizing<String>,
    fetched_at: Timestamp,
    lifetime_s: i64,
}

impl Token {
    /// A clock that was set back before the token was fetched says nothing about it any more.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let age = now.as_second() - self.fetched_at.as_second();
        (0..self.lifetime_s - MARGIN_S).contains(&age)
    }
}

type Slot = Arc<Mutex<Option<Token>>>;

/// Keeps access tokens until shortly before they end. They are found by the key that they were
/// fetched with, so a key that was replaced finds none of the old one's, and nobody finds another's.
struct Tokens(moka::sync::Cache<[u8; 32], Slot>);

impl Default for Tokens {
    fn default() -> Self {
        let slots = moka::sync::Cache::builder()
            .max_capacity(TOKENS)
            .time_to_idle(IDLE)
            .build();
        Self(slots)
    }
}

impl Tokens {
    /// A token, kept or fetched by `exchange`; of callers that come together one fetches.
    ///
    /// # Errors
    /// When the account's key is refused, or the token could not be fetched.
    async fn token(
        &self,
        account: &ServiceAccount,
        wanted: &Wanted<'_>,
        now: Timestamp,
        exchange: impl AsyncFnOnce(Claim) -> Result<TokenAnswer, CallError>,
    ) -> Result<Zeroizing<String>, CallError> {
        let slot = self.0.get_with(account.slot_key(wanted), Slot::default);
        let mut held = slot.lock().await;
        if let Some(token) = held.as_ref().filter(|token| token.is_fresh(now)) {
            return Ok(token.text.clone());
        }
        *held = None;
        let claim = Claim {
            url: account.token_url.clone(),
            assertion: account.assertion(wanted, now)?,
        };
        let token = read(exchange(claim).await?, now)?;
        let text = token.text.clone();
        *held = Some(token);
        Ok(text)
    }
}

fn read(answer: TokenAnswer, now: Timestamp) -> Result<Token, CallError> {
    let body = &answer.body;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    let text = body["access_token"].as_str().filter(|t| {
        // It becomes a header.
        !t.is_empty() && t.len() <= TOKEN_BYTES && t.bytes().all(|b| b.is_ascii_graphic())
    });
    let is_bearer = body["token_type"]
        .as_str()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    match text {
        Some(text) if is_bearer => Ok(Token {
            text: Zeroizing::new(text.to_owned()),
            fetched_at: now,
            lifetime_s: body["expires_in"].as_i64().unwrap_or(0).min(LONGEST_S),
        }),
        _ => Err(CallError::failed(
            ErrorCategory::ServerError,
            "the token endpoint answered without a bearer token",
        )),
    }
}

/// RFC 6749, section 5.2, and what Google says beside it.
fn refused(answer: &TokenAnswer) -> CallError {
    let code = answer.body["error"].as_str().unwrap_or_default();
    let (category, message) = match (answer.status, code) {
        (_, "invalid_grant") => (
            ErrorCategory::Authentication,
            "the service account's key is not taken: it was deleted, its account was, or this server's clock is wrong".to_owned(),
        ),
        (_, "invalid_scope" | "unauthorized_client" | "access_denied") | (403, _) => (
            ErrorCategory::Authorization,
            "the service account may not act for that user or with these scopes; have its domain delegate them".to_owned(),
        ),
        (_, "invalid_client") | (401, _) => (
            ErrorCategory::Authentication,
            "the token endpoint does not know the service account".to_owned(),
        ),
        (429, _) => (
            ErrorCategory::RateLimit,
            "tokens are asked for too often".to_owned(),
        ),
        (status @ 500.., _) => (
            ErrorCategory::ServerError,
            format!("the token endpoint answered {status}"),
        ),
        (status, _) => (
            ErrorCategory::Validation,
            format!("the token endpoint answered {status}"),
        ),
    };
    CallError {
        retry_after: answer.retry_after,
        ..CallError::failed(category, message)
    }
}

#[cfg(test)]
mod tests;
