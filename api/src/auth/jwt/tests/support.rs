//! An identity provider, a clock, and a forge for tokens.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use toolroom_domain::Clock;

use super::super::{Claims, Expected, FetchError, FetchJwks, Jwks, SharedSecret, Verifier};
use crate::auth::Reason;

pub(super) const NOW: i64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://auth.example.com/auth/v1";
pub(super) const SECRET: &[u8] = b"super-secret-jwt-token-with-at-least-32-characters-long";
pub(super) const LEEWAY_S: i64 = 60;

/// A clock that moves when it is told to.
pub(super) struct FakeClock(Mutex<Timestamp>);

impl FakeClock {
    pub(super) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no holder panics");
        *now = now.checked_add(by).expect("within the calendar");
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no holder panics")
    }
}

/// A provider that publishes what it is told to, or is away.
pub(super) struct Provider {
    published: Mutex<Option<Bytes>>,
    fetches: AtomicUsize,
    /// A fetch waits for a permit of it.
    pub(super) gate: Semaphore,
}

impl Provider {
    pub(super) fn publish(&self, set: impl Into<Bytes>) {
        *self.published.lock().expect("no holder panics") = Some(set.into());
    }

    pub(super) fn publish_keys(&self, keys: &[Value]) {
        self.publish(json!({ "keys": keys }).to_string());
    }

    pub(super) fn goes_away(&self) {
        *self.published.lock().expect("no holder panics") = None;
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

struct Wire(Arc<Provider>);

#[async_trait]
impl FetchJwks for Wire {
    async fn fetch(&self) -> Result<Bytes, FetchError> {
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        let _passed = self.0.gate.acquire().await?;
        let published = self.0.published.lock().expect("no holder panics").clone();
        published.ok_or_else(|| "connection refused".into())
    }
}

/// A verifier and what it depends on.
pub(super) struct World {
    pub(super) clock: Arc<FakeClock>,
    pub(super) provider: Arc<Provider>,
    pub(super) jwks: Jwks,
    pub(super) verifier: Verifier,
}

impl World {
    /// Shared secret and public keys both count.
    pub(super) fn new() -> Self {
        let mut world = Self::with_public_keys_only();
        let secret = SharedSecret::try_new(SECRET).expect("it is long enough");
        world.verifier = world.verifier.with_secret(secret);
        world
    }

    pub(super) fn with_public_keys_only() -> Self {
        let at = Timestamp::from_second(NOW).expect("within the calendar");
        let clock = Arc::new(FakeClock(Mutex::new(at)));
        let provider = Arc::new(Provider {
            published: Mutex::default(),
            fetches: AtomicUsize::default(),
            gate: Semaphore::new(1_000),
        });
        provider.publish_keys(&[rsa_jwk("rsa"), ec_jwk("ec"), ed_jwk("ed")]);
        let expected = Expected {
            issuer: ISSUER.to_owned(),
            audiences: vec!["toolroom".to_owned(), "authenticated".to_owned()],
            leeway: Duration::from_secs(LEEWAY_S as u64),
        };
        let shared: Arc<dyn Clock> = clock.clone();
        let jwks = Jwks::new(Wire(Arc::clone(&provider)), Arc::clone(&shared));
        Self {
            verifier: Verifier::new(expected, shared).with_jwks(jwks.clone()),
            clock,
            provider,
            jwks,
        }
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Claims, Reason> {
        let verified = self.verifier.verify(token).await;
        verified.map_err(|error| error.reason())
    }
}

struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("the system has randomness"),
    ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .expect("the system has randomness"),
    ed: Ed25519KeyPair::generate().expect("the system has randomness"),
});

/// The provider's RSA key as everybody may have it: PKCS #1.
pub(super) fn rsa_der() -> &'static [u8] {
    KEYS.rsa.public_key().as_ref()
}

pub(super) fn rsa_jwk(kid: &str) -> Value {
    // The DER of a 2048-bit key with the exponent 65537 has every part at a fixed place.
    let (n, e) = (&rsa_der()[9..265], &rsa_der()[267..270]);
    json!({ "kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": encode(n), "e": encode(e) })
}

pub(super) fn ec_jwk(kid: &str) -> Value {
    let (x, y) = KEYS.ec.public_key().as_ref()[1..].split_at(32);
    json!({ "kty": "EC", "kid": kid, "crv": "P-256", "key_ops": ["verify"], "x": encode(x), "y": encode(y) })
}

pub(super) fn ed_jwk(kid: &str) -> Value {
    json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519", "x": encode(KEYS.ed.public_key().as_ref()) })
}

/// What a token is signed with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer<'a> {
    Secret(&'a [u8]),
    Rsa,
    Ec,
    Ed,
}

/// Each algorithm that is served: its name, the id of its key, and what signs with it.
pub(super) const SERVED: [(&str, &str, Signer<'static>); 4] = [
    ("HS256", "any", Signer::Secret(SECRET)),
    ("RS256", "rsa", Signer::Rsa),
    ("ES256", "ec", Signer::Ec),
    ("EdDSA", "ed", Signer::Ed),
];

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn sign(message: &[u8], signer: Signer<'_>) -> Vec<u8> {
    match signer {
        Signer::Secret(secret) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, message).as_ref().to_vec()
        }
        Signer::Rsa => {
            let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
            KEYS.rsa
                .sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .expect("the key signs");
            signature
        }
        Signer::Ec => {
            let signature = KEYS.ec.sign(&SystemRandom::new(), message);
            signature.expect("the key signs").as_ref().to_vec()
        }
        Signer::Ed => KEYS.ed.sign(message).as_ref().to_vec(),
    }
}

/// A token of these very texts, well signed.
pub(super) fn token_of(
    header: impl AsRef<[u8]>,
    claims: impl AsRef<[u8]>,
    signer: Signer<'_>,
) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(sign(message.as_bytes(), signer));
    format!("{message}.{signature}")
}

/// A header that is as it should be.
pub(super) fn header(alg: &str, kid: &str) -> Value {
    json!({ "alg": alg, "typ": "JWT", "kid": kid })
}

/// Claims that are as they should be.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "5b1d9e6a-6a5c-4f0e-9f39-0d3ad32d9b8e",
        "aud": "authenticated",
        "exp": NOW + 3_600,
        "iat": NOW - 10,
        "nbf": NOW - 10,
        "email": "ada@example.com",
        "role": "authenticated",
        "app_metadata": { "provider": "email", "providers": ["email"] },
        "amr": [{ "method": "password", "timestamp": NOW - 10 }],
    })
}

/// Claims of which one is another.
pub(super) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

/// Claims of which one is missing.
pub(super) fn claims_without(name: &str) -> Value {
    let mut claims = claims();
    claims
        .as_object_mut()
        .expect("it is an object")
        .remove(name);
    claims
}

/// A token with these claims, by the shared secret.
pub(super) fn token_with(claims: &Value) -> String {
    let header = header("HS256", "any").to_string();
    token_of(header, claims.to_string(), Signer::Secret(SECRET))
}
