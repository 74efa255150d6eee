//! What a mail server's refusals mean (RFC 5321, section 4.2; RFC 4954, section 6; RFC 3463).

use std::{io, time::Duration};

use lettre::{address::Address, transport::smtp};
use serde_json::{Value, json};
use toolroom_domain::ErrorCategory;

use super::Surroundings;
use crate::executor::{CallError, error::beginning};

/// Bytes of what a server said that are told.
const SAID_BYTES: usize = 1_000;

/// How far the conversation has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase<'a> {
    Greeting,
    Tls,
    Login,
    Sender,
    Recipient(&'a Address),
    Content,
}

impl Phase<'_> {
    fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Tls => "starttls",
            Self::Login => "login",
            Self::Sender => "sender",
            Self::Recipient(_) => "recipient",
            Self::Content => "content",
        }
    }
}

/// What lettre says of a command.
pub(super) fn of_smtp(
    around: &Surroundings<'_>,
    phase: Phase<'_>,
    error: &smtp::Error,
) -> CallError {
    let said = std::error::Error::source(error).map(ToString::to_string);
    if let Some(code) = error.status() {
        return of_code(around, phase, u16::from(code), &said.unwrap_or_default());
    }
    if error.is_client() {
        return match phase {
            Phase::Login => CallError::failed(
                ErrorCategory::Authentication,
                "the mail server offers no login by name and password (AUTH PLAIN or LOGIN)",
            ),
            _ => no_smtp(),
        };
    }
    if error.is_response() {
        return no_smtp();
    }
    unreachable(&io_error(error))
}

fn io_error(error: &smtp::Error) -> io::Error {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind().into();
        }
        next = error.source();
    }
    io::ErrorKind::Other.into()
}

/// A refusal by its code. What the server said goes into the details: it may repeat the letter's
/// words.
pub(super) fn of_code(
    around: &Surroundings<'_>,
    phase: Phase<'_>,
    code: u16,
    said: &str,
) -> CallError {
    let (category, message) = meaning(phase, code, said);
    let said = around.secrets.mask(said.trim());
    let mut details = json!({
        "code": code,
        "phase": phase.as_str(),
        "said": beginning(&said, SAID_BYTES),
    });
    if let Phase::Recipient(address) = phase {
        details["recipient"] = Value::from(address.to_string());
    }
    CallError::failed(category, format!("{message} ({code})")).with_details(details)
}

fn meaning(phase: Phase<'_>, code: u16, said: &str) -> (ErrorCategory, &'static str) {
    use ErrorCategory::{Authentication, Authorization, RateLimit, ServerError, Validation};
    // Enhanced codes 4.7.x: by a policy, which most often is one of too much at a time, or one that
    // wants a stranger to come again (greylisting).
    let by_policy = said.trim_start().starts_with("4.7.");
    match (phase, code) {
        (Phase::Login, 500..) | (_, 530 | 534 | 535 | 538) => (
            Authentication,
            "the mail server does not take the username and the password",
        ),
        (_, 400..500) if by_policy => (RateLimit, "the mail server wants it later"),
        (_, 400..500) => (ServerError, "the mail server could not do it now"),
        (Phase::Greeting, _) => (
            Authorization,
            "the mail server does not speak with this server",
        ),
        (Phase::Tls, _) => (ServerError, "the mail server refused STARTTLS"),
        (Phase::Sender, _) => (
            Authorization,
            "the mail server takes no mail from the address in `from`",
        ),
        (Phase::Recipient(_), _) => (
            Validation,
            "the mail server refused a recipient, so the letter went to none",
        ),
        (_, 552) => (Validation, "the letter is too large for the mail server"),
        _ => (Validation, "the mail server refused the letter"),
    }
}

/// The line broke after the letter's end.
pub(super) fn unknown(error: &smtp::Error) -> CallError {
    let how = if error.is_response() {
        "the mail server's answer to the letter is not SMTP's"
    } else {
        "the mail server broke the connection after the whole letter"
    };
    CallError::outcome_unknown(
        ErrorCategory::Network,
        format!(
            "{how}; whether it took it is not known, so it is not repeated: look for its Message-ID there"
        ),
    )
}

/// Nothing was heard.
pub(super) fn silent(phase: Phase<'_>, limit: Duration) -> CallError {
    let message = format!(
        "the mail server said nothing for {} s ({})",
        limit.as_secs(),
        phase.as_str()
    );
    CallError::failed(ErrorCategory::Timeout, message)
}

/// There is no connection, or no more.
pub(super) fn unreachable(error: &io::Error) -> CallError {
    let (category, message) = match error.kind() {
        io::ErrorKind::TimedOut => (
            ErrorCategory::Timeout,
            "the mail server could not be connected to in time",
        ),
        io::ErrorKind::ConnectionRefused => (
            ErrorCategory::Network,
            "the mail server refused the connection",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (ErrorCategory::Network, "there is no way to the mail server")
        }
        io::ErrorKind::FileTooLarge => (
            ErrorCategory::ServerError,
            "the mail server says more than a mail server does",
        ),
        _ => (
            ErrorCategory::Network,
            "the mail server broke the connection",
        ),
    };
    CallError::failed(category, message)
}

/// It speaks, but not SMTP.
pub(super) fn no_smtp() -> CallError {
    CallError {
        retryable: false,
        ..CallError::failed(
            ErrorCategory::ServerError,
            "what answers is no mail server; check `host`, `port` and `security`",
        )
    }
}

/// The line cannot be secured; a password or a letter does not go over it.
pub(super) fn no_tls(problem: &str) -> CallError {
    CallError {
        retryable: false,
        ..CallError::failed(
            ErrorCategory::Network,
            format!("the line to the mail server cannot be secured: {problem}"),
        )
    }
}

/// A handshake that failed: for good if the certificate is to blame.
pub(super) fn tls(error: &io::Error) -> CallError {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(problem)) => no_tls(&format!(
            "its certificate is not valid ({problem}); check `host`, or give the authority that signed it as `caCertificate`"
        )),
        Some(rustls::Error::InvalidMessage(_)) => {
            no_tls("it does not speak TLS here; check `port` and `security`")
        }
        Some(_) => no_tls("there is no version or cipher that both sides take"),
        None => unreachable(error),
    }
}
