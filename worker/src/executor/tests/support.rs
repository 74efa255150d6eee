//! A server that answers what a story wants, and an executor that may reach it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Clock, JobId, ToolId, WorkspaceId,
    job::{Progress, Receipt, ReceiptOutcome, SecretUse},
    tool::{Definition, ExternalConfig, NativeConfig, PolicyOverrides, ToolConfig},
};

use crate::connector::Connectors;
use crate::executor::{
    Call, CallError, EgressOptions, Executor, Journal, Level, NoSecrets, Options, Resolver,
    Unpaced, native::Registry,
};

pub(crate) struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-07-01T12:00:00Z".parse().unwrap()
    }
}

/// Knows the names of a story.
pub(crate) struct Names(pub(super) Mutex<Vec<Vec<IpAddr>>>);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        if answers.len() > 1 {
            return Ok(answers.remove(0));
        }
        answers
            .first()
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Names that resolve first to the first addresses, then to the next; the last stay.
pub(crate) fn names(answers: &[&[&str]]) -> Arc<Names> {
    let parsed = |list: &&[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
    Arc::new(Names(Mutex::new(answers.iter().map(parsed).collect())))
}

pub(crate) const API_KEY: &str = "sesame/open+4711";

pub(crate) fn options(allow: &[&str]) -> Options {
    Options {
        egress: EgressOptions {
            allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(),
            resolver: names(&[]),
        },
        env_secrets: vec!["API_KEY".to_owned(), "API_USER".to_owned()],
        env: Arc::new(|name| match name {
            "API_KEY" => Some(API_KEY.to_owned()),
            "API_USER" => Some("ali".to_owned()),
            "PATH" => Some("/never/told".to_owned()),
            _ => None,
        }),
        secrets: Arc::new(NoSecrets),
        connectors: Arc::new(Connectors::built_in().unwrap()),
        clock: Arc::new(Noon),
    }
}

/// A clock that a story sets.
pub(super) struct Hands(pub(super) Mutex<Timestamp>);

impl Hands {
    pub(super) fn at_noon() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Noon.now())))
    }

    pub(super) fn advance(&self, seconds: i64) {
        *self.0.lock().unwrap() += jiff::SignedDuration::from_secs(seconds);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// An executor that may reach the loopback address.
pub(crate) fn executor() -> Executor {
    Executor::try_new(options(&["127.0.0.0/8"])).unwrap()
}

pub(crate) fn with_natives(natives: Registry) -> Executor {
    Executor::with_natives(options(&[]), natives).unwrap()
}

pub(crate) fn definition(config: ToolConfig) -> Definition {
    Definition {
        config,
        input_schema: json!({"type": "object"}),
        output_schema: None,
        policy: PolicyOverrides::default(),
        requires_approval: false,
    }
}

pub(crate) fn native(path: &str) -> Definition {
    definition(ToolConfig::Native(NativeConfig {
        function_path: path.to_owned(),
    }))
}

pub(crate) fn external(url: &str) -> Definition {
    definition(ToolConfig::External(ExternalConfig {
        endpoint_url: url.to_owned(),
        idempotency_header: None,
    }))
}

/// A REST tool in the words of the definition format.
pub(crate) fn rest(api: Value, mapping: Value) -> Definition {
    let config = json!({"kind": "REST", "api": api, "mapping": mapping});
    definition(serde_json::from_value(config).unwrap())
}

/// Collects what a run tells.
#[derive(Default)]
pub(crate) struct Reports {
    pub(crate) progress: Mutex<Vec<Progress>>,
    pub(crate) lines: Mutex<Vec<(Level, String, String)>>,
    /// Receipts as the calls left.
    pub(crate) sent: Mutex<Vec<Receipt>>,
    /// Where they went.
    pub(crate) urls: Mutex<Vec<String>>,
    /// Receipts as the calls ended.
    pub(crate) receipts: Mutex<Vec<Receipt>>,
}

impl Reports {
    /// How each call ended, by key, the latest of a key.
    pub(crate) fn outcomes(&self) -> Vec<(String, ReceiptOutcome, Option<u16>)> {
        let told = self.receipts.lock().unwrap();
        told.iter()
            .map(|r| (r.idempotency_key.clone(), r.outcome, r.status))
            .collect()
    }

    /// The end of the only call.
    pub(crate) fn outcome(&self) -> ReceiptOutcome {
        let outcomes = self.outcomes();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes[0].1
    }
}

#[async_trait]
impl Journal for Reports {
    fn progress(&self, progress: Progress) {
        self.progress.lock().unwrap().push(progress);
    }

    fn line(&self, level: Level, source: &str, message: String) {
        let line = (level, source.to_owned(), message);
        self.lines.lock().unwrap().push(line);
    }

    fn secrets_used(&self, _: Vec<SecretUse>) {}

    async fn secrets_recorded(&self) -> Result<(), CallError> {
        Ok(())
    }

    async fn sending(&self, receipt: Receipt, sent_url: String) -> Result<(), CallError> {
        self.sent.lock().unwrap().push(receipt);
        self.urls.lock().unwrap().push(sent_url);
        Ok(())
    }

    fn received(&self, receipt: Receipt) {
        self.receipts.lock().unwrap().push(receipt);
    }

    fn exit_code(&self, _: i32) {}
}

pub(crate) fn job() -> JobId {
    JobId::from_uuid(uuid::Uuid::from_u128(7))
}

pub(crate) fn call<'a>(
    definition: &'a Definition,
    input: &'a Value,
    journal: &'a Reports,
) -> Call<'a> {
    Call {
        workspace: WorkspaceId::DEFAULT,
        job: job(),
        attempt: 1,
        tool: ToolId::from_uuid(uuid::Uuid::from_u128(1)),
        version: 1,
        definition,
        action: None,
        input,
        is_test: false,
        journal,
        pacing: &Unpaced,
        cancel: CancellationToken::new(),
    }
}

