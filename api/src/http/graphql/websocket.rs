//! GraphQL over WebSockets, `graphql-transport-ws`.

use std::{sync::Arc, time::Duration};

use async_graphql::{
    Data, Executor,
    http::{ClientMessage, WebSocket as Protocol, WebSocketProtocols, WsMessage},
};
use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    response::Response,
};
use bytes::Bytes;
use futures::{Sink, SinkExt as _, StreamExt as _};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;

use super::session::{Closing, Session, SessionExecutor};
use crate::{
    http::{Shell, request_id::RequestId, shell::Place},
    state::RequestContext,
};

/// The one protocol that is spoken.
const PROTOCOL: &str = "graphql-transport-ws";

/// Messages of a client that wait for the one before them, which is soon done: starting and
/// stopping take no time, whatever the operations take.
const WAITING_MESSAGES: usize = 16;

/// How long a client may take to say goodbye, once it was told: a round trip with room to spare.
const GOODBYE: Duration = Duration::from_secs(2);

/// Answers an upgrade. A client that offers another protocol is connected, so that it can be told,
/// and closed.
pub(super) fn upgrade<E: Executor>(
    upgrade: WebSocketUpgrade,
    executor: E,
    context: RequestContext,
    request_id: RequestId,
    shell: &Shell,
    place: Option<Place>,
) -> Response {
    let shell = shell.clone();
    let counted = shell.sockets.token();
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(shell.options.max_body_bytes)
        .max_frame_size(shell.options.max_body_bytes)
        .on_upgrade(async move |mut socket| {
            let _held = (counted, place);
            if socket.protocol().is_none() {
                let why = format!("Subprotocol not acceptable; speak {PROTOCOL}");
                close(&mut socket, Closing(4406, why)).await;
                return;
            }
            let max_subscriptions = shell.options.live.max_subscriptions;
            let executor = SessionExecutor {
                inner: executor,
                places: Arc::new(Semaphore::new(max_subscriptions)),
                max_subscriptions,
                request_id,
            };
            let mut data = Data::default();
            data.insert(context);
            if let Some(closing) = converse(&mut socket, executor, data, &shell).await {
                close(&mut socket, closing).await;
            }
        })
}

/// Serves until one side ends; returns how to close, unless the client is gone.
async fn converse<E: Executor>(
    socket: &mut WebSocket,
    executor: SessionExecutor<E>,
    data: Data,
    shell: &Shell,
) -> Option<Closing> {
    let live = &shell.options.live;
    let (told, messages) = mpsc::channel(WAITING_MESSAGES);
    let messages = ReceiverStream::new(messages).map(Ok::<ClientMessage, serde_json::Error>);
    let protocol = Protocol::from_message_stream(executor, messages, WebSocketProtocols::GraphQLWS)
        .connection_data(data);
    tokio::pin!(protocol);
    let mut session = Session::default();
    let mut heard = Instant::now();
    let init_deadline = heard + live.init_timeout;
    let mut pings = tokio::time::interval_at(heard + live.ping_interval, live.ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shell.shutdown.cancelled() => {
                return Some(Closing(1001, "The server is going away".into()));
            }
            () = tokio::time::sleep_until(init_deadline), if !session.is_acknowledged() => {
                return Some(Closing(4408, "Connection initialisation timeout".into()));
            }
            _ = pings.tick() => {
                if heard.elapsed() > 2 * live.ping_interval {
                    return None;
                }
                send(socket, Message::Ping(Bytes::new()), shell).await.ok()?;
            }
            message = socket.recv(), if told.capacity() > 0 => {
                heard = Instant::now();
                let admitted = match message?.ok()? {
                    Message::Text(text) => session.admit(text.as_bytes()),
                    Message::Binary(_) => Err(Closing(4400, "Invalid message received".into())),
                    Message::Close(_) => return None,
                    Message::Ping(_) | Message::Pong(_) => Ok(None),
                };
                match admitted {
                    Ok(Some(message)) => told.try_send(message).ok()?,
                    Ok(None) => {}
                    Err(closing) => return Some(closing),
                }
            }
            answer = protocol.next() => match answer? {
                WsMessage::Text(text) => {
                    if session.note(&text) {
                        send(socket, Message::Text(text.into()), shell).await.ok()?;
                    }
                }
                WsMessage::Close(code, reason) => return Some(Closing(code, reason)),
            },
        }
    }
}

/// Sends a message, unless the client does not take it in time.
async fn send<S>(sink: &mut S, message: Message, shell: &Shell) -> Result<(), ()>
where
    S: Sink<Message> + Unpin,
{
    let sent = tokio::time::timeout(shell.options.live.send_timeout, sink.send(message));
    tokio::select! {
        () = shell.shutdown.cancelled() => Err(()),
        sent = sent => sent.map_err(drop)?.map_err(drop),
    }
}

async fn close(socket: &mut WebSocket, Closing(code, reason): Closing) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let closed = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            // The client's own close; without waiting for it ours may be lost on the way.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = tokio::time::timeout(GOODBYE, closed).await;
}
