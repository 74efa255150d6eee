//! Keys, each for one algorithm.

use std::fmt;

use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use super::{Reason, header::KID_BYTES};

/// Bytes of a shared secret at least: those of the hash, as RFC 7518 asks for.
pub const SHARED_SECRET_BYTES: usize = 32;

/// Bytes of an RSA modulus: shorter ones are broken in time, longer ones cost too much to check.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// Bytes of an RSA exponent: nobody needs more than 65537.
const RSA_EXPONENT_BYTES: std::ops::RangeInclusive<usize> = 1..=4;

/// Bytes of a coordinate on P-256, and of a key on Ed25519.
const CURVE_BYTES: usize = 32;

/// The algorithms that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256, under a secret shared with the provider.
    Hs256,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The algorithm that `alg` names, if it is served. Case counts.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A secret that the provider signs with and we check with. Never printed.
#[derive(Clone)]
pub struct SharedSecret(hmac::Key);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// Why a text cannot be a shared secret. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Whoever knows a token could guess it.
    #[error(
        "the shared secret for tokens must have at least {SHARED_SECRET_BYTES} bytes; make one with `openssl rand -base64 48`"
    )]
    TooShort,
    /// A public key is no secret: everybody could sign with it.
    #[error(
        "the shared secret for tokens is a key in PEM, which is meant for other algorithms; give the provider's JWKS address in its place"
    )]
    Pem,
}

impl SharedSecret {
    /// A secret from the bytes of its text, as providers use it: not decoded.
    ///
    /// # Errors
    /// When it is too short, or is no secret.
    pub fn try_new(secret: &[u8]) -> Result<Self, WeakSecret> {
        if secret.len() < SHARED_SECRET_BYTES {
            return Err(WeakSecret::TooShort);
        }
        if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Err(WeakSecret::Pem);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Reason> {
        hmac::verify(&self.0, message, signature).map_err(|_| Reason::Signature)
    }
}

/// A public key of the provider.
pub(super) struct PublicKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl PublicKey {
    /// Whether a signature is this key's, by the algorithm that the key is for.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Reason> {
        if algorithm != self.algorithm {
            return Err(Reason::Algorithm);
        }
        self.key
            .verify_sig(message, signature)
            .map_err(|_| Reason::Signature)
    }

    /// The key of a JWK and its id, if it is one that signs tokens by an algorithm that is served.
    /// A set may hold others: they are passed over.
    pub(super) fn from_jwk(jwk: Value) -> Option<(String, Self)> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk
                .key_ops
                .as_ref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let named = !jwk.kid.is_empty() && jwk.kid.len() <= KID_BYTES;
        let (algorithm, key) = jwk.material.parse()?;
        let meant = jwk
            .alg
            .as_deref()
            .is_none_or(|alg| Algorithm::named(alg) == Some(algorithm));
        (signs && named && meant).then_some((jwk.kid, Self { algorithm, key }))
    }
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    #[serde(flatten)]
    material: Material,
}

#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Material {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: String, x: String },
}

impl Material {
    fn parse(&self) -> Option<(Algorithm, ParsedPublicKey)> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let coordinate = |text| decode(text).filter(|bytes| bytes.len() == CURVE_BYTES);
        match self {
            Self::Rsa { n, e } => {
                let (n, e) = (decode(n)?, decode(e)?);
                let bounded =
                    RSA_MODULUS_BYTES.contains(&n.len()) && RSA_EXPONENT_BYTES.contains(&e.len());
                let key = bounded
                    .then_some(RsaPublicKeyComponents { n, e })?
                    .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
                Some((Algorithm::Rs256, key.ok()?))
            }
            Self::Ec { crv, x, y } if crv == "P-256" => {
                // SEC 1: an uncompressed point.
                let point = [vec![4], coordinate(x)?, coordinate(y)?].concat();
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                Some((Algorithm::Es256, key.ok()?))
            }
            Self::Okp { crv, x } if crv == "Ed25519" => {
                let key = ParsedPublicKey::new(&ED25519, coordinate(x)?);
                Some((Algorithm::EdDsa, key.ok()?))
            }
            Self::Ec { .. } | Self::Okp { .. } => None,
        }
    }
}
