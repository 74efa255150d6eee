//! Where a server is.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// Where `toolroom serve` listens unless told otherwise.
const LOCAL: &str = "http://127.0.0.1:8000/";

/// The address of a server, to whose path `graphql` is appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Url);

/// Why a text is no address of a server. The text is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoServerUrl {
    /// It is no URL, or of another kind.
    #[error(
        "expected the URL of a server, such as https://toolroom.example or http://127.0.0.1:8000"
    )]
    Malformed,
    /// It carries a user or a password.
    #[error("the URL of a server must not carry credentials: `toolroom login` keeps the key")]
    Credentials,
    /// It goes on where the path of `/graphql` would.
    #[error("the URL of a server must end with its path, without `?` and `#`")]
    Query,
}

impl FromStr for ServerUrl {
    type Err = NoServerUrl;

    fn from_str(text: &str) -> Result<Self, NoServerUrl> {
        let mut url = Url::parse(text).map_err(|_| NoServerUrl::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NoServerUrl::Malformed);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NoServerUrl::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(NoServerUrl::Query);
        }
        // Without the slash, joining would replace the last part of the path.
        let path = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl ServerUrl {
    /// The address where `toolroom serve` listens unless told otherwise.
    ///
    /// # Errors
    /// None: a test reads the constant.
    pub fn local() -> Result<Self, NoServerUrl> {
        LOCAL.parse()
    }

    /// Where GraphQL requests are posted.
    pub fn endpoint(&self) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}graphql", self.0.path()));
        url
    }

    /// Whether what is sent there does not leave this machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == LOCALHOST,
            None => false,
        }
    }

    /// Whether nobody on the way can read what is sent there.
    pub fn is_private(&self) -> bool {
        self.is_encrypted() || self.is_loopback()
    }

    /// Whether TLS is spoken there.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }
}

/// The name that is a loopback address, whatever a resolver says.
pub const LOCALHOST: &str = "localhost";

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ServerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn one_server_is_written_in_one_way() {
        for same in ["https://A.test", "https://a.test/", "https://a.test:443//"] {
            assert_eq!(url(same), url("https://a.test"), "{same}");
            assert_eq!(url(same).to_string(), "https://a.test");
        }
        assert_ne!(url("https://a.test"), url("http://a.test"));
        assert_eq!(ServerUrl::local().unwrap(), url("http://127.0.0.1:8000"));
    }

    #[test]
    fn a_path_is_kept() {
        let behind_proxy = url("https://a.test/toolroom");
        assert_eq!(
            behind_proxy.endpoint().as_str(),
            "https://a.test/toolroom/graphql"
        );
        assert_eq!(
            url("http://[::1]:8000").endpoint().as_str(),
            "http://[::1]:8000/graphql"
        );
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for text in ["", "a.test", "localhost:8000", "ftp://a.test", "https://"] {
            assert_eq!(
                text.parse::<ServerUrl>(),
                Err(NoServerUrl::Malformed),
                "{text}"
            );
        }
        let with_password = "https://u:hunter2@a.test".parse::<ServerUrl>();
        assert_eq!(with_password, Err(NoServerUrl::Credentials));
        for text in ["https://a.test/?a", "https://a.test/#a"] {
            assert_eq!(text.parse::<ServerUrl>(), Err(NoServerUrl::Query), "{text}");
        }
    }

    #[test]
    fn only_this_machine_and_tls_are_private() {
        for private in [
            "https://a.test",
            "http://127.0.0.1:8000",
            "http://127.9.9.9",
            "http://[::1]:1",
            "http://localhost:8000",
            "http://LOCALHOST",
        ] {
            assert!(url(private).is_private(), "{private}");
        }
        for open in [
            "http://a.test",
            "http://10.0.0.1",
            "http://localhost.a.test",
            "http://0.0.0.0",
            "http://127.0.0.1.a.test",
        ] {
            assert!(!url(open).is_private(), "{open}");
        }
    }
}
