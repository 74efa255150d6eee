//! What a browser holds of a session, and what is made of it.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use toolroom_domain::{Actor, SessionId};
use uuid::Uuid;

/// Random bytes of a cookie.
const SECRET_BYTES: usize = 32;

/// Bytes of a stored hash.
pub const HASH_BYTES: usize = 32;

/// Sets hashes of cookies and CSRF tokens apart, which are made with the same key.
const COOKIE_PURPOSE: &[u8] = b"toolroom session cookie v1\0";
const CSRF_PURPOSE: &[u8] = b"toolroom session csrf v1\0";
const SEAL_PURPOSE: &[u8] = b"toolroom session seal v1\0";

/// What a session's cookie holds: the session's id, which finds its row, and a secret.
#[derive(Clone)]
pub struct Token {
    id: SessionId,
    secret: [u8; SECRET_BYTES],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, …)", self.id)
    }
}

impl Token {
    /// A new token, of what `random` fills buffers with, which must be a cryptographic source.
    ///
    /// # Errors
    /// Those of `random`.
    pub fn issue<E>(
        id: SessionId,
        random: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = [0; SECRET_BYTES];
        random(&mut secret)?;
        Ok(Self { id, secret })
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        Some(Self {
            id: SessionId::from_uuid(Uuid::try_parse(id).ok()?),
            secret: secret.try_into().ok()?,
        })
    }

    /// The session's id. No secret.
    pub fn id(&self) -> SessionId {
        self.id
    }

    fn reveal(&self) -> String {
        let secret = URL_SAFE_NO_PAD.encode(self.secret);
        format!("{}.{secret}", self.id.uuid().simple())
    }
}

/// The server's key for sessions. Never printed.
pub struct SessionKey(hmac::Key);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

impl SessionKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The cookie's value, secret included. It is sealed, so that one that somebody invented is known
    /// without asking the database: nobody is kept from sending any number of them.
    pub fn cookie(&self, token: &Token) -> String {
        let seal = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &bytes(SEAL_PURPOSE, token)));
        format!("{}.{seal}", token.reveal())
    }

    /// Reads a cookie's value; none when it is none that we gave out.
    pub fn token(&self, cookie: &str) -> Option<Token> {
        let (token, seal) = cookie.rsplit_once('.')?;
        let token = Token::parse(token)?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        let sealed = bytes(SEAL_PURPOSE, &token);
        hmac::verify(&self.0, &sealed, &seal).ok().map(|()| token)
    }

    /// What is stored of a cookie. It covers whose it is, so that who can write the table cannot
    /// make somebody else's session of their own.
    pub fn hash(&self, token: &Token, whose: &Actor) -> [u8; HASH_BYTES] {
        let mut hash = [0; HASH_BYTES];
        let signed = hmac::sign(&self.0, &cookie_bytes(token, whose));
        hash.copy_from_slice(signed.as_ref());
        hash
    }

    /// Whether a cookie is the one of which this was stored, in a time that tells nothing.
    pub fn verify(&self, token: &Token, whose: &Actor, stored: &[u8]) -> bool {
        hmac::verify(&self.0, &cookie_bytes(token, whose), stored).is_ok()
    }

    /// What a page that may read our answers shows with each request that changes something.
    pub fn csrf(&self, token: &Token) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &bytes(CSRF_PURPOSE, token)))
    }

    /// Whether this is the session's CSRF token, in a time that tells nothing of it.
    pub fn verify_csrf(&self, token: &Token, shown: &str) -> bool {
        URL_SAFE_NO_PAD
            .decode(shown)
            .is_ok_and(|shown| hmac::verify(&self.0, &bytes(CSRF_PURPOSE, token), &shown).is_ok())
    }
}

fn cookie_bytes(token: &Token, whose: &Actor) -> Vec<u8> {
    let id = token.id.uuid();
    [
        COOKIE_PURPOSE,
        id.as_bytes(),
        &token.secret,
        whose.as_str().as_bytes(),
    ]
    .concat()
}

fn bytes(purpose: &[u8], token: &Token) -> Vec<u8> {
    let id = token.id.uuid();
    [purpose, id.as_bytes(), &token.secret].concat()
}

#[cfg(test)]
mod tests {
    use toolroom_domain::UserId;

    use super::*;

    fn token(id: u128, byte: u8) -> Token {
        let id = SessionId::from_uuid(Uuid::from_u128(id));
        Token::issue(id, |bytes| {
            bytes.fill(byte);
            Ok::<_, ()>(())
        })
        .unwrap()
    }

    fn user(name: &str) -> Actor {
        Actor::user(&UserId::try_new(name).unwrap())
    }

    #[test]
    fn a_cookie_is_read_as_it_was_written() {
        let (key, other) = (SessionKey::new(&[1; 32]), SessionKey::new(&[2; 32]));
        let written = key.cookie(&token(7, 9));
        let (shown, seal) = written.rsplit_once('.').unwrap();
        assert_eq!(
            shown,
            "00000000000000000000000000000007.CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk"
        );
        assert_eq!(key.cookie(&key.token(&written).unwrap()), written);
        for odd in [
            "",
            ".",
            "..",
            "7.CQkJ",
            shown,
            &format!("{}.{seal}", token(7, 8).reveal()),
            &format!("{}.{seal}", token(8, 9).reveal()),
            &other.cookie(&token(7, 9)),
            &written[1..],
            &written[..written.len() - 1],
            &format!("{written}="),
            &written.replace('.', ""),
            &"a.".repeat(100_000),
        ] {
            assert!(key.token(odd).is_none(), "{odd:.60}");
        }
    }

    #[test]
    fn only_the_same_cookie_of_the_same_holder_under_the_same_key_counts() {
        let (key, other) = (SessionKey::new(&[1; 32]), SessionKey::new(&[2; 32]));
        let stored = key.hash(&token(7, 9), &user("ann"));
        assert!(key.verify(&token(7, 9), &user("ann"), &stored));
        assert!(!key.verify(&token(7, 8), &user("ann"), &stored));
        assert!(!key.verify(&token(8, 9), &user("ann"), &stored));
        assert!(!key.verify(&token(7, 9), &user("eve"), &stored));
        assert!(!other.verify(&token(7, 9), &user("ann"), &stored));
        assert!(!key.verify(&token(7, 9), &user("ann"), &[]));
    }

    #[test]
    fn a_csrf_token_belongs_to_one_session() {
        let key = SessionKey::new(&[1; 32]);
        let shown = key.csrf(&token(7, 9));
        assert!(key.verify_csrf(&token(7, 9), &shown));
        assert!(!key.verify_csrf(&token(7, 8), &shown));
        assert!(!key.verify_csrf(&token(8, 9), &shown));
        for odd in [
            "",
            "a",
            &shown[1..],
            &format!("{shown}="),
            &token(7, 9).reveal(),
        ] {
            assert!(!key.verify_csrf(&token(7, 9), odd), "{odd}");
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        assert_eq!(
            format!("{:?} {:?}", token(7, 9), SessionKey::new(&[1; 32])),
            "Token(ses_00000000000000000000000000000007, …) SessionKey(…)"
        );
    }
}
