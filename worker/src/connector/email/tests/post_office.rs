//! A mail server that speaks the real protocol: it wants things in their order, secures its line,
//! asks for a password, takes the dots away that were stuffed, and keeps what it was given.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

pub(in crate::connector) const USERNAME: &str = "toolroom";
pub(in crate::connector) const PASSWORD: &str = "sesame/open+4711";

/// What is odd about a server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::connector) enum Manner {
    /// Nothing.
    #[default]
    Proper,
    /// Refuses with an answer at a place: the verb, or `greeting`, or `.` for the letter's end.
    Refuses(&'static str, &'static str),
    /// Hangs up when it hears the verb, or at the letter's end.
    HangsUpAt(&'static str),
    /// Hangs up when the letter begins.
    HangsUpWithin,
    /// Never answers the verb.
    Silent(&'static str),
    /// Says one line without end.
    Babbles,
    /// Speaks HTTP.
    Http,
    /// Somebody on the way adds a line to its answer to STARTTLS.
    Injected,
    /// Offers no STARTTLS.
    Plain,
    /// Is in the clear, and wants no password.
    Open,
    /// Knows ASCII alone.
    Ascii,
}

/// What a letter came with.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::connector) struct Received {
    pub(in crate::connector) secured: bool,
    pub(in crate::connector) login: Option<String>,
    pub(in crate::connector) from: String,
    pub(in crate::connector) to: Vec<String>,
    pub(in crate::connector) letter: String,
}

impl Received {
    /// A header's value, unfolded.
    pub(in crate::connector) fn header(&self, name: &str) -> Option<String> {
        let head = self.letter.split("\r\n\r\n").next()?.replace("\r\n ", " ");
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }
}

/// A server on loopback. Ends with the story.
pub(in crate::connector) struct PostOffice {
    pub(in crate::connector) address: SocketAddr,
    /// The certificate of whoever signed the server's.
    pub(in crate::connector) authority: String,
    received: Arc<Mutex<Vec<Received>>>,
    heard: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl PostOffice {
    /// By STARTTLS.
    pub(in crate::connector) async fn open(manner: Manner) -> Self {
        Self::start(manner, false).await
    }

    /// By TLS from the first byte.
    pub(in crate::connector) async fn wrapped(manner: Manner) -> Self {
        Self::start(manner, true).await
    }

    async fn start(manner: Manner, wrapped: bool) -> Self {
        let (acceptor, authority) = (TLS.acceptor.clone(), TLS.authority.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (received, heard) = (Arc::default(), Arc::default());
        let counter = Counter {
            manner,
            acceptor,
            received: Arc::clone(&received),
            heard: Arc::clone(&heard),
        };
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut conversations = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let counter = counter.clone();
                conversations.spawn(async move {
                    // Whoever hangs up in the middle of a story is part of it.
                    let _ = counter.serve(stream, wrapped).await;
                });
            }
        });
        Self {
            address,
            authority,
            received,
            heard,
            _serving: serving,
        }
    }

    /// All letters that were taken.
    pub(in crate::connector) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// All lines that were heard outside of letters.
    pub(in crate::connector) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// What a server on loopback secures its line with.
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    /// The certificate of whoever signed the server's, in PEM.
    pub(super) authority: String,
    /// The server's certificate and its key, in PEM.
    pub(super) identity: String,
}

pub(super) static TLS: LazyLock<Tls> = LazyLock::new(tls);

fn tls() -> Tls {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    Tls {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        authority: authority.pem(),
        identity: format!("{}{}", certificate.pem(), key.serialize_pem()),
    }
}

/// Where a conversation stands.
#[derive(Default)]
struct State {
    secured: bool,
    greeted: bool,
    login: Option<String>,
    from: Option<String>,
    to: Vec<String>,
}

/// How a conversation goes on.
enum Next {
    Say(String),
    Secure,
    Letter,
    Login,
    End(String),
    HangUp,
    Wait,
}

