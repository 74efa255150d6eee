//! AES-256-GCM, and to what each ciphertext is bound.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand as secure_random,
};
use bytes::Bytes;
use toolroom_domain::WorkspaceId;
use zeroize::Zeroizing;

use super::Error;

/// What encryption adds to a value: nonce and tag, in bytes.
pub(crate) const OVERHEAD: usize = NONCE_LEN + 16;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;

pub(super) fn aead_key(bytes: &[u8]) -> Result<LessSafeKey, Error> {
    UnboundKey::new(&AES_256_GCM, bytes)
        .map(LessSafeKey::new)
        .map_err(|_| Error::Unopened)
}

pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    secure_random::fill(&mut bytes)
        .map_err(|_| Error::MasterKey("the system gives no random bytes".to_owned()))?;
    Ok(bytes)
}

/// Nonce, ciphertext, tag. Nonces are random: at 2^32 values under one key the chance of a
/// repetition is still below 2^-32.
pub(super) fn encrypt(key: &LessSafeKey, aad: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(OVERHEAD + plain.len());
    out.resize(NONCE_LEN, 0);
    out.extend_from_slice(plain);
    encrypt_in_place(key, aad, out)
}

/// As [`encrypt`], of what follows after room for the nonce: no second copy of the plain text is made
/// or left behind.
pub(super) fn encrypt_in_place(
    key: &LessSafeKey,
    aad: &str,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let nonce = random_bytes::<NONCE_LEN>()?;
    let (room, plain) = data
        .split_at_mut_checked(NONCE_LEN)
        .ok_or(Error::Unopened)?;
    room.copy_from_slice(&nonce);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad.as_bytes()),
            plain,
        )
        .map_err(|_| Error::Unopened)?;
    data.extend_from_slice(tag.as_ref());
    Ok(data)
}

/// As [`decrypt`], within the memory of what is given. For what is large and is handed on: it is not
/// erased when it is dropped.
pub(super) fn decrypt_in_place(
    key: &LessSafeKey,
    aad: &str,
    mut sealed: Vec<u8>,
) -> Result<Bytes, Error> {
    let (nonce, data) = sealed
        .split_at_mut_checked(NONCE_LEN)
        .ok_or(Error::Unopened)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Unopened)?;
    let length = key
        .open_in_place(nonce, Aad::from(aad.as_bytes()), data)
        .map_err(|_| Error::Unopened)?
        .len();
    Ok(Bytes::from(sealed).slice(NONCE_LEN..NONCE_LEN + length))
}

/// The plain text, erased from memory when it is dropped.
pub(super) fn decrypt(
    key: &LessSafeKey,
    aad: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (nonce, data) = sealed.split_at_checked(NONCE_LEN).ok_or(Error::Unopened)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Unopened)?;
    let mut data = Zeroizing::new(data.to_vec());
    let length = key
        .open_in_place(nonce, Aad::from(aad.as_bytes()), &mut data)
        .map_err(|_| Error::Unopened)?
        .len();
    data.truncate(length);
    Ok(data)
}

/// Of a value in the log: its workspace and its place.
pub(super) fn value_aad(workspace: WorkspaceId, context: &str) -> String {
    format!("{workspace}/{context}")
}

/// Of a wrapped key that stands by itself: whose it is and what for.
pub(super) fn key_aad(owner: &str, kind: &str) -> String {
    format!("{owner}/{kind}")
}

/// Of a row with a value, and of the key within it. The name comes last, since it alone may hold
/// anything: no two rows are bound to the same text.
pub(super) fn row_aad(owner: &str, kind: &str, version: u32, name: &str) -> String {
    format!("{owner}/{kind}/{version}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_opens_only_in_its_place() {
        let key = aead_key(&[7; KEY_BYTES]).unwrap();
        let sealed = encrypt(&key, "ws/job/input", b"secret").unwrap();
        assert_eq!(
            decrypt(&key, "ws/job/input", &sealed).unwrap().as_slice(),
            b"secret"
        );
        assert!(decrypt(&key, "ws/other/input", &sealed).is_err());
        let other = aead_key(&[8; KEY_BYTES]).unwrap();
        assert!(decrypt(&other, "ws/job/input", &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(decrypt(&key, "ws/job/input", &sealed[..cut]).is_err());
        }
    }

    #[test]
    fn rows_of_another_name_or_version_are_bound_to_something_else() {
        let texts = [
            row_aad("ws", "secret", 1, "A"),
            row_aad("ws", "secret", 2, "A"),
            row_aad("ws", "secret", 1, "2/A"),
            row_aad("ws", "credentials", 1, "A"),
            key_aad("ws", "secret"),
        ];
        for (i, text) in texts.iter().enumerate() {
            assert!(!texts[i + 1..].contains(text), "{text}");
        }
    }
}
