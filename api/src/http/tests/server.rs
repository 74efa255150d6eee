//! A server on a port of its own, and a WebSocket client.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use super::support::{Trusting, router_for};
use crate::{
    auth::Identify,
    http::{HttpOptions, Shell, serve},
};

/// Longer than anything here takes; reached only by a fault.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) shell: Shell,
    served: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(super) async fn start(options: HttpOptions) -> Self {
        Self::start_for(options, Arc::new(Trusting { is_local: true })).await
    }

    pub(super) async fn start_for(options: HttpOptions, auth: Arc<dyn Identify>) -> Self {
        let (router, shell) = router_for(options, auth);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = shell.clone();
        let served = tokio::spawn(async move { serve(vec![listener], router, &serving).await });
        Self {
            address,
            shell,
            served,
        }
    }

    pub(super) async fn socket(&self, protocol: &str) -> Socket {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let url = format!("ws://{}/graphql", self.address);
        Socket::open(Box::new(stream), &url, protocol).await
    }

    pub(super) async fn acknowledged(&self) -> Socket {
        let mut socket = self.socket("graphql-transport-ws").await;
        socket.initialise().await;
        socket
    }

    pub(super) async fn stop(self) {
        self.shell.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.served).await;
        ended.unwrap().unwrap().unwrap();
    }
}

/// A connection's stream, plain or within TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(super) struct Socket(pub(super) WebSocketStream<Box<dyn Stream>>);

impl Socket {
    pub(super) async fn open(stream: Box<dyn Stream>, url: &str, protocol: &str) -> Self {
        let mut request = url.into_client_request().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol.parse().unwrap());
        let opened = tokio_tungstenite::client_async(request, stream).await;
        Self(opened.unwrap().0)
    }

    pub(super) async fn initialise(&mut self) {
        self.initialise_with(Value::Null).await;
    }

    pub(super) async fn initialise_with(&mut self, payload: Value) {
        self.send(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(self.receive().await, json!({"type": "connection_ack"}));
    }

    pub(super) async fn send(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    pub(super) async fn subscribe(&mut self, id: &str, query: &str) {
        let payload = json!({ "query": query });
        self.send(json!({"type": "subscribe", "id": id, "payload": payload}))
            .await;
    }

    pub(super) async fn frame(&mut self) -> Option<Message> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap();
            match frame {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return other.and_then(Result::ok),
            }
        }
    }

    pub(super) async fn receive(&mut self) -> Value {
        match self.frame().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("no message: {other:?}"),
        }
    }

    pub(super) async fn closed_with(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Some(Message::Close(Some(frame))) => return frame.code.into(),
                Some(Message::Text(_)) => {}
                other => panic!("closed without a code: {other:?}"),
            }
        }
    }
}
