//! Why a server did not do what was asked for, in words that say how to go on.

use std::error::Error as _;
use std::fmt;
use std::io;

use http::StatusCode;
use serde::Deserialize;

use super::{TOTAL_TIMEOUT, url::ServerUrl};
use crate::cli::output::plain;

/// How the server names a caller whom it does not know.
const UNAUTHENTICATED: &str = "UNAUTHENTICATED";

/// Why there is no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody took the call.
    #[error("{server} cannot be reached ({cause}): {}", how_to_reach(server))]
    Unreachable {
        /// Who was called.
        server: ServerUrl,
        /// What the operating system says.
        cause: String,
    },
    /// Somebody took it, and cannot show that they are the server, or do not speak TLS.
    #[error(
        "no private connection to {server} can be made ({cause}): if its certificate is of an authority of your own, name the file with that authority's certificate in SSL_CERT_FILE; if it speaks no TLS, name it with http://"
    )]
    Tls {
        /// Who was called.
        server: ServerUrl,
        /// What is wrong with the certificate or the handshake.
        cause: String,
    },
    /// It took too long.
    #[error(
        "{server} has not answered within {} s: what was asked for may have been done all the same, so look before you ask again",
        TOTAL_TIMEOUT.as_secs()
    )]
    TimedOut {
        /// Who was called.
        server: ServerUrl,
    },
    /// The connection ended in the midst of it.
    #[error(
        "the connection to {server} broke ({cause}): what was asked for may have been done all the same, so look before you ask again"
    )]
    Broken {
        /// Who was called.
        server: ServerUrl,
        /// What happened.
        cause: String,
    },
    /// It sends elsewhere, where a key is not sent.
    #[error("{server} leads to {target}, where no key is sent: name that server with --server")]
    Redirected {
        /// Who was called.
        server: ServerUrl,
        /// Where it leads.
        target: String,
    },
    /// What answers is something else.
    #[error(
        "{server} answered {status}, and not as Toolroom does: {}",
        how_to_find(server)
    )]
    Foreign {
        /// Who was called.
        server: ServerUrl,
        /// What it answered.
        status: StatusCode,
    },
    /// It answered far more than it was asked for.
    #[error("the answer of {server} is larger than {limit} MiB")]
    TooLarge {
        /// Who was called.
        server: ServerUrl,
        /// How much is read.
        limit: usize,
    },
    /// It answered what this program does not understand.
    #[error("the answer of {server} cannot be read ({cause}): is the server of another version?")]
    Unreadable {
        /// Who was called.
        server: ServerUrl,
        /// What was expected.
        cause: String,
    },
    /// It refused.
    #[error("{0}")]
    Refused(Refused),
}

fn how_to_reach(server: &ServerUrl) -> &'static str {
    match server.is_loopback() {
        true => {
            "start a server with `toolroom serve`, or name another with --server or TOOLROOM_SERVER"
        }
        false => "is the address right, and does a server run there?",
    }
}

fn how_to_find(server: &ServerUrl) -> &'static str {
    match server.is_encrypted() {
        true => "is there a Toolroom server at this address?",
        false => {
            "is there a Toolroom server at this address, and if it speaks TLS, is it to be named with https://?"
        }
    }
}

impl Failure {
    /// What a call came to that had no answer.
    pub(super) fn of_call(server: &ServerUrl, error: &reqwest::Error) -> Self {
        let server = server.clone();
        let (cause, kind) = innermost(error);
        if error.is_connect() {
            // TLS tells its errors as data that cannot be understood.
            let tls = server.is_encrypted() && kind == Some(io::ErrorKind::InvalidData);
            return match tls {
                true => Self::Tls { server, cause },
                false => Self::Unreachable { server, cause },
            };
        }
        match error.is_timeout() {
            true => Self::TimedOut { server },
            false => Self::Broken { server, cause },
        }
    }
}