/// Runs one call to its end.
pub(crate) async fn run(
    executor: &Executor,
    definition: &Definition,
    input: Value,
) -> Result<Value, CallError> {
    let reports = Reports::default();
    executor.run(call(definition, &input, &reports)).await
}

/// A server on a loopback address. It ends with the story.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    _accepting: JoinSet<()>,
}

impl Server {
    /// Serves each connection's first request with `handler`, which writes whatever it wants.
    pub(crate) async fn start<H>(handler: H) -> Self
    where
        H: Fn(TcpStream) -> BoxFuture<'static, io::Result<()>> + Send + Sync + 'static,
    {
        Self::start_at("127.0.0.1:0", handler).await
    }

    pub(crate) async fn start_at<H>(address: &str, handler: H) -> Self
    where
        H: Fn(TcpStream) -> BoxFuture<'static, io::Result<()>> + Send + Sync + 'static,
    {
        Self::serve(address, move |_, stream| handler(stream)).await
    }

    /// Answers each request with what `reply` makes of it, head and body.
    pub(super) async fn replying<R>(reply: R) -> Self
    where
        R: Fn(&str) -> String + Send + Sync + 'static,
    {
        Self::serve("127.0.0.1:0", move |request, mut stream| {
            let answer = reply(&request);
            Box::pin(async move { stream.write_all(answer.as_bytes()).await })
        })
        .await
    }

    async fn serve<H>(address: &str, handler: H) -> Self
    where
        H: Fn(String, TcpStream) -> BoxFuture<'static, io::Result<()>> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        let noted = Arc::clone(&seen);
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Ok(request) = read_request(&mut stream).await {
                    noted.lock().unwrap().push(request.clone());
                    // The caller may hang up whenever it has enough.
                    serving.spawn(handler(request, stream));
                }
            }
        });
        Self {
            address,
            seen,
            _accepting: accepting,
        }
    }

    /// Answers every request with the same bytes.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            Box::pin(async move { stream.write_all(&answer).await })
        })
        .await
    }

    /// Answers every request with this JSON.
    pub(crate) async fn json(body: Value) -> Self {
        Self::answering(response("200 OK", "application/json", &body.to_string())).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far, head and body, as they came.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    pub(crate) fn request(&self) -> String {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }
}

pub(crate) fn response(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn redirect(status: &str, location: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}

async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return Ok(text);
            }
        }
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}
