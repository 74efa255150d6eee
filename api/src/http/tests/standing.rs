//! Who speaks on a connection that stays, and how it ends when they may not any more.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::body::Body;
use futures::stream;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use toolroom_domain::{Role, WorkspaceId, access::Caller};

use super::{
    server::{PATIENCE, Server, Socket},
    support::{post, router_for, send},
};
use crate::{
    auth::{Credential, Identify, Identity, Presented, Reason, Standing, Unauthenticated},
    error::ApiError,
    http::HttpOptions,
    state::RequestContext,
};

/// Knows one key, of one workspace, until told otherwise.
struct Door(Mutex<Standing>);

const KEY: &str = "good";

#[async_trait]
impl Identify for Door {
    fn is_local(&self) -> bool {
        false
    }

    async fn identify(&self, presented: &Presented) -> Result<Identity, ApiError> {
        match (presented.credential.as_deref(), &presented.workspace) {
            (None, _) => Ok(Identity::anonymous()),
            (Some(KEY), None) => Ok(Identity {
                workspace: WorkspaceId::DEFAULT,
                caller: Caller::Key(Role::Member),
                credential: Credential::None,
                ..Identity::anonymous()
            }),
            (Some(KEY), Some(_)) => Err(ApiError::not_found("there is no such workspace")),
            (Some("later"), _) => Err(ApiError::unavailable()),
            (Some(_), _) => Err(Unauthenticated::from(Reason::KeyPrefix).into()),
        }
    }

    async fn standing(&self, ctx: &RequestContext) -> Standing {
        match ctx.caller {
            Caller::Anonymous => Standing::Same,
            _ => *self.0.lock().unwrap(),
        }
    }
}

async fn server() -> (Server, Arc<Door>) {
    let door = Arc::new(Door(Mutex::new(Standing::Same)));
    let server = Server::start_for(HttpOptions::default(), Arc::clone(&door) as _).await;
    (server, door)
}

impl Door {
    fn becomes(&self, standing: Standing) {
        *self.0.lock().unwrap() = standing;
    }
}

async fn introduced(server: &Server) -> Socket {
    let mut socket = server.socket("graphql-transport-ws").await;
    socket.initialise_with(json!({"apiKey": KEY})).await;
    socket
}

