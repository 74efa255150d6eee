//! A conversation with a mail server, up to the letter and after it.

use std::{
    future::Future,
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lettre::{
    address::Address,
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Quit, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
        response::Response,
    },
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    Surroundings,
    delivery::Delivery,
    error::{self, Phase},
    letter::Letter,
    server::{Security, Server},
    stream::{HEARD_BYTES, Line},
};
use crate::executor::CallError;

/// How long each address of the server may take to be connected to.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long each answer before the letter may take. RFC 5321 (section 4.5.3.2) would wait for
/// minutes; a job has other things to try, and nothing has been sent yet.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long the goodbye may take: nothing hangs on it.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);
/// Bytes of an answer to the few commands before TLS.
const REPLY_BYTES: u64 = 8 * 1024;
/// What lettre is told in the place of the greeting, which was heard before TLS began.
const GREETED: &[u8] = b"220 TLS\r\n";
/// Logins that send the password itself; the line is secured.
const MECHANISMS: &[Mechanism] = &[Mechanism::Plain, Mechanism::Login];

/// A conversation that has come as far as the letter.
pub(super) struct Session {
    line: AsyncSmtpConnection,
}

impl Session {
    /// Connects to the server, secures the line, and logs in.
    ///
    /// # Errors
    /// Where it got stuck; nothing has been sent.
    pub(super) async fn open(
        around: &Surroundings<'_>,
        server: &Server,
    ) -> Result<Self, CallError> {
        around.wire.next_request().await?;
        if server.login().is_some() {
            around.wire.tell(around.secrets);
            around.wire.journal().secrets_recorded().await?;
        }
        let stream = connect(around, server).await?;
        let hello = hello();
        let mut line = match server.security() {
            Security::None => greeted(around, stream, &hello).await?,
            Security::Tls => {
                let secured = secure(server, stream).await?;
                greeted(around, secured, &hello).await?
            }
            Security::Starttls => {
                let stream = within(Phase::Tls, starttls(stream, &hello)).await?;
                let stream = stream.map_err(|trouble| trouble.told(around))?;
                let secured = secure(server, stream).await?;
                let peer = secured.peer();
                greeted(around, Line::after(GREETED, secured, peer), &hello).await?
            }
        };
        if let Some((name, password)) = server.login() {
            let credentials = Credentials::new(name.to_owned(), password.to_owned());
            let login = within(Phase::Login, line.auth(MECHANISMS, &credentials)).await?;
            login.map_err(|e| error::of_smtp(around, Phase::Login, &e))?;
        }
        Ok(Self { line })
    }

    /// What the server calls itself.
    pub(super) fn server_name(&self) -> String {
        self.line.server_info().name().to_owned()
    }

    /// Tells sender and recipients. If one of them is refused, nothing is sent.
    ///
    /// # Errors
    /// Who was refused, and why.
    pub(super) async fn address(
        &mut self,
        around: &Surroundings<'_>,
        letter: &Letter,
    ) -> Result<(), CallError> {
        let parameters = self.parameters(letter)?;
        let from = Mail::new(Some(letter.sender().clone()), parameters);
        self.command(around, Phase::Sender, from).await?;
        for recipient in letter.recipients() {
            let phase = Phase::Recipient(recipient);
            self.command(around, phase, Rcpt::new(recipient.clone(), Vec::new()))
                .await?;
        }
        Ok(())
    }

