//! Connections that stay: WebSockets, event streams, and how a server leaves them.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    server::{PATIENCE, Server},
    support::tight,
};
use crate::http::HttpOptions;

#[tokio::test]
async fn a_subscription_tells_its_events_and_ends() {
    let server = Server::start(HttpOptions::default()).await;
    let mut socket = server.acknowledged().await;
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.receive().await, json!({"type": "pong"}));
    socket
        .subscribe("a", "subscription { ticks { position } }")
        .await;
    for position in ["1", "2", "3"] {
        let payload = json!({"data": {"ticks": {"position": position}}});
        assert_eq!(
            socket.receive().await,
            json!({"type": "next", "id": "a", "payload": payload})
        );
    }
    assert_eq!(
        socket.receive().await,
        json!({"type": "complete", "id": "a"})
    );
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_closed_with_its_code() {
    let server = Server::start(tight()).await;
    let mut silent = server.socket("graphql-transport-ws").await;
    assert_eq!(silent.closed_with().await, 4408);
    let mut hasty = server.socket("graphql-transport-ws").await;
    hasty.subscribe("a", "{ hello }").await;
    assert_eq!(hasty.closed_with().await, 4401);
    let mut twice = server.acknowledged().await;
    twice.send(json!({"type": "connection_init"})).await;
    assert_eq!(twice.closed_with().await, 4429);
    let mut doubled = server.acknowledged().await;
    doubled.subscribe("a", "subscription { never }").await;
    doubled.subscribe("a", "subscription { never }").await;
    assert_eq!(doubled.closed_with().await, 4409);
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_told_so_while_it_is_still_sent() {
    let options = HttpOptions {
        max_body_bytes: 10_000,
        ..HttpOptions::default()
    };
    let server = Server::start(options).await;
    for bytes in [10_001, 20_000_000] {
        let (mut sending, mut reading) = server.acknowledged().await.0.split();
        let text = Message::text("x".repeat(bytes));
        let sent = tokio::spawn(async move { sending.send(text).await });
        let closed = tokio::time::timeout(PATIENCE, reading.next())
            .await
            .unwrap();
        let Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) = closed else {
            panic!("not closed: {closed:?}");
        };
        assert_eq!(code, CloseCode::Size);
        assert_eq!(reason.as_str(), "A message must have at most 10000 bytes");
        sent.abort();
    }
    let mut socket = server.acknowledged().await;
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(
        socket.receive().await,
        json!({"type": "pong"}),
        "others go on"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_client_of_another_protocol_is_told_so() {
    let server = Server::start(tight()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /graphql HTTP/1.1\r\nHost: {}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: graphql-ws\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    read.await.unwrap().unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let frame = &answer[end.unwrap() + 4..];
    assert_eq!(frame[0], 0x88, "a close frame");
    assert_eq!(u16::from_be_bytes([frame[2], frame[3]]), 4406);
    server.stop().await;
}

#[tokio::test]
async fn a_socket_has_a_bounded_number_of_subscriptions() {
    let server = Server::start(tight()).await;
    let mut socket = server.acknowledged().await;
    socket.subscribe("a", "subscription { never }").await;
    socket.subscribe("b", "subscription { never }").await;
    socket.subscribe("c", "subscription { never }").await;
    let refused = socket.receive().await;
    assert_eq!(
        (&refused["type"], &refused["id"]),
        (&json!("error"), &json!("c"))
    );
    let code = &refused["payload"][0]["extensions"]["code"];
    assert_eq!(code, "RATE_LIMIT_EXCEEDED");
    socket.subscribe("c", "subscription { nothing }").await;
    let unknown = socket.receive().await;
    assert_eq!(
        (&unknown["type"], &unknown["id"]),
        (&json!("error"), &json!("c"))
    );
    socket.send(json!({"type": "complete", "id": "a"})).await;
    socket.subscribe("d", "{ hello }").await;
    let answer = socket.receive().await;
    assert_eq!(
        answer["payload"]["data"]["hello"], "hello world",
        "{answer}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_is_answered() {
    let server = Server::start(HttpOptions::default()).await;
    let mut socket = server.acknowledged().await;
    let normal = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    socket.0.close(Some(normal)).await.unwrap();
    assert_eq!(socket.closed_with().await, 1000);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_ends_says_so_to_its_sockets() {
    let server = Server::start(HttpOptions::default()).await;
    let mut socket = server.acknowledged().await;
    socket.subscribe("a", "subscription { never }").await;
    let shell = server.shell.clone();
    shell.shutdown.cancel();
    assert_eq!(socket.closed_with().await, 1001);
    drop(socket);
    server.stop().await;
}

#[tokio::test]
async fn an_event_stream_ends_with_its_server() {
    let server = Server::start(HttpOptions::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /graphql?query=subscription%7Bnever%7D HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    server.stop().await;
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(!rest.contains("complete"), "it is to come back: {rest}");
}

#[tokio::test]
async fn a_connection_that_sends_no_request_is_closed() {
    let server = Server::start(HttpOptions {
        header_read_timeout: Duration::from_millis(50),
        ..HttpOptions::default()
    })
    .await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    assert!(read.await.is_ok(), "the server hung on");
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_their_turn() {
    let server = Server::start(HttpOptions {
        max_connections: 1,
        ..HttpOptions::default()
    })
    .await;
    let first = server.acknowledged().await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /graphql?query=%7Bhello%7D HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    second.write_all(request.as_bytes()).await.unwrap();
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "answered while the socket holds the place");
    drop(first);
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("hello world"), "{answer}");
    server.stop().await;
}
