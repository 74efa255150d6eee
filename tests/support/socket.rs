//! A real `graphql-transport-ws` client.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use super::{App, PATIENCE, people::Caller};

/// A connection with at most one subscription at a time.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Connects and is acknowledged.
    pub async fn connect(app: &App) -> Self {
        Self::open(&app.url, json!({})).await
    }

    /// As [`Self::connect`], with what a caller shows.
    pub async fn of(caller: &Caller) -> Self {
        Self::open(&caller.url, caller.shown.clone()).await
    }

    async fn open(url: &str, shown: Value) -> Self {
        let url = url.replace("http://", "ws://") + "/graphql";
        let mut request = url.into_client_request().expect("a url");
        let protocol = "graphql-transport-ws".parse().expect("a header");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (stream, _) = tokio_tungstenite::connect_async(request)
            .await
            .expect("the socket opens");
        let mut socket = Self { stream };
        let init = json!({"type": "connection_init", "payload": shown});
        socket.send(init).await;
        assert_eq!(socket.receive().await["type"], "connection_ack");
        socket
    }

    /// Begins a subscription.
    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({"query": query, "variables": variables});
        self.send(json!({"type": "subscribe", "id": id, "payload": payload}))
            .await;
    }

    /// The next result's data, or none when the subscription has ended.
    ///
    /// # Panics
    /// When it ends with an error, or nothing comes.
    pub async fn next(&mut self) -> Option<Value> {
        let message = self.receive().await;
        match message["type"].as_str() {
            Some("next") => {
                let payload = &message["payload"];
                assert!(payload.get("errors").is_none(), "{payload}");
                Some(payload["data"].clone())
            }
            Some("complete") => None,
            _ => panic!("unexpected on the socket: {message}"),
        }
    }

    async fn send(&mut self, message: Value) {
        let text = Message::text(message.to_string());
        self.stream.send(text).await.expect("the socket is open");
    }

    async fn receive(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            match message.expect("a message comes") {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("is JSON");
                    if message["type"] == "ping" {
                        self.send(json!({"type": "pong"})).await;
                        continue;
                    }
                    return message;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("the socket closed: {other:?}"),
            }
        }
    }
}
