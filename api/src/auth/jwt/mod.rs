//! Tokens of an identity provider: JWTs, RFC 7519, checked as RFC 8725 advises.
//!
//! The algorithm belongs to the key, never to the token: HS256 counts only for the shared secret
//! that the operator configured, RS256, ES256 and EdDSA only for the key of the provider's JWKS
//! that `kid` names. Claims are read after the signature, and nothing in a token leads anywhere:
//! `jku`, `jwk`, `x5u` and `x5c` are not looked at.

mod claims;
mod header;
mod json;
mod jwks;
mod key;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use toolroom_domain::Clock;

pub use claims::Claims;
pub use jwks::{
    FETCH_TIMEOUT, FetchError, FetchJwks, Jwks, MAX_AGE, MAX_BYTES, MAX_KEYS, REFRESH_PAUSE,
    STALE_FOR,
};
pub use key::{Algorithm, SHARED_SECRET_BYTES, SharedSecret, WeakSecret};

use super::{Reason, Unauthenticated};
use header::Header;

/// Bytes of a token: what fits into a header field of common proxies, and some ten times what
/// providers issue.
pub const TOKEN_BYTES: usize = 8 * 1024;

/// What a token must say to be meant for us.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The `iss` that it must have.
    pub issuer: String,
    /// The audiences of which `aud` must hold one. With none, no token counts.
    pub audiences: Vec<String>,
    /// By how much the provider's clock and ours may differ.
    pub leeway: Duration,
}

/// Checks the tokens of one provider.
pub struct Verifier {
    expected: Expected,
    secret: Option<SharedSecret>,
    jwks: Option<Jwks>,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    /// A verifier with no keys yet: it refuses every token.
    pub fn new(expected: Expected, clock: Arc<dyn Clock>) -> Self {
        Self {
            expected,
            secret: None,
            jwks: None,
            clock,
        }
    }

    /// Lets HS256 with this secret count too.
    #[must_use]
    pub fn with_secret(mut self, secret: SharedSecret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Lets the provider's public keys count too.
    #[must_use]
    pub fn with_jwks(mut self, jwks: Jwks) -> Self {
        self.jwks = Some(jwks);
        self
    }

    /// What a token says of its holder, if it counts.
    ///
    /// May wait for the provider's keys, [`FETCH_TIMEOUT`] at most, when it names one that is not
    /// known yet.
    ///
    /// # Errors
    /// When the token does not count, with the reason for the log.
    pub async fn verify(&self, token: &str) -> Result<Claims, Unauthenticated> {
        let signed = Signed::parse(token)?;
        let header = Header::read(&signed.header)?;
        match header.algorithm {
            Algorithm::Hs256 => {
                let secret = self.secret.as_ref().ok_or(Reason::Algorithm)?;
                secret.verify(signed.message, &signed.signature)?;
            }
            Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa => {
                let jwks = self.jwks.as_ref().ok_or(Reason::Algorithm)?;
                let kid = header.kid.ok_or(Reason::KeyIdMissing)?;
                let key = jwks.key(&kid).await?;
                key.verify(header.algorithm, signed.message, &signed.signature)?;
            }
        }
        let claims = URL_SAFE_NO_PAD
            .decode(signed.claims)
            .map_err(|_| Reason::TokenMalformed)?;
        Ok(Claims::read(&claims, &self.expected, self.clock.now())?)
    }
}

/// A token taken apart. Nothing of it is believed yet.
struct Signed<'a> {
    /// What the signature is over.
    message: &'a [u8],
    header: Vec<u8>,
    /// Still encoded: not looked at before the signature.
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Signed<'a> {
    fn parse(token: &'a str) -> Result<Self, Reason> {
        if token.len() > TOKEN_BYTES {
            return Err(Reason::TokenTooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Reason::TokenMalformed)?;
        let (header, claims) = message.split_once('.').ok_or(Reason::TokenMalformed)?;
        let decode = |part| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| Reason::TokenMalformed)
        };
        if claims.contains('.') {
            return Err(Reason::TokenMalformed);
        }
        Ok(Self {
            message: message.as_bytes(),
            header: decode(header)?,
            claims,
            signature: decode(signature)?,
        })
    }
}