    fn parameters(&self, letter: &Letter) -> Result<Vec<MailParameter>, CallError> {
        let info = self.line.server_info();
        let mut parameters = Vec::new();
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        if !(is_ascii(letter.sender()) && letter.recipients().iter().all(is_ascii)) {
            if !info.supports_feature(Extension::SmtpUtfEight) {
                return Err(CallError::invalid(
                    "the mail server takes only addresses in ASCII letters, and one of these has others",
                ));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !letter.bytes().is_ascii() {
            if !info.supports_feature(Extension::EightBitMime) {
                return Err(CallError::invalid(
                    "the mail server takes only letters in ASCII, which this one cannot be written in",
                ));
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        Ok(parameters)
    }

    /// Hands the letter over. How long the server may think about it is the tool's policy to say.
    ///
    /// # Errors
    /// Why it was refused; `OUTCOME_UNKNOWN` where the line broke after the letter's end.
    pub(super) async fn hand_over(
        &mut self,
        around: &Surroundings<'_>,
        letter: &Letter,
        mut delivery: Delivery<'_>,
    ) -> Result<(), CallError> {
        let ready = self.command(around, Phase::Content, Data).await;
        if let Err(error) = ready {
            delivery.not_sent();
            return Err(error);
        }
        let whole = delivery.watch(letter.bytes());
        match self.line.message_iter(whole).await {
            Ok(response) => {
                delivery.answered(u16::from(response.code()));
                Ok(())
            }
            Err(error) => Err(match error.status() {
                Some(code) => {
                    delivery.refused(u16::from(code));
                    error::of_smtp(around, Phase::Content, &error)
                }
                None if delivery.is_over() => {
                    delivery.unknown();
                    error::unknown(&error)
                }
                None => {
                    delivery.not_sent();
                    error::of_smtp(around, Phase::Content, &error)
                }
            }),
        }
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        // The letter is with the server, or will not be: how the line ends is nothing to anybody.
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.line.command(Quit)).await;
    }

    async fn command(
        &mut self,
        around: &Surroundings<'_>,
        phase: Phase<'_>,
        command: impl std::fmt::Display,
    ) -> Result<Response, CallError> {
        let answer = within(phase, self.line.command(command)).await?;
        answer.map_err(|e| error::of_smtp(around, phase, &e))
    }
}

/// How we introduce ourselves: by no name, since the machine's says nothing to others and much about
/// us. RFC 5321 (section 4.1.3) has addresses in brackets for those without a name.
fn hello() -> ClientId {
    ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST)
}

async fn within<T>(phase: Phase<'_>, answer: impl Future<Output = T>) -> Result<T, CallError> {
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
    answer.map_err(|_| error::silent(phase, ANSWER_WITHIN))
}

/// Connects to one of the addresses that the guard has let through.
async fn connect(around: &Surroundings<'_>, server: &Server) -> Result<Line<TcpStream>, CallError> {
    let found = around.egress.sockets(server.host(), server.port());
    let sockets = within(Phase::Greeting, found).await??;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for socket in sockets {
        match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(socket)).await {
            Ok(Ok(stream)) => return Ok(Line::bounded(stream, socket, HEARD_BYTES)),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(error::unreachable(&last))
}

async fn greeted<S>(
    around: &Surroundings<'_>,
    stream: Line<S>,
    hello: &ClientId,
) -> Result<AsyncSmtpConnection, CallError>
where
    Line<S>: lettre::transport::smtp::client::AsyncTokioStream + 'static,
{
    let opening = AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello);
    let opened = within(Phase::Greeting, opening).await?;
    opened.map_err(|e| error::of_smtp(around, Phase::Greeting, &e))
}

type Secured = Line<tokio_rustls::client::TlsStream<Line<TcpStream>>>;

async fn secure(server: &Server, stream: Line<TcpStream>) -> Result<Secured, CallError> {
    let name = server.name()?;
    let peer = stream.peer();
    let config = tls_config(server.authorities()).await?;
    let handshake = TlsConnector::from(config).connect(name, stream);
    let secured = within(Phase::Tls, handshake).await?;
    let secured = secured.map_err(|e| error::tls(&e))?;
    Ok(Line::after(b"", secured, peer))
}

/// What is trusted: the authorities of the credentials or, without any, the system's.
async fn tls_config(
    authorities: &[CertificateDer<'static>],
) -> Result<Arc<ClientConfig>, CallError> {
    static SYSTEMS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let untrusting = |error: rustls::Error| error::no_tls(&error.to_string());
    if !authorities.is_empty() {
        return trusting(authorities).map_err(untrusting);
    }
    if let Some(config) = SYSTEMS.get() {
        return Ok(Arc::clone(config));
    }
    // It reads the system's files.
    let built = tokio::task::spawn_blocking(trusting_the_system).await;
    let config = built.map_err(|_| error::no_tls("it broke off"))?;
    let config = config.map_err(untrusting)?;
    Ok(Arc::clone(SYSTEMS.get_or_init(|| config)))
}

fn trusting(authorities: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn trusting_the_system() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Why a line could not be secured.
enum Trouble {
    Refused(Phase<'static>, u16, String),
    NotOffered,
    Impatient,
    NoSmtp,
    Broken(io::Error),
}

impl Trouble {
    fn told(self, around: &Surroundings<'_>) -> CallError {
        match self {
            Self::Refused(phase, code, said) => error::of_code(around, phase, code, &said),
            Self::NotOffered => error::no_tls("the server does not offer STARTTLS"),
            Self::Impatient => error::no_tls("the server spoke on in the clear after STARTTLS"),
            Self::NoSmtp => error::no_smtp(),
            Self::Broken(error) => error::unreachable(&error),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// The conversation up to the handshake. It is held here and not by lettre, which would take what
/// somebody on the way adds to the server's last line in the clear for the first line under TLS.
async fn starttls(stream: Line<TcpStream>, hello: &ClientId) -> Result<Line<TcpStream>, Trouble> {
    let mut stream = BufReader::new(stream);
    expect(&mut stream, Phase::Greeting).await?;
    stream
        .write_all(format!("EHLO {hello}\r\n").as_bytes())
        .await?;
    let offers = expect(&mut stream, Phase::Greeting).await?;
    let offered = offers
        .lines()
        .skip(1)
        .any(|line| line.trim().eq_ignore_ascii_case("STARTTLS"));
    if !offered {
        return Err(Trouble::NotOffered);
    }
    stream.write_all(b"STARTTLS\r\n").await?;
    expect(&mut stream, Phase::Tls).await?;
    if !stream.buffer().is_empty() {
        return Err(Trouble::Impatient);
    }
    Ok(stream.into_inner())
}

/// An answer's lines without their codes, if it agrees.
async fn expect(
    stream: &mut BufReader<Line<TcpStream>>,
    phase: Phase<'static>,
) -> Result<String, Trouble> {
    let mut stream = stream.take(REPLY_BYTES);
    let (mut said, mut bytes) = (String::new(), Vec::new());
    loop {
        bytes.clear();
        stream.read_until(b'\n', &mut bytes).await?;
        let line = String::from_utf8_lossy(&bytes);
        let Some(line) = line.strip_suffix('\n') else {
            return Err(match bytes.is_empty() {
                true => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                false => Trouble::NoSmtp,
            });
        };
        let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
        let Some(code) = code.filter(|code| (200..600).contains(code)) else {
            return Err(Trouble::NoSmtp);
        };
        said.push_str(line.get(4..).unwrap_or_default().trim_end());
        said.push('\n');
        if line.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        return match code {
            200..300 => Ok(said),
            _ => Err(Trouble::Refused(phase, code, said)),
        };
    }
}
