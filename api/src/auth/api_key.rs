//! API keys: `tr_<prefix>_<secret>`.
//!
//! The prefix finds the key's row and may be shown; the secret is shown once. Its last six
//! characters are a checksum over all before them: a typing error costs no look-up, and a secret
//! scanner can tell a key from what merely looks like one. Of the secret only a keyed hash is kept.

use std::{fmt, str};

use aws_lc_rs::hmac;
use toolroom_domain::api_key::is_prefix;

use super::{Reason, Unauthenticated};

/// How each key begins.
const MARK: &str = "tr_";

/// Characters of a prefix: 62 bits, so that prefixes drawn at random do not collide.
const PREFIX_CHARS: usize = 12;

/// Random characters of a secret: 43 out of 62 are 256 bits.
const RANDOM_CHARS: usize = 43;

/// Characters of the checksum: six out of 62 hold any CRC-32.
const CHECKSUM_CHARS: usize = 6;

/// Characters of a whole key, all of them ASCII.
pub const KEY_CHARS: usize = MARK.len() + PREFIX_CHARS + 1 + RANDOM_CHARS + CHECKSUM_CHARS;

/// Bytes of a stored hash.
pub const HASH_BYTES: usize = 32;

/// What prefixes are made of, as [`is_prefix`] demands.
const PREFIX_ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// What secrets and checksums are made of.
const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Sets the hashes of API keys apart from whatever else is made with the same server key.
const PURPOSE: &[u8] = b"toolroom api key v1\0";

/// An API key as its holder has it.
#[derive(Clone)]
pub struct ApiKey {
    text: String,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({MARK}{}_…)", self.prefix())
    }
}

impl ApiKey {
    /// Makes a new key of what `random` fills buffers with, which must be a cryptographic source.
    ///
    /// # Errors
    /// Those of `random`.
    pub fn issue<E>(mut random: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut text = String::with_capacity(KEY_CHARS);
        text.push_str(MARK);
        push_random(&mut text, PREFIX_ALPHABET, PREFIX_CHARS, &mut random)?;
        text.push('_');
        push_random(&mut text, ALPHABET, RANDOM_CHARS, &mut random)?;
        let checksum = checksum(&text);
        text.extend(checksum.map(char::from));
        Ok(Self { text })
    }

    /// Reads a key that somebody sent.
    ///
    /// # Errors
    /// When it has not the form of a key, or its checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, Unauthenticated> {
        let well_formed = text.len() == KEY_CHARS
            && text
                .strip_prefix(MARK)
                .and_then(|rest| rest.split_once('_'))
                .is_some_and(|(prefix, secret)| {
                    prefix.len() == PREFIX_CHARS
                        && is_prefix(prefix)
                        && secret.bytes().all(|byte| byte.is_ascii_alphanumeric())
                });
        if !well_formed {
            return Err(Reason::KeyMalformed.into());
        }
        let (body, sum) = text.split_at(KEY_CHARS - CHECKSUM_CHARS);
        if checksum(body) != *sum.as_bytes() {
            return Err(Reason::KeyChecksum.into());
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// Whether a credential means to be an API key: what begins otherwise may be a token.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// What finds the key's row. No secret.
    pub fn prefix(&self) -> &str {
        &self.text[MARK.len()..MARK.len() + PREFIX_CHARS]
    }

    /// The whole key, secret included, to be shown to its holder once.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

fn push_random<E>(
    text: &mut String,
    alphabet: &[u8],
    chars: usize,
    random: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let end = text.len() + chars;
    let mut bytes = [0; RANDOM_CHARS];
    // No alphabet divides 256: of the bytes past its last multiple some characters would come more
    // often, so those are drawn again.
    let fair = 256 - 256 % alphabet.len();
    while text.len() < end {
        random(&mut bytes)?;
        let drawn = bytes.iter().map(|byte| usize::from(*byte));
        let wanted = end - text.len();
        let digits = drawn.filter(|byte| *byte < fair).take(wanted);
        text.extend(digits.map(|byte| char::from(alphabet[byte % alphabet.len()])));
    }
    Ok(())
}

fn checksum(body: &str) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [0; CHECKSUM_CHARS];
    for place in digits.iter_mut().rev() {
        *place = ALPHABET[rest as usize % ALPHABET.len()];
        rest /= ALPHABET.len() as u32;
    }
    digits
}

/// The server's key for the hashes of API keys. Never printed.
#[derive(Clone)]
pub struct HashKey(hmac::Key);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

impl HashKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// What is stored of an API key. It covers the prefix too, so that a hash put beside another
    /// prefix opens nothing.
    pub fn hash(&self, key: &ApiKey) -> [u8; HASH_BYTES] {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(hmac::sign(&self.0, &hashed(key)).as_ref());
        hash
    }

    /// Compares a key with what was stored under its prefix, in a time that tells nothing of either.
    ///
    /// # Errors
    /// When it is another key.
    pub fn verify(&self, key: &ApiKey, stored: &[u8]) -> Result<(), Unauthenticated> {
        hmac::verify(&self.0, &hashed(key), stored).map_err(|_| Reason::KeyMismatch.into())
    }
}

