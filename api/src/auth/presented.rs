//! What a request shows of its sender.

use std::{fmt, net::IpAddr};

use aws_lc_rs::digest;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use toolroom_domain::WorkspaceId;

use super::{Reason, Unauthenticated};
use crate::http::Problem;

/// An API key in a header of its own.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The workspace that somebody with several means.
pub const WORKSPACE: HeaderName = HeaderName::from_static("x-workspace-id");

const BEARER: &str = "bearer";

/// What a request shows of its sender.
#[derive(Clone, Default)]
pub struct Presented {
    /// An API key or a token.
    pub credential: Option<String>,
    /// The cookie of a session, which counts where no credential is shown.
    pub cookie: Option<Cookie>,
    /// The workspace that is asked for, as it was written.
    pub workspace: Option<String>,
    /// From which address, if that is known.
    pub address: Option<IpAddr>,
}

/// The cookie of a session, as a page of ours sends it.
#[derive(Clone)]
pub struct Cookie {
    /// Its value.
    pub value: String,
    /// What came with it.
    pub csrf: Csrf,
}

/// What protects a cookie from being sent by a page that has no right to.
#[derive(Clone)]
pub enum Csrf {
    /// Nothing is needed: the request changes nothing, or its origin is proof enough.
    NotNeeded,
    /// The request changes something, and carried this.
    Needed(Option<String>),
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("credential", &self.credential.is_some())
            .field("cookie", &self.cookie.is_some())
            .field("workspace", &self.workspace)
            .finish()
    }
}

impl Presented {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// When there are two credentials, or one that is not of a scheme that we know.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let bearer = one(headers, &header::AUTHORIZATION)?
            .map(bearer)
            .transpose()
            .map_err(refused)?;
        let key = one(headers, &API_KEY)?
            .map(|key| key.to_str().map_err(|_| Reason::Scheme.into()))
            .transpose()
            .map_err(refused)?;
        let credential = match (bearer, key) {
            (Some(bearer), Some(key)) if bearer != key => {
                return Err(Problem::malformed(
                    "`Authorization` and `X-API-Key` hold different credentials; send one of them",
                ));
            }
            (bearer, key) => bearer.or(key),
        };
        // What cannot be read is no workspace of anybody's.
        let workspace = one(headers, &WORKSPACE)?.map(|id| id.to_str().unwrap_or_default());
        let workspace = workspace.map(str::to_owned);
        Ok(Self {
            credential: credential.map(str::to_owned),
            cookie: None,
            workspace,
            address: None,
        })
    }

    /// The workspace that is asked for: none if any will do, [`WorkspaceId::NONE`] if what was
    /// written is no workspace's id.
    pub(super) fn wanted(&self) -> Option<WorkspaceId> {
        let text = self.workspace.as_deref()?;
        Some(text.parse().unwrap_or(WorkspaceId::NONE))
    }
}

/// The SHA-256 of a credential, by which it is remembered without being kept.
pub(super) type Fingerprint = [u8; 32];

/// The fingerprint of a credential.
pub(super) fn fingerprint(credential: &str) -> Fingerprint {
    let mut fingerprint = [0; 32];
    let digest = digest::digest(&digest::SHA256, credential.as_bytes());
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}

fn refused(error: Unauthenticated) -> Problem {
    crate::error::ApiError::from(error).into()
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Problem::malformed(format!(
            "the header `{name}` must be sent once"
        ))),
    }
}

fn bearer(value: &HeaderValue) -> Result<&str, Unauthenticated> {
    let text = value.to_str().map_err(|_| Reason::Scheme)?;
    let (scheme, credential) = text.split_once(' ').ok_or(Reason::Scheme)?;
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return Err(Reason::Scheme.into());
    }
    Ok(credential.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Presented, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        Presented::of(&map)
    }

    fn credential(headers: &[(&str, &str)]) -> Option<String> {
        read(headers).unwrap().credential
    }

    #[test]
    fn a_credential_comes_in_either_header() {
        assert_eq!(credential(&[]), None);
        assert_eq!(
            credential(&[("authorization", "Bearer a")]).as_deref(),
            Some("a")
        );
        assert_eq!(
            credential(&[("authorization", "bEARER  a ")]).as_deref(),
            Some("a")
        );
        assert_eq!(credential(&[("x-api-key", "b")]).as_deref(), Some("b"));
        let both = [("authorization", "Bearer a"), ("x-api-key", "a")];
        assert_eq!(credential(&both).as_deref(), Some("a"));
    }

    #[test]
    fn two_credentials_are_refused() {
        for headers in [
            [("authorization", "Bearer a"), ("x-api-key", "b")],
            [("authorization", "Bearer a"), ("authorization", "Bearer a")],
            [("x-workspace-id", "a"), ("x-workspace-id", "b")],
        ] {
            assert_eq!(read(&headers).unwrap_err().status, 400, "{headers:?}");
        }
    }

    #[test]
    fn another_scheme_does_not_count() {
        for value in ["Basic dXNlcjpwYXNz", "a", "", "BearerX a"] {
            let problem = read(&[("authorization", value)]).unwrap_err();
            assert_eq!(problem.status, 401, "{value}");
        }
    }

    #[test]
    fn what_is_no_workspace_is_nobodys() {
        let wanted = |text| read(&[("x-workspace-id", text)]).unwrap().wanted();
        assert_eq!(wanted("x"), Some(WorkspaceId::NONE));
        assert_eq!(
            wanted(&WorkspaceId::DEFAULT.to_string()),
            Some(WorkspaceId::DEFAULT)
        );
        assert_eq!(Presented::default().wanted(), None);
    }

    #[test]
    fn nothing_prints_a_credential() {
        let presented = read(&[("x-api-key", "secret")]).unwrap();
        assert!(!format!("{presented:?}").contains("secret"));
    }
}
