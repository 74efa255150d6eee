//! Signing as Standard Webhooks 1.0.0 specifies
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>):
//! HMAC-SHA256 over `id.timestamp.body`.

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use reqwest::header::HeaderName;

use super::{Around, Method, Parameters, sensitive};
use crate::executor::{CallError, http::Outgoing};

/// By which people and programs know such a secret.
const PREFIX: &str = "whsec_";
/// Bytes of a secret: 192 to 512 bits, says the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets that sign one request: the one that counts, and older ones while receivers change over.
const SECRETS: usize = 4;

/// Why nothing can be signed. Nothing of the secret is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum SignError {
    /// It is of another form.
    #[error(
        "the webhook's secret must be `whsec_` and the Base64 of 24 to 64 random bytes; \
         make one with `echo whsec_$(openssl rand -base64 32)`"
    )]
    Secret,
    /// More than can be of use.
    #[error("at most {SECRETS} secrets can sign a webhook; drop the oldest")]
    TooMany,
    /// The receiver could not tell where the id ends.
    #[error("the id of a webhook must hold no full stop")]
    Id,
}

/// The method `standard_webhooks`.
pub(super) struct StandardWebhooks;

#[async_trait]
impl Method for StandardWebhooks {
    async fn apply(
        &self,
        parameters: &Parameters,
        outgoing: &mut Outgoing,
        around: &mut Around<'_, '_>,
    ) -> Result<(), CallError> {
        let secrets = parameters.text("secret")?;
        // The receiver's own words may hold one of several.
        for secret in secrets.split_ascii_whitespace() {
            around.secrets.also(secret.to_owned());
        }
        let body = outgoing.body.as_deref().unwrap_or_default();
        let signed = sign(&secrets, outgoing.step.key(), around.clock.now(), body);
        let signed = signed.map_err(|error| CallError::invalid(error.to_string()))?;
        for (name, value) in signed.headers() {
            let name = HeaderName::from_static(name);
            outgoing.headers.insert(name, sensitive(value)?);
        }
        Ok(())
    }
}

/// What the receiver checks, header by header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signed {
    /// `webhook-id`: the same in each attempt, so that a repetition is recognised.
    id: String,
    /// `webhook-timestamp`: seconds since 1970 of this attempt, so that no old one can be replayed.
    timestamp: String,
    /// `webhook-signature`: one `v1,…` a secret, with spaces between.
    signature: String,
}

impl Signed {
    /// The headers to send, by name.
    fn headers(&self) -> [(&'static str, &str); 3] {
        [
            ("webhook-id", &self.id),
            ("webhook-timestamp", &self.timestamp),
            ("webhook-signature", &self.signature),
        ]
    }
}

/// Signs a body with a secret, or with several that stand in one text with spaces between.
///
/// # Errors
/// When a secret or the id is not as the specification wants it.
fn sign(secrets: &str, id: &str, at: Timestamp, body: &[u8]) -> Result<Signed, SignError> {
    if id.is_empty() || id.contains('.') {
        return Err(SignError::Id);
    }
    let timestamp = at.as_second().to_string();
    let mut signatures = Vec::new();
    for secret in secrets.split_ascii_whitespace() {
        if signatures.len() == SECRETS {
            return Err(SignError::TooMany);
        }
        let mut context = hmac::Context::with_key(&key(secret)?);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        signatures.push(format!("v1,{}", BASE64.encode(context.sign())));
    }
    if signatures.is_empty() {
        return Err(SignError::Secret);
    }
    Ok(Signed {
        id: id.to_owned(),
        timestamp,
        signature: signatures.join(" "),
    })
}

fn key(secret: &str) -> Result<hmac::Key, SignError> {
    let encoded = secret.strip_prefix(PREFIX).ok_or(SignError::Secret)?;
    let bytes = BASE64.decode(encoded).map_err(|_| SignError::Secret)?;
    if !SECRET_BYTES.contains(&bytes.len()) {
        return Err(SignError::Secret);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn at() -> Timestamp {
        Timestamp::from_second(1_614_265_330).unwrap()
    }

    /// The vector of the reference libraries.
    #[test]
    fn the_published_vector_comes_out() {
        let signed = sign(SECRET, ID, at(), BODY).unwrap();
        assert_eq!(
            signed.headers(),
            [
                ("webhook-id", ID),
                ("webhook-timestamp", "1614265330"),
                (
                    "webhook-signature",
                    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
                ),
            ]
        );
    }

    #[test]
    fn each_secret_signs_while_they_are_being_changed() {
        let other = format!("whsec_{}", BASE64.encode([7; 32]));
        let signed = sign(&format!("{other} {SECRET}"), ID, at(), BODY).unwrap();
        let signatures: Vec<_> = signed.signature.split(' ').collect();
        assert_eq!(signatures.len(), 2);
        assert_eq!(
            signatures[1],
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let many = [SECRET; SECRETS + 1].join(" ");
        assert_eq!(sign(&many, ID, at(), BODY), Err(SignError::TooMany));
    }

    #[test]
    fn id_time_and_body_all_count() {
        let of = |id, at, body| sign(SECRET, id, at, body).unwrap().signature;
        let first = of(ID, at(), BODY);
        let later = Timestamp::from_second(1_614_265_331).unwrap();
        assert_ne!(first, of("msg_other", at(), BODY));
        assert_ne!(first, of(ID, later, BODY));
        assert_ne!(first, of(ID, at(), b"{}"));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_repeating_it() {
        let short = format!("whsec_{}", BASE64.encode([7; 23]));
        let long = format!("whsec_{}", BASE64.encode([7; 65]));
        let bare = BASE64.encode([7; 32]);
        for secret in ["", " ", "whsec_", "whsec_not base64!", &short, &long, &bare] {
            let refused = sign(secret, ID, at(), BODY).unwrap_err();
            assert_eq!(refused, SignError::Secret, "{secret}");
            assert!(!refused.to_string().contains(&bare));
        }
    }

    #[test]
    fn an_id_in_which_the_timestamp_could_hide_is_refused() {
        for id in ["", "a.1614265330"] {
            assert_eq!(sign(SECRET, id, at(), BODY), Err(SignError::Id), "{id}");
        }
    }
}