fn hashed(key: &ApiKey) -> Vec<u8> {
    [PURPOSE, key.text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn issued() -> ApiKey {
        ApiKey::issue(aws_lc_rs::rand::fill).expect("the system has randomness")
    }

    /// A key made of the same byte throughout.
    fn made_of(byte: u8) -> ApiKey {
        ApiKey::issue(|bytes| {
            bytes.fill(byte);
            Ok::<_, ()>(())
        })
        .expect("it is filled")
    }

    fn refusal(text: &str) -> Reason {
        ApiKey::parse(text)
            .expect_err("it must be refused")
            .reason()
    }

    #[test]
    fn a_key_has_a_form_that_scanners_can_be_told() {
        let key = made_of(10);
        assert_eq!(
            key.reveal(),
            "tr_aaaaaaaaaaaa_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA3LmOIq"
        );
        assert_eq!(key.reveal().len(), KEY_CHARS);
        assert_eq!(key.prefix(), "aaaaaaaaaaaa");
    }

    #[test]
    fn what_is_issued_can_be_read_and_differs_each_time() {
        let keys: HashSet<_> = (0..200).map(|_| issued().reveal().to_owned()).collect();
        assert_eq!(keys.len(), 200);
        for text in &keys {
            let key = ApiKey::parse(text).expect("it was issued");
            assert_eq!(key.reveal(), text);
            assert!(ApiKey::is_meant(text));
        }
    }

    #[test]
    fn bytes_that_would_favour_some_characters_are_drawn_again() {
        let mut draws = 0;
        let key = ApiKey::issue(|bytes| {
            // the last of either alphabet's fair bytes is below 255; 71 is the prefix's z
            bytes.fill(if draws % 2 == 0 { 255 } else { 71 });
            draws += 1;
            Ok::<_, ()>(())
        });
        assert_eq!(key.expect("it is filled").prefix(), "zzzzzzzzzzzz");
        assert_eq!(draws, 4, "each part was drawn twice");
    }

    #[test]
    fn failing_randomness_issues_nothing() {
        assert_eq!(ApiKey::issue(|_| Err("empty")).err(), Some("empty"));
    }

    #[test]
    fn what_has_not_the_form_is_refused() {
        let key = issued();
        let good = key.reveal();
        for text in [
            "",
            "tr_",
            "tr__",
            &good[..KEY_CHARS - 1],
            &format!("{good}0"),
            &format!(" {}", &good[1..]),
            &format!("TR_{}", &good[3..]),
            &good.replacen(key.prefix(), "UPPERCASE012", 1),
            &good.replacen('_', "-", 2),
            &format!("{}é", &good[..KEY_CHARS - 2]),
            &format!("{}\0", &good[..KEY_CHARS - 1]),
            &"tr_".repeat(1_000_000),
        ] {
            assert_eq!(refusal(text), Reason::KeyMalformed, "{text:.80}");
        }
    }

    #[test]
    fn neighbours_exchanged_are_found_by_the_checksum() {
        let good = issued().reveal().to_owned();
        for at in MARK.len() + PREFIX_CHARS + 1..KEY_CHARS - 1 {
            let mut bytes = good.clone().into_bytes();
            bytes.swap(at, at + 1);
            let text = String::from_utf8(bytes).expect("it is ASCII");
            if text != good {
                assert_eq!(refusal(&text), Reason::KeyChecksum, "{at}");
            }
        }
    }

    #[test]
    fn only_the_same_key_under_the_same_server_key_matches() {
        let (server, other) = (HashKey::new(&[1; 32]), HashKey::new(&[2; 32]));
        let key = issued();
        let stored = server.hash(&key);
        assert_eq!(server.verify(&key, &stored), Ok(()));

        let mismatch = Err(Reason::KeyMismatch.into());
        assert_eq!(server.verify(&issued(), &stored), mismatch);
        assert_eq!(other.verify(&key, &stored), mismatch);
        assert_eq!(server.verify(&key, &stored[..31]), mismatch);
        assert_eq!(server.verify(&key, &[]), mismatch);
    }

    #[test]
    fn nothing_prints_a_secret() {
        let key = issued();
        assert_eq!(format!("{key:?}"), format!("ApiKey(tr_{}_…)", key.prefix()));
        assert_eq!(format!("{:?}", HashKey::new(&[7; 32])), "HashKey(…)");
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_found(at in 0..KEY_CHARS, byte in 0..128_u8) {
            let good = made_of(33);
            let mut bytes = good.reveal().as_bytes().to_vec();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let text = String::from_utf8(bytes).expect("it is ASCII");
            prop_assert!(ApiKey::parse(&text).is_err());
        }

        #[test]
        fn no_text_breaks_the_parser(text in "(tr_)?\\PC{0,80}") {
            prop_assert!(ApiKey::parse(&text).is_err());
        }
    }
}
