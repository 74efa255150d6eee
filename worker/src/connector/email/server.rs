//! Which mail server, and as whom it is spoken to.

use lettre::message::Mailbox;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use url::Host;
use zeroize::Zeroizing;

use crate::executor::CallError;

/// Characters of an address with its name.
pub(super) const ADDRESS_CHARS: usize = 500;

/// How the line is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS after the greeting (RFC 3207), required.
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all.
    None,
}

impl Security {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Starttls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// A mail server.
pub(super) struct Server {
    host: Host,
    port: u16,
    security: Security,
    login: Option<(String, Zeroizing<String>)>,
    from: Mailbox,
    authorities: Vec<CertificateDer<'static>>,
}

impl Server {
    /// The server of a tool's credentials.
    ///
    /// # Errors
    /// Which of them cannot be used; never their text.
    pub(super) fn try_new(credentials: &Value) -> Result<Self, CallError> {
        let text = |name: &str| credentials[name].as_str().filter(|text| !text.is_empty());
        let host = text("host").ok_or_else(|| wrong("host", "is missing"))?;
        let host = Host::parse(host.trim_end_matches('.'))
            .map_err(|_| wrong("host", "must be the name or address of a mail server"))?;
        let security = match text("security") {
            None | Some("starttls") => Security::Starttls,
            Some("tls") => Security::Tls,
            Some("none") => Security::None,
            Some(_) => return Err(wrong("security", "must be starttls, tls or none")),
        };
        let port = match &credentials["port"] {
            Value::Null => security.port(),
            // A reference to a secret gives a text.
            Value::String(text) => text.parse().unwrap_or(0),
            port => port
                .as_u64()
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(0),
        };
        if port == 0 {
            return Err(wrong("port", "must be a number from 1 to 65535"));
        }
        let login = match (text("username"), text("password")) {
            (None, None) => None,
            (Some(_), Some(_)) if security == Security::None => {
                let problem = "must be starttls or tls where there is a password: it would travel in the clear";
                return Err(wrong("security", problem));
            }
            (Some(name), Some(password)) => {
                Some((name.to_owned(), Zeroizing::new(password.to_owned())))
            }
            (Some(_), None) => return Err(wrong("password", "is missing beside `username`")),
            (None, Some(_)) => return Err(wrong("username", "is missing beside `password`")),
        };
        let from = text("from").ok_or_else(|| wrong("from", "is missing"))?;
        let from =
            mailbox(from).ok_or_else(|| wrong("from", "must be an address, or Name <address>"))?;
        Ok(Self {
            host,
            port,
            security,
            login,
            from,
            authorities: authorities(text("caCertificate"))?,
        })
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn security(&self) -> Security {
        self.security
    }

    pub(super) fn from(&self) -> &Mailbox {
        &self.from
    }

    pub(super) fn username(&self) -> Option<&str> {
        self.login.as_ref().map(|(name, _)| name.as_str())
    }

    pub(super) fn login(&self) -> Option<(&str, &str)> {
        let (name, password) = self.login.as_ref()?;
        Some((name, password))
    }

    pub(super) fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// Where it is, as receipts tell it.
    pub(super) fn url(&self) -> String {
        let scheme = match self.security {
            Security::Tls => "smtps",
            Security::Starttls | Security::None => "smtp",
        };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// The name that its certificate must bear.
    pub(super) fn name(&self) -> Result<ServerName<'static>, CallError> {
        match &self.host {
            Host::Ipv4(address) => Ok(ServerName::from(std::net::IpAddr::V4(*address))),
            Host::Ipv6(address) => Ok(ServerName::from(std::net::IpAddr::V6(*address))),
            Host::Domain(name) => ServerName::try_from(name.clone())
                .map_err(|_| wrong("host", "is not a name that a certificate can bear")),
        }
    }
}

fn authorities(pem: Option<&str>) -> Result<Vec<CertificateDer<'static>>, CallError> {
    let Some(pem) = pem else {
        return Ok(Vec::new());
    };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong("caCertificate", "must hold a certificate in PEM")),
    }
}

/// An address with or without a name; none where it is no address, or could break out of its line.
pub(super) fn mailbox(text: &str) -> Option<Mailbox> {
    if text.chars().count() > ADDRESS_CHARS || text.chars().any(char::is_control) {
        return None;
    }
    text.trim().parse().ok()
}

fn wrong(field: &str, problem: &str) -> CallError {
    CallError::invalid(format!("the credentials' `{field}` {problem}"))
}
