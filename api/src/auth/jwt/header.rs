//! The protected header of a token: which key it claims to be signed with.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Algorithm, Reason,
    json::{self, present},
};

/// How deep a header's brackets may nest. Ours is flat; an embedded key, which is ignored, has a
/// list or two.
const DEPTH: usize = 4;

/// Bytes of a key's id: thumbprints and UUIDs have some 40.
pub(super) const KID_BYTES: usize = 256;

/// What of a header is of use here.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

#[derive(Deserialize)]
struct Fields {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
}

impl Header {
    pub(super) fn read(text: &[u8]) -> Result<Self, Reason> {
        let fields: Fields = json::read(DEPTH, text).ok_or(Reason::HeaderMalformed)?;
        if fields.crit.is_some() {
            return Err(Reason::CriticalExtension);
        }
        if !fields.typ.as_deref().is_none_or(is_access_token) {
            return Err(Reason::TokenType);
        }
        if fields.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES) {
            return Err(Reason::KeyUnknown);
        }
        Ok(Self {
            algorithm: Algorithm::named(&fields.alg).ok_or(Reason::Algorithm)?,
            kid: fields.kid,
        })
    }
}

/// Whether a `typ` is one of those of tokens that let somebody in: providers sign other things with
/// the same key, such as logout notices.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(
        typ.strip_prefix("application/").unwrap_or(&typ),
        "jwt" | "at+jwt"
    )
}