#[tokio::test]
async fn a_payload_introduces_whom_the_upgrade_did_not() {
    let (server, _) = server().await;
    for payload in [
        json!({"apiKey": KEY}),
        json!({"X-API-KEY": KEY}),
        json!({"Authorization": "Bearer good"}),
    ] {
        let mut socket = server.socket("graphql-transport-ws").await;
        socket.initialise_with(payload).await;
        socket.subscribe("a", "{ hello }").await;
        let answer = socket.receive().await;
        assert_eq!(answer["payload"]["data"]["hello"], "hello world");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_is_not_known_is_closed_with_the_protocols_codes() {
    let (server, _) = server().await;
    for (payload, code) in [
        (Value::Null, 4401),
        (json!({}), 4401),
        (json!({"token": KEY}), 4401),
        (json!({"apiKey": "bad"}), 4403),
        (json!({"authorization": "Basic good"}), 4403),
        (json!({"apiKey": KEY, "workspaceId": "ws_other"}), 4403),
        (json!({"apiKey": {"is": KEY}}), 4400),
        (json!({"apiKey": "later"}), 1013),
    ] {
        let mut socket = server.socket("graphql-transport-ws").await;
        socket
            .send(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(socket.closed_with().await, code, "{payload}");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_subscribes_before_they_are_known_is_closed() {
    let (server, _) = server().await;
    let mut socket = server.socket("graphql-transport-ws").await;
    socket.subscribe("a", "{ hello }").await;
    assert_eq!(socket.closed_with().await, 4401);
    server.stop().await;
}

#[tokio::test]
async fn a_socket_ends_with_its_senders_credential_or_role() {
    for (standing, code) in [(Standing::Gone, 4401), (Standing::Changed, 4403)] {
        let (server, door) = server().await;
        let (mut busy, mut idle) = (introduced(&server).await, introduced(&server).await);
        busy.subscribe("a", "subscription { never }").await;
        door.becomes(standing);
        assert_eq!(busy.closed_with().await, code);
        assert_eq!(idle.closed_with().await, code);
        server.stop().await;
    }
}

#[tokio::test]
async fn nothing_more_is_done_for_who_is_gone() {
    let (server, door) = server().await;
    let mut socket = introduced(&server).await;
    door.becomes(Standing::Gone);
    socket.subscribe("a", "{ hello }").await;
    // Refused, unless the socket was closed before.
    match socket.frame().await {
        Some(tokio_tungstenite::tungstenite::Message::Text(text)) => {
            let answer: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(answer["type"], "error", "{answer}");
            let code = &answer["payload"][0]["extensions"]["code"];
            assert_eq!(code, "UNAUTHENTICATED");
        }
        Some(tokio_tungstenite::tungstenite::Message::Close(Some(frame))) => {
            assert_eq!(u16::from(frame.code), 4401);
        }
        other => panic!("neither refused nor closed: {other:?}"),
    }
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_late_is_acted_upon_only_for_who_is_still_there() {
    for (standing, status) in [
        (Standing::Same, 200),
        (Standing::Gone, 401),
        (Standing::Changed, 403),
    ] {
        let door = Arc::new(Door(Mutex::new(Standing::Same)));
        let (router, _) = router_for(HttpOptions::default(), Arc::clone(&door) as _);
        let late = stream::once(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            door.becomes(standing);
            Ok::<_, std::io::Error>(r#"{"query":"{hello}"}"#)
        });
        let mut request = post(Body::from_stream(late));
        let headers = request.headers_mut();
        headers.insert("x-api-key", KEY.parse().unwrap());
        assert_eq!(send(&router, request).await.status(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_who_send_slowly_take_no_place_of_others() {
    let door = Arc::new(Door(Mutex::new(Standing::Same)));
    let options = HttpOptions {
        max_concurrent_requests: 8,
        ..HttpOptions::default()
    };
    let (router, shell) = router_for(options, door as _);
    let silent = || Body::from_stream(stream::pending::<Result<String, std::io::Error>>());
    let held = router.clone();
    let slow = tokio::spawn(async move { send(&held, post(silent())).await });
    while shell.strangers.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(send(&router, post(silent())).await.status(), 503);
    let mut request = post(json!({"query": "{hello}"}).to_string());
    let headers = request.headers_mut();
    headers.insert("x-api-key", KEY.parse().unwrap());
    assert_eq!(send(&router, request).await.status(), 200);
    slow.abort();
}

#[tokio::test]
async fn a_stranger_has_no_large_document_read() {
    let door = Arc::new(Door(Mutex::new(Standing::Same)));
    let (router, _) = router_for(HttpOptions::default(), door as _);
    let document = |bytes: usize| format!("{{hello}}{}", " ".repeat(bytes - "{hello}".len()));
    for (bytes, key, status) in [
        (16 * 1024, None, 200),
        (16 * 1024 + 1, None, 401),
        (16 * 1024 + 1, Some(KEY), 200),
    ] {
        let mut request = post(json!({"query": document(bytes)}).to_string());
        if let Some(key) = key {
            let headers = request.headers_mut();
            headers.insert("x-api-key", key.parse().unwrap());
        }
        assert_eq!(send(&router, request).await.status(), status, "{bytes}");
    }
}

#[tokio::test]
async fn an_event_stream_tells_last_that_its_sender_is_gone() {
    let (server, door) = server().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /graphql?query=subscription%7Bnever%7D HTTP/1.1\r\nHost: {}\r\n\
         X-API-Key: {KEY}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    door.becomes(Standing::Gone);
    let mut rest = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut rest));
    read.await.unwrap().unwrap();
    let (_, told) = rest.split_once("event: next").unwrap();
    assert!(told.contains("UNAUTHENTICATED"), "{told}");
    assert!(told.contains("event: complete"), "{told}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_as_soon() {
    let (server, door) = server().await;
    let mut socket = introduced(&server).await;
    // More than the buffers between the two sides hold.
    let long = "x".repeat(120);
    for id in 0..20_000 {
        let query = format!("{{ hello(name: \"{long}\") }}");
        let payload = json!({"query": query});
        let message = json!({"type": "subscribe", "id": id.to_string(), "payload": payload});
        let sent = tokio::time::timeout(Duration::from_secs(1), socket.send(message));
        if sent.await.is_err() {
            break;
        }
    }
    door.becomes(Standing::Gone);
    let sockets = &server.shell.sockets;
    sockets.close();
    let ended = tokio::time::timeout(Duration::from_secs(5), sockets.wait()).await;
    assert!(ended.is_ok(), "the socket waits for its client");
    server.stop().await;
}