#[derive(Clone)]
struct Counter {
    manner: Manner,
    acceptor: TlsAcceptor,
    received: Arc<Mutex<Vec<Received>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Counter {
    async fn serve(&self, mut stream: TcpStream, wrapped: bool) -> std::io::Result<()> {
        match self.manner {
            Manner::Http => {
                return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
            Manner::Babbles => loop {
                stream.write_all(&[b'2'; 4096]).await?;
            },
            Manner::Silent("greeting") => return std::future::pending().await,
            _ => {}
        }
        let mut state = State::default();
        if wrapped {
            state.secured = true;
            let mut stream = BufReader::new(self.acceptor.accept(stream).await?);
            self.greet(&mut stream).await?;
            self.converse(&mut stream, &mut state).await?;
            return Ok(());
        }
        let mut stream = BufReader::new(stream);
        self.greet(&mut stream).await?;
        if self.converse(&mut stream, &mut state).await? {
            assert!(
                stream.buffer().is_empty(),
                "a client spoke before TLS began"
            );
            let mut stream = BufReader::new(self.acceptor.accept(stream.into_inner()).await?);
            // Nothing of what was said in the clear counts (RFC 3207, section 4.2).
            let mut state = State {
                secured: true,
                ..State::default()
            };
            self.converse(&mut stream, &mut state).await?;
        }
        Ok(())
    }

    async fn greet<S>(&self, stream: &mut BufReader<S>) -> std::io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let greeting = match self.manner {
            Manner::Refuses("greeting", answer) => answer,
            _ => "220 mail.example ESMTP",
        };
        stream
            .write_all(format!("{greeting}\r\n").as_bytes())
            .await?;
        stream.flush().await
    }

    /// Whether TLS is to begin.
    async fn converse<S>(
        &self,
        stream: &mut BufReader<S>,
        state: &mut State,
    ) -> std::io::Result<bool>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while let Some(line) = line(stream).await? {
            self.heard.lock().unwrap().push(line.clone());
            let said = match self.next(&line, state) {
                Next::Say(said) => said,
                Next::Secure => {
                    let injected = match self.manner {
                        Manner::Injected => "250 mail.example\r\n",
                        _ => "",
                    };
                    say(stream, &format!("220 go on\r\n{injected}")).await?;
                    return Ok(true);
                }
                Next::Login => self.login(stream, state).await?,
                Next::Letter => {
                    say(stream, "354 go on\r\n").await?;
                    if self.manner == Manner::HangsUpWithin {
                        return Ok(false);
                    }
                    match self.letter(stream, state).await? {
                        Some(said) => said,
                        None => return Ok(false),
                    }
                }
                Next::End(said) => {
                    say(stream, &format!("{said}\r\n")).await?;
                    return Ok(false);
                }
                Next::HangUp => return Ok(false),
                Next::Wait => return std::future::pending().await,
            };
            say(stream, &format!("{said}\r\n")).await?;
        }
        Ok(false)
    }

    fn next(&self, line: &str, state: &mut State) -> Next {
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        match self.manner {
            Manner::Refuses(at, answer) if at == verb => return Next::Say(answer.to_owned()),
            Manner::HangsUpAt(at) if at == verb => return Next::HangUp,
            Manner::Silent(at) if at == verb => return Next::Wait,
            _ => {}
        }
        let needs_login = self.manner != Manner::Open && state.login.is_none();
        let address = |line: &str| {
            let inner = line.split_once('<')?.1.split_once('>')?.0;
            Some(inner.to_owned())
        };
        let said = match verb {
            "EHLO" if line.len() > 5 => {
                state.greeted = true;
                return Next::Say(self.offers(state.secured));
            }
            "QUIT" => return Next::End("221 bye".to_owned()),
            _ if !state.greeted => "503 say EHLO first",
            "STARTTLS" if !state.secured => return Next::Secure,
            "AUTH" if !state.secured => "538 only over TLS",
            "AUTH" if state.login.is_some() => "503 once is enough",
            "AUTH" => match line.strip_prefix("AUTH PLAIN ") {
                Some(given) => answer_to(state, &plain(given)),
                None if line == "AUTH LOGIN" => return Next::Login,
                None => "504 unknown way",
            },
            "MAIL" if needs_login => "530 5.7.0 authentication required",
            "MAIL" => match address(line) {
                Some(from) => {
                    state.from = Some(from);
                    "250 ok"
                }
                None => "501 no address",
            },
            "RCPT" if state.from.is_none() => "503 from whom",
            "RCPT" => match address(line) {
                Some(to) if to.starts_with("nobody@") => "550 5.1.1 no such mailbox",
                Some(to) if to.starts_with("full@") => "452 4.2.2 mailbox full",
                Some(to) => {
                    state.to.push(to);
                    "250 ok"
                }
                None => "501 no address",
            },
            "DATA" if state.to.is_empty() => "503 to whom",
            "DATA" => return Next::Letter,
            _ => "500 unknown",
        };
        Next::Say(said.to_owned())
    }

