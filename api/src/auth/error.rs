//! Why a credential does not count, and what is told of it to whom.

use toolroom_domain::ErrorCode;

use crate::error::ApiError;

/// A credential that does not count.
///
/// Its text is for the client and the same for every reason that lies with the credential: whoever
/// tries keys must not learn which part was right. [`Unauthenticated::reason`] is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the credential does not count here; send a valid API key or token as `Authorization: Bearer …`, or an API key as `X-API-Key`"
)]
pub struct Unauthenticated {
    reason: Reason,
}

impl Unauthenticated {
    /// What was wrong. For the log: no client may see it.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Reason> for Unauthenticated {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

impl From<Unauthenticated> for ApiError {
    fn from(error: Unauthenticated) -> Self {
        match error.reason {
            Reason::KeysUnavailable => {
                Self::not_yet("tokens cannot be checked at present; try again in a moment")
            }
            reason => {
                let mut told = Self::new(ErrorCode::Unauthenticated, error.to_string());
                told.refused_for = Some(reason);
                told
            }
        }
    }
}

/// What was wrong with a credential. None repeats anything of it: what is logged may be read by
/// more people than may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// Not of the form of an API key.
    #[error("an API key is `tr_`, a prefix, `_` and a secret; this is not of that form")]
    KeyMalformed,
    /// Of the form of an API key, but mistyped or cut.
    #[error("the API key's checksum is wrong: it was mistyped or cut")]
    KeyChecksum,
    /// Neither a bearer credential nor one of the headers that we know.
    #[error("the header `Authorization` has another scheme than `Bearer`, or is unreadable")]
    Scheme,
    /// Nobody has a key of this prefix.
    #[error("no API key of this prefix was issued")]
    KeyPrefix,
    /// It was revoked.
    #[error("the API key was revoked")]
    KeyRevoked,
    /// It expired.
    #[error("the API key has expired")]
    KeyExpired,
    /// What it opened is gone.
    #[error("the API key's workspace was deleted")]
    WorkspaceGone,
    /// A token, where none are configured.
    #[error("no issuer of tokens is configured here")]
    NoIssuer,
    /// The subject could pass for something that it is not.
    #[error("the token's `sub` cannot be a user's id here")]
    Subject,
    /// The prefix is known, the secret is not the one that belongs to it.
    #[error("the API key's secret is not the one that was issued with its prefix")]
    KeyMismatch,
    /// Longer than any token of a provider that we serve.
    #[error("the token is longer than {} bytes", super::jwt::TOKEN_BYTES)]
    TokenTooLong,
    /// Not three parts of base64url.
    #[error("the token is not three parts of unpadded base64url")]
    TokenMalformed,
    /// The header is no JSON object, repeats a field, or has one of the wrong type.
    #[error("the token's header is no JSON object with a text as `alg`, each field once")]
    HeaderMalformed,
    /// The header demands an extension; none is understood.
    #[error("the token's header has `crit`, and no extension is understood here")]
    CriticalExtension,
    /// Not a JWT for access, but some other signed object.
    #[error("the token's `typ` is neither `JWT` nor `at+jwt`")]
    TokenType,
    /// The algorithm is none that is served, or not the one that the key is for.
    #[error("the token's `alg` is not the algorithm of the key that it was to be checked with")]
    Algorithm,
    /// The header names no key.
    #[error("the token's header has no `kid` that could pick a key")]
    KeyIdMissing,
    /// The provider has no such key.
    #[error("the token's `kid` is none of the provider's keys")]
    KeyUnknown,
    /// No key could be fetched from the provider yet, or those fetched are too old.
    #[error("the provider's keys could not be fetched, or not for too long")]
    KeysUnavailable,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// The claims are no JSON object, repeat a field, lack one, or have one of the wrong type.
    #[error(
        "the token's claims are no JSON object with `iss`, `sub`, `aud` and `exp`, each field once and of its type"
    )]
    ClaimsMalformed,
    /// Issued by somebody else.
    #[error("the token's `iss` is not the issuer that is configured")]
    Issuer,
    /// Meant for somebody else.
    #[error("the token's `aud` holds none of the audiences that are configured")]
    Audience,
    /// No longer valid.
    #[error("the token has expired")]
    Expired,
    /// Not valid yet.
    #[error("the token's `nbf` or `iat` lies in the future")]
    NotYetValid,
}

impl Reason {
    /// Whether whoever shows such a credential may be guessing. What was issued once and does not
    /// count any more is shown by programs that were forgotten.
    pub(crate) fn may_be_a_guess(self) -> bool {
        !matches!(
            self,
            Self::KeyRevoked
                | Self::KeyExpired
                | Self::WorkspaceGone
                | Self::KeysUnavailable
                | Self::Expired
        )
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_client_is_told_the_same_whatever_was_wrong() {
        let told = |reason| ApiError::from(Unauthenticated::from(reason));
        let expected = told(Reason::KeyMismatch);
        assert_eq!(expected.status(), StatusCode::UNAUTHORIZED);
        for reason in [Reason::KeyChecksum, Reason::KeyUnknown, Reason::Expired] {
            assert_eq!(told(reason).to_string(), expected.to_string());
            assert_eq!(told(reason).code, expected.code);
        }
    }

    #[test]
    fn a_provider_that_is_away_is_no_fault_of_the_client() {
        let error = ApiError::from(Unauthenticated::from(Reason::KeysUnavailable));
        assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(error.retry_after_ms.is_some());
    }
}
