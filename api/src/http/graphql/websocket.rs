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
            match converse(&mut socket, executor, data, &shell).await {
                End::Ours(closing) => close(&mut socket, closing).await,
                End::Theirs => answer_close(&mut socket).await,
                End::Lost => {}
            }
        })
}

/// How a conversation ended.
enum End {
    /// We close.
    Ours(Closing),
    /// The client has closed, and waits for our answer.
    Theirs,
    /// The connection is gone.
    Lost,
}

/// Serves until one side ends.
async fn converse<E: Executor>(
    socket: &mut WebSocket,
    executor: SessionExecutor<E>,
    data: Data,
    shell: &Shell,
) -> End {
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
                return End::Ours(Closing(1001, "The server is going away".into()));
            }
            () = tokio::time::sleep_until(init_deadline), if !session.is_acknowledged() => {
                return End::Ours(Closing(4408, "Connection initialisation timeout".into()));
            }
            _ = pings.tick() => {
                if heard.elapsed() > 2 * live.ping_interval {
                    return End::Lost;
                }
                if send(socket, Message::Ping(Bytes::new()), shell).await.is_err() {
                    return lost(shell);
                }
            }
            message = socket.recv(), if told.capacity() > 0 && session.is_settled() => {
                heard = Instant::now();
                let Some(Ok(message)) = message else {
                    return End::Lost;
                };
                let admitted = match message {
                    Message::Text(text) => session.admit(text.as_bytes()),
                    Message::Binary(_) => Err(Closing(4400, "Invalid message received".into())),
                    Message::Close(_) => return End::Theirs,
                    Message::Ping(_) | Message::Pong(_) => Ok(None),
                };
                match admitted {
                    // There is room: nobody else sends.
                    Ok(Some(message)) => {
                        let _ = told.try_send(message);
                    }
                    Ok(None) => {}
                    Err(closing) => return End::Ours(closing),
                }
            }
            answer = protocol.next() => match answer {
                None => return End::Lost,
                Some(WsMessage::Close(code, reason)) => return End::Ours(Closing(code, reason)),
                Some(WsMessage::Text(text)) => {
                    if let Some(text) = session.note(text)
                        && send(socket, Message::Text(text.into()), shell).await.is_err()
                    {
                        return lost(shell);
                    }
                }
            },
        }
    }
}

/// What a message that could not be sent means.
fn lost(shell: &Shell) -> End {
    if shell.shutdown.is_cancelled() {
        End::Ours(Closing(1001, "The server is going away".into()))
    } else {
        End::Lost
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
    let sent = socket.send(Message::Close(Some(frame)));
    if let Ok(Ok(())) = tokio::time::timeout(GOODBYE, sent).await {
        answer_close(socket).await;
    }
}

/// Reads on until the connection ends, which sends the answer to the other side's close, or takes
/// it in.
async fn answer_close(socket: &mut WebSocket) {
    let ended = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = tokio::time::timeout(GOODBYE, ended).await;
}
