//! Sockets and streams: who speaks on them, and how they end with what opened them.

use std::{net::SocketAddr, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};
use toolroom_domain::Role;

use crate::{server::Server, support::PATIENCE};

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{address}/graphql").into_client_request()?;
        let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
        for (name, value) in headers.iter().chain(&[protocol]) {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await?;
        Ok(Self(
            tokio_tungstenite::client_async(request, stream).await?.0,
        ))
    }

    async fn send(&mut self, message: Value) {
        let text = Message::text(message.to_string());
        self.0.send(text).await.unwrap();
    }

    /// Introduces itself and says by what it was recognised.
    async fn recognised(mut self, payload: Value) -> (Self, String) {
        self.send(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(self.receive().await["type"], "connection_ack");
        let query = json!({"query": "{ viewer { authenticatedBy } }"});
        self.send(json!({"type": "subscribe", "id": "a", "payload": query}))
            .await;
        let answer = self.receive().await;
        let by = &answer["payload"]["data"]["viewer"]["authenticatedBy"];
        let by = by.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        assert_eq!(self.receive().await["type"], "complete");
        (self, by)
    }

    /// Follows jobs, of which there will be none.
    async fn waits(&mut self) {
        let query = json!({"query": "subscription { jobChanged { status } }"});
        self.send(json!({"type": "subscribe", "id": "b", "payload": query}))
            .await;
    }

    async fn frame(&mut self) -> Message {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap();
            match frame.unwrap().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    async fn receive(&mut self) -> Value {
        match self.frame().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("no message: {other:?}"),
        }
    }

    /// The code with which the server closes; what it refuses before that is passed over.
    async fn closed_with(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Text(text) => assert!(text.contains("\"error\""), "{text}"),
                other => panic!("not closed: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_cookie_opens_a_socket_for_pages_of_ours_alone() {
    let server = Server::start().await;
    let address = server.listen().await;
    let (_, key) = server.key(Role::Member).await;
    let session = server.sign_in(&[("x-api-key", key.reveal())]).await;
    let cookie = ("cookie", session.cookie.as_str());
    let own = format!("http://{address}");

    let socket = Socket::open(address, &[cookie, ("origin", &own)])
        .await
        .unwrap();
    assert_eq!(socket.recognised(Value::Null).await.1, "session");

    let mut nameless = Socket::open(address, &[cookie]).await.unwrap();
    nameless.send(json!({"type": "connection_init"})).await;
    assert_eq!(nameless.closed_with().await, 4401);

    let foreign = Socket::open(address, &[cookie, ("origin", "https://evil.example")]).await;
    match foreign.err() {
        Some(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 403),
        other => panic!("not refused: {other:?}"),
    }
    server.stop().await;
}

#[tokio::test]
async fn a_socket_ends_with_the_session_that_opened_it() {
    let server = Server::start().await;
    let address = server.listen().await;
    let (_, key) = server.key(Role::Member).await;
    let by_key = [("x-api-key", key.reveal())];
    let session = server.sign_in(&by_key).await;
    let own = format!("http://{address}");
    let headers = [
        ("cookie", session.cookie.as_str()),
        ("origin", own.as_str()),
    ];
    let (mut socket, _) = Socket::open(address, &headers)
        .await
        .unwrap()
        .recognised(Value::Null)
        .await;
    socket.waits().await;
    let path = format!("/session/{}", session.id);
    let ended = server.send("DELETE", &path, &by_key, Value::Null).await;
    assert_eq!(ended.status, 204);
    assert_eq!(socket.closed_with().await, 4401);
    server.stop().await;
}

#[tokio::test]
async fn a_socket_ends_with_the_key_that_opened_it_however_it_was_shown() {
    let server = Server::start().await;
    let address = server.listen().await;
    let (id, key) = server.key(Role::Viewer).await;
    let by_header = Socket::open(address, &[("x-api-key", key.reveal())])
        .await
        .unwrap();
    let (mut by_header, by) = by_header.recognised(Value::Null).await;
    assert_eq!(by, "api_key");
    let by_payload = Socket::open(address, &[]).await.unwrap();
    let bearer = format!("Bearer {}", key.reveal());
    let (mut by_payload, by) = by_payload
        .recognised(json!({"Authorization": bearer}))
        .await;
    assert_eq!(by, "api_key");
    by_header.waits().await;
    by_payload.waits().await;
    server.revoke(&id, key.prefix()).await;
    assert_eq!(by_header.closed_with().await, 4401);
    assert_eq!(by_payload.closed_with().await, 4401);
    server.stop().await;
}

#[tokio::test]
async fn a_socket_ends_when_its_token_expires() {
    let server = Server::start().await;
    let address = server.listen().await;
    let workspace = server.workspace_of("ann").await;
    let payload = json!({
        "authorization": format!("Bearer {}", server.token("ann")),
        "workspaceId": workspace.to_string(),
    });
    let socket = Socket::open(address, &[]).await.unwrap();
    let (mut socket, by) = socket.recognised(payload).await;
    assert_eq!(by, "token");
    socket.waits().await;
    server.passes(Duration::from_secs(3600));
    assert_eq!(socket.closed_with().await, 4401);
    server.stop().await;
}

#[tokio::test]
async fn a_socket_ends_with_the_membership() {
    let server = Server::start().await;
    let address = server.listen().await;
    let workspace = server.workspace_of("ann").await;
    let headers = [
        ("authorization", format!("Bearer {}", server.token("ann"))),
        ("x-workspace-id", workspace.to_string()),
    ];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let socket = Socket::open(address, &headers).await.unwrap();
    let (mut socket, _) = socket.recognised(Value::Null).await;
    socket.waits().await;
    server.delete(workspace).await;
    assert_eq!(socket.closed_with().await, 4403);
    server.stop().await;
}

#[tokio::test]
async fn an_event_stream_ends_with_the_key_that_opened_it() {
    let server = Server::start().await;
    let address = server.listen().await;
    let (id, key) = server.key(Role::Viewer).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /graphql?query=subscription%7BjobChanged%7Bstatus%7D%7D HTTP/1.1\r\nHost: {address}\r\n\
         X-API-Key: {}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n",
        key.reveal()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    server.revoke(&id, key.prefix()).await;
    let mut rest = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut rest));
    read.await.unwrap().unwrap();
    assert!(rest.contains("UNAUTHENTICATED"), "{rest}");
    assert!(!rest.contains(key.reveal()));
    server.stop().await;
}
