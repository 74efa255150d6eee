//! Letters by SMTP.

use std::{
    error::Error as _,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use percent_encoding::percent_decode_str;
use toolroom_domain::{
    Clock,
    port::{Mail, MailError, Mailer},
};
use url::{Host, Url};

/// How long the mail server may take over one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long it may take over a whole letter: somebody waits for it.
const SENT_WITHIN: Duration = Duration::from_secs(10);

const SMTPS_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;

/// Tells programs that answer mail by themselves that nobody reads the answer (RFC 3834).
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");

/// Why letters cannot be sent with these settings: which one is wrong, and never its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// `smtp.url` is of another form.
    #[error(
        "`smtp.url`: expected smtps://user:password@host or smtp://user:password@host, a port after the host where it is not the usual one"
    )]
    Url,
    /// `smtp.url` asks for something that there is not.
    #[error(
        "`smtp.url`: expected `?tls=required`, `?tls=opportunistic`, `?tls=none` or no parameter; `smtps` needs none"
    )]
    Parameter,
    /// A password would travel in the clear.
    #[error(
        "`smtp.url`: names a password, which `tls` must protect: leave `tls` out or set it to `required`"
    )]
    BarePassword,
    /// `smtp.from` is no address.
    #[error("`smtp.from`: expected an address such as toolroom@example.com, or Name <address>")]
    From,
    /// The certificates of the system cannot be read.
    #[error("TLS to the mail server cannot be set up: {0}")]
    Tls(String),
}

/// A mail server, and as whom it is spoken to.
#[derive(Clone)]
pub struct SmtpServer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpServer(from {})", self.from)
    }
}

impl SmtpServer {
    /// The server that `url` names: by TLS from the first byte (`smtps`), or by
    /// STARTTLS, which is then required unless the server is on this very machine or `tls` says
    /// otherwise.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn try_new(url: &str, from: &str) -> Result<Self, SetupError> {
        let from = from.parse().map_err(|_| SetupError::From)?;
        let url = Url::parse(url).map_err(|_| SetupError::Url)?;
        let host = url.host().ok_or(SetupError::Url)?;
        // `Url` knows hosts of schemes that are not of the web as mere texts.
        let host = Host::parse(&host.to_string()).map_err(|_| SetupError::Url)?;
        let is_bare = matches!(url.path(), "" | "/") && url.fragment().is_none();
        let (tls, port) = match url.scheme() {
            "smtps" if url.query().is_none() => (wrapped(&host)?, SMTPS_PORT),
            "smtps" => return Err(SetupError::Parameter),
            "smtp" => (starttls(&url, &host)?, SUBMISSION_PORT),
            _ => return Err(SetupError::Url),
        };
        if !is_bare {
            return Err(SetupError::Url);
        }
        let is_protected = matches!(tls, Tls::Required(_) | Tls::Wrapper(_));
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(bare(&host))
            .port(url.port().unwrap_or(port))
            .tls(tls)
            .timeout(Some(ANSWER_WITHIN));
        if let Some(password) = url.password() {
            if !is_protected && !is_here(&host) {
                return Err(SetupError::BarePassword);
            }
            let credentials = Credentials::new(decoded(url.username())?, decoded(password)?);
            transport = transport.credentials(credentials);
        }
        Ok(Self {
            transport: transport.build(),
            from,
        })
    }
}

/// Hands letters to a mail server, each over a connection of its own.
pub struct SmtpMailer {
    server: SmtpServer,
    clock: Arc<dyn Clock>,
}

impl SmtpMailer {
    /// A mailer to this server, which dates letters by this clock.
    pub fn new(server: SmtpServer, clock: Arc<dyn Clock>) -> Self {
        Self { server, clock }
    }

    fn letter(&self, mail: Mail) -> Result<Message, MailError> {
        let of_address = |_| MailError("the address cannot be written to by SMTP".to_owned());
        let to: Mailbox = mail.to.parse().map_err(of_address)?;
        Message::builder()
            .from(self.server.from.clone())
            .to(to)
            .subject(mail.subject)
            .date(SystemTime::from(self.clock.now()))
            .message_id(None)
            .raw_header(HeaderValue::new(
                AUTO_SUBMITTED,
                "auto-generated".to_owned(),
            ))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text)
            .map_err(|error| MailError(format!("the letter cannot be written: {error}")))
    }
}

fn wrapped(host: &Host) -> Result<Tls, SetupError> {
    Ok(Tls::Wrapper(parameters(host)?))
}

fn parameters(host: &Host) -> Result<TlsParameters, SetupError> {
    TlsParameters::new_rustls(bare(host)).map_err(|error| SetupError::Tls(error.to_string()))
}

fn bare(host: &Host) -> String {
    match host {
        Host::Domain(name) => name.clone(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

fn starttls(url: &Url, host: &Host) -> Result<Tls, SetupError> {
    let mut wanted = None;
    for (name, value) in url.query_pairs() {
        if name != "tls" || wanted.is_some() {
            return Err(SetupError::Parameter);
        }
        wanted = Some(value.into_owned());
    }
    match wanted.as_deref() {
        // A server on this machine often has a certificate that nobody signed.
        None if is_here(host) => Ok(Tls::None),
        None | Some("required") => Ok(Tls::Required(parameters(host)?)),
        Some("opportunistic") => Ok(Tls::Opportunistic(parameters(host)?)),
        Some("none") => Ok(Tls::None),
        Some(_) => Err(SetupError::Parameter),
    }
}

/// Whether a host is this machine: nobody stands between.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn decoded(text: &str) -> Result<String, SetupError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| SetupError::Url)
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: Mail) -> Result<(), MailError> {
        let letter = self.letter(mail)?;
        match tokio::time::timeout(SENT_WITHIN, self.server.transport.send(letter)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(MailError(format!(
                "the mail server took longer than {} s",
                SENT_WITHIN.as_secs()
            ))),
        }
    }
}

/// What may be told of a failure. A server's own words may repeat the letter's, so of those only the
/// code is.
fn told(error: &smtp::Error) -> MailError {
    if let Some(code) = error.status() {
        return MailError(format!("the mail server refused with the code {code}"));
    }
    if error.is_response() {
        return MailError("the mail server's answer is not SMTP's".to_owned());
    }
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let kind = if error.is_tls() {
        "TLS to the mail server failed"
    } else {
        "the mail server cannot be spoken to"
    };
    MailError(format!("{kind}: {}", causes.join(": ")))
}

#[cfg(test)]
mod tests;