/// The words of the error at the bottom, and its kind if the system or TLS had it.
fn innermost(error: &reqwest::Error) -> (String, Option<io::ErrorKind>) {
    let mut words = None;
    let mut kind = None;
    let mut next = error.source();
    while let Some(error) = next {
        words = Some(error.to_string());
        let mut io = error.downcast_ref::<io::Error>();
        while let Some(found) = io {
            kind = Some(found.kind());
            // An error of this type leaves the one that it wraps out of its sources.
            io = found.get_ref().and_then(|inner| inner.downcast_ref());
        }
        next = error.source();
    }
    let words = words.unwrap_or_else(|| "no connection".to_owned());
    (plain(&words), kind)
}

/// What the server says of a refusal.
#[derive(Debug)]
pub struct Refused {
    pub(super) server: ServerUrl,
    pub(super) errors: Vec<Refusal>,
    /// Where the key came from that was shown.
    pub(super) shown: Option<&'static str>,
}

/// One error of a GraphQL answer.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    message: String,
    #[serde(default)]
    extensions: Extensions,
}

/// What Toolroom adds to an error. All of it may be absent: a proxy may have answered.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Extensions {
    code: Option<String>,
    details: Vec<Detail>,
    request_id: Option<String>,
    retry_after_ms: Option<u64>,
    candidates: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    path: String,
    message: String,
}

impl Refused {
    fn is_unauthenticated(&self) -> bool {
        let code = |refusal: &Refusal| refusal.extensions.code.as_deref() == Some(UNAUTHENTICATED);
        self.errors.iter().any(code)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused: ", self.server)?;
        for (index, refusal) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            refusal.fmt(f)?;
        }
        if self.is_unauthenticated() {
            let server = &self.server;
            match self.shown {
                None => write!(f, "\nlog in with `toolroom login --server {server}`")?,
                Some(from) => write!(
                    f,
                    "\nthe key was {from}; if it was revoked or has expired, log in with another: `toolroom login --server {server}`"
                )?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = &self.extensions;
        f.write_str(&plain(&self.message))?;
        if let Some(code) = &told.code {
            write!(f, " ({})", plain(code))?;
        }
        for Detail { path, message } in &told.details {
            write!(f, "\n  {}: {}", plain(path), plain(message))?;
        }
        if !told.candidates.is_empty() {
            let candidates: Vec<_> = told.candidates.iter().map(|name| plain(name)).collect();
            write!(f, "\n  like it are: {}", candidates.join(", "))?;
        }
        if let Some(after) = told.retry_after_ms {
            write!(f, "\n  try again in {} s", after.div_ceil(1_000))?;
        }
        if let Some(id) = &told.request_id {
            write!(f, "\n  the server's log has it as request {}", plain(id))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(shown: Option<&'static str>, errors: Value) -> String {
        let refused = Refused {
            server: "https://a.test".parse().unwrap(),
            errors: serde_json::from_value(errors).unwrap(),
            shown,
        };
        refused.to_string()
    }

    #[test]
    fn a_refusal_tells_all_that_the_server_said() {
        let errors = json!([{
            "message": "`name` must not be empty",
            "extensions": {
                "code": "VALIDATION_FAILED",
                "category": "VALIDATION",
                "details": [{"path": "name", "message": "must not be empty"}],
                "candidates": ["a", "b"],
                "retryAfterMs": 1_500,
                "requestId": "r1"
            }
        }]);
        assert_eq!(
            told(None, errors),
            "https://a.test refused: `name` must not be empty (VALIDATION_FAILED)\n  \
             name: must not be empty\n  like it are: a, b\n  try again in 2 s\n  \
             the server's log has it as request r1"
        );
    }

    #[test]
    fn who_is_not_known_is_told_how_to_log_in() {
        let errors = json!([{"message": "no", "extensions": {"code": "UNAUTHENTICATED"}}]);
        let login = "toolroom login --server https://a.test";
        assert!(told(None, errors.clone()).contains(login));
        let told = told(Some("from the variable TOOLROOM_API_KEY"), errors);
        assert!(
            told.contains("TOOLROOM_API_KEY") && told.contains(login),
            "{told}"
        );
    }

    #[test]
    fn a_server_cannot_write_on_the_terminal() {
        let told = told(None, json!([{"message": "\u{1b}[2Jgone\u{9b}1A"}]));
        assert!(!told.contains(['\u{1b}', '\u{9b}']), "{told:?}");
    }
}
