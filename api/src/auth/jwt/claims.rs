//! What a token says of its holder, and for whom and until when it says so.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Number, Value};

use super::{
    Expected, Reason,
    json::{self, present},
};

/// How deep claims may nest: providers put objects of their own into them.
const DEPTH: usize = 16;

/// Characters of a subject, as OpenID Connect bounds it.
const SUBJECT_CHARS: usize = 255;

/// Bytes of an email address, as SMTP bounds it.
const EMAIL_BYTES: usize = 320;

/// Whom a token that counts speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who says so. The same subject of another issuer is another person.
    pub issuer: String,
    /// The person, or program, as the issuer knows it: 1 to 255 characters, none of them a control
    /// character.
    pub subject: String,
    /// Its email address, unless the issuer gives none or says that it is not verified.
    pub email: Option<String>,
    /// When the token ceases to count, leeway included: what was opened with it ends then.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Fields {
    iss: String,
    sub: String,
    aud: Audience,
    exp: Number,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Number>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<Number>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn holds_one_of(&self, audiences: &[String]) -> bool {
        match self {
            Self::One(one) => audiences.contains(one),
            Self::Several(several) => several.iter().any(|one| audiences.contains(one)),
        }
    }
}

impl Claims {
    /// Reads claims whose signature was right.
    pub(super) fn read(text: &[u8], expected: &Expected, now: Timestamp) -> Result<Self, Reason> {
        let fields: Fields = json::read(DEPTH, text).ok_or(Reason::ClaimsMalformed)?;
        if fields.iss != expected.issuer {
            return Err(Reason::Issuer);
        }
        if !fields.aud.holds_one_of(&expected.audiences) {
            return Err(Reason::Audience);
        }
        let later = |moment: Timestamp| moment.checked_add(expected.leeway);
        let expires_at = later(moment(&fields.exp)?).map_err(|_| Reason::ClaimsMalformed)?;
        if now >= expires_at {
            return Err(Reason::Expired);
        }
        let latest_start = later(now).map_err(|_| Reason::ClaimsMalformed)?;
        for start in [&fields.nbf, &fields.iat].into_iter().flatten() {
            if moment(start)? > latest_start {
                return Err(Reason::NotYetValid);
            }
        }
        let chars = fields.sub.chars().count();
        if !(1..=SUBJECT_CHARS).contains(&chars) || fields.sub.contains(char::is_control) {
            return Err(Reason::ClaimsMalformed);
        }
        Ok(Self {
            issuer: fields.iss,
            subject: fields.sub,
            email: fields
                .email
                .filter(|email| is_verified(&fields.email_verified) && is_address(email)),
            expires_at,
        })
    }
}

/// The moment of a claim, which may have a fraction: at its beginning second.
fn moment(number: &Number) -> Result<Timestamp, Reason> {
    let second = number
        .as_i64()
        .or_else(|| number.as_f64().map(|seconds| seconds.floor() as i64));
    second
        .and_then(|second| Timestamp::from_second(second).ok())
        .ok_or(Reason::ClaimsMalformed)
}

/// Some providers say so in words, some say nothing.
fn is_verified(claim: &Value) -> bool {
    match claim {
        Value::Null => true,
        Value::Bool(verified) => *verified,
        Value::String(word) => word == "true",
        _ => false,
    }
}

fn is_address(email: &str) -> bool {
    email.len() <= EMAIL_BYTES
        && !email.contains(|char: char| char.is_control() || char.is_whitespace())
        && email
            .rsplit_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
}
