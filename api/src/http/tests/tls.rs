//! TLS, with a certificate of the tests' own.

use std::{os::unix::fs::OpenOptionsExt as _, sync::Arc, time::Duration};

use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::server::{PATIENCE, Server, Socket};
use crate::http::{HttpOptions, Tls};

struct Authority {
    folder: tempfile::TempDir,
    roots: RootCertStore,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("certificate"), issued.cert.pem()).unwrap();
        let key = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.path().join("key"));
        let pem = issued.signing_key.serialize_pem();
        std::io::Write::write_all(&mut key.unwrap(), pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        Self { folder, roots }
    }

    async fn server(&self, options: HttpOptions) -> Server {
        let file = |name| self.folder.path().join(name);
        let tls = Tls::load(&file("certificate"), &file("key")).unwrap();
        Server::start(HttpOptions {
            tls: Some(tls),
            ..options
        })
        .await
    }

    async fn connect(&self, server: &Server, protocols: &[&str]) -> TlsStream<TcpStream> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }
}

fn get(target: &str) -> Request<Empty<bytes::Bytes>> {
    Request::get(target)
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn one_port_serves_both_versions_of_http_as_the_client_prefers() {
    let authority = Authority::new();
    let server = authority.server(HttpOptions::default()).await;

    let stream = authority.connect(&server, &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let first = tokio::spawn(connection);
    let answer = sender.send_request(get("/graphql?query=%7Bhello%7D")).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, Version::HTTP_11)
    );
    drop(sender);

    let stream = authority.connect(&server, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let second = tokio::spawn(connection);
    let answer = sender
        .send_request(get("https://localhost/graphql?query=%7Bhello%7D"))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, Version::HTTP_2)
    );
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.windows(11).any(|part| part == b"hello world"));
    drop(sender);

    server.stop().await;
    let _ = tokio::join!(first, second);
}

#[tokio::test]
async fn a_websocket_goes_over_tls() {
    let authority = Authority::new();
    let server = authority.server(HttpOptions::default()).await;
    let stream = authority.connect(&server, &["http/1.1"]).await;
    let url = format!("wss://localhost:{}/graphql", server.address.port());
    let mut socket = Socket::open(Box::new(stream), &url, "graphql-transport-ws").await;
    socket.initialise().await;
    socket.subscribe("a", "{ hello }").await;
    let answer = socket.receive().await;
    assert_eq!(answer["payload"], json!({"data": {"hello": "hello world"}}));
    drop(socket);
    server.stop().await;
}

#[tokio::test]
async fn plain_http_is_told_to_come_by_https() {
    let authority = Authority::new();
    let server = authority.server(HttpOptions::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https://"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn who_is_slow_to_shake_hands_keeps_nobody_out_and_is_given_up() {
    let authority = Authority::new();
    let server = authority
        .server(HttpOptions {
            handshake_timeout: Duration::from_millis(200),
            ..HttpOptions::default()
        })
        .await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut halting = TcpStream::connect(server.address).await.unwrap();
    halting.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let stream = authority.connect(&server, &["http/1.1"]).await;
    drop(stream);
    for slow in [&mut silent, &mut halting] {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "the server hung on");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_trusts_another_authority_is_not_served() {
    let authority = Authority::new();
    let server = authority.server(HttpOptions::default()).await;
    let other = Authority::new();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(other.roots.clone())
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let connected = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    assert!(connected.is_err());
    server.stop().await;
}