    fn offers(&self, secured: bool) -> String {
        let mut offers = vec!["250-mail.example", "250-SIZE 20971520"];
        if self.manner != Manner::Ascii {
            offers.extend(["250-8BITMIME", "250-SMTPUTF8"]);
        }
        if secured {
            offers.push("250-AUTH PLAIN LOGIN");
        } else if !matches!(self.manner, Manner::Plain | Manner::Open) {
            offers.push("250-STARTTLS");
        }
        offers.push("250 ENHANCEDSTATUSCODES");
        offers.join("\r\n")
    }

    async fn login<S>(
        &self,
        stream: &mut BufReader<S>,
        state: &mut State,
    ) -> std::io::Result<String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut given = Vec::new();
        for prompt in ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"] {
            say(stream, &format!("334 {prompt}\r\n")).await?;
            let line = line(stream).await?.unwrap_or_default();
            given.push(String::from_utf8(BASE64.decode(line).unwrap()).unwrap());
        }
        Ok(answer_to(state, &Some((given[0].clone(), given[1].clone()))).to_owned())
    }

    /// What is said to a letter; nothing if the line breaks.
    async fn letter<S>(
        &self,
        stream: &mut BufReader<S>,
        state: &mut State,
    ) -> std::io::Result<Option<String>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut letter = String::new();
        loop {
            let Some(line) = line(stream).await? else {
                return Ok(None);
            };
            if line == "." {
                break;
            }
            letter.push_str(line.strip_prefix('.').unwrap_or(&line));
            letter.push_str("\r\n");
        }
        match self.manner {
            Manner::Refuses(".", answer) => return Ok(Some(answer.to_owned())),
            Manner::Silent(".") => return std::future::pending().await,
            _ => {}
        }
        self.received.lock().unwrap().push(Received {
            secured: state.secured,
            login: state.login.clone(),
            from: state.from.take().unwrap_or_default(),
            to: std::mem::take(&mut state.to),
            letter,
        });
        if self.manner == Manner::HangsUpAt(".") {
            return Ok(None);
        }
        Ok(Some("250 2.0.0 kept".to_owned()))
    }
}

fn plain(given: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(BASE64.decode(given).ok()?).ok()?;
    let mut parts = decoded.split('\0').skip(1);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

fn answer_to(state: &mut State, given: &Option<(String, String)>) -> &'static str {
    match given {
        Some((name, password)) if name == USERNAME && password == PASSWORD => {
            state.login = Some(name.clone());
            "235 2.7.0 welcome"
        }
        Some(_) => "535 5.7.8 authentication failed",
        None => "501 cannot decode",
    }
}

async fn line<S>(stream: &mut BufReader<S>) -> std::io::Result<Option<String>>
where
    S: AsyncRead + Unpin,
{
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    if !line.ends_with(b"\r\n") {
        return Ok(None);
    }
    line.truncate(line.len() - 2);
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

async fn say<S>(stream: &mut BufReader<S>, text: &str) -> std::io::Result<()>
where
    S: AsyncWrite + AsyncRead + Unpin,
{
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}
