//! GraphQL over WebSockets, `graphql-transport-ws`.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_graphql::{
    Executor,
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
use futures::{FutureExt as _, Sink, SinkExt as _, StreamExt as _, future, future::BoxFuture};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    introduction::Opener,
    session::{Closing, Session, SessionExecutor},
    standing::{self, Lost},
};
use crate::http::{Shell, request_id::RequestId, shell::Place};

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
    opener: Opener,
    request_id: RequestId,
    shell: &Shell,
    place: Option<Place>,
) -> Response {
    let shell = shell.clone();
    let counted = shell.sockets.token();
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(message_bytes(&shell))
        .max_frame_size(message_bytes(&shell))
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
                auth: Arc::clone(&opener.auth),
                sender: Arc::new(OnceLock::new()),
                places: Arc::new(Semaphore::new(max_subscriptions)),
                max_subscriptions,
                request_id,
            };
            match converse(&mut socket, executor, opener, &shell).await {
                End::Ours(closing) => close(&mut socket, closing).await,
                End::Unreadable(closing) => {
                    close(&mut socket, closing).await;
                    // What was sent cannot be read past. A client that is still sending it must
                    // find the connection open, or it never comes to read why it was closed.
                    tokio::time::sleep(GOODBYE).await;
                }
                End::Theirs => answer_close(&mut socket).await,
                End::Lost => {}
            }
        })
}

/// How a conversation ended.
enum End {
    /// We close.
    Ours(Closing),
    /// We close because of what the client sent, of which not all was read.
    Unreadable(Closing),
    /// The client has closed, and waits for our answer.
    Theirs,
    /// The connection is gone.
    Lost,
}

/// Serves until one side ends.
async fn converse<E: Executor>(
    socket: &mut WebSocket,
    executor: SessionExecutor<E>,
    opener: Opener,
    shell: &Shell,
) -> End {
    let live = &shell.options.live;
    let (auth, sender) = (Arc::clone(&executor.auth), Arc::clone(&executor.sender));
    let mut opener = Some(opener);
    let mut lost: BoxFuture<'static, Lost> = future::pending().boxed();
    let (told, messages) = mpsc::channel(WAITING_MESSAGES);
    let messages = ReceiverStream::new(messages).map(Ok::<ClientMessage, serde_json::Error>);
    let protocol = Protocol::from_message_stream(executor, messages, WebSocketProtocols::GraphQLWS);
    tokio::pin!(protocol);
    let mut session = Session::default();
    let mut heard = Instant::now();
    let init_deadline = heard + live.init_timeout;
    let mut pings = tokio::time::interval_at(heard + live.ping_interval, live.ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shell.shutdown.cancelled() => return End::Ours(going_away()),
            () = tokio::time::sleep_until(init_deadline), if !session.is_acknowledged() => {
                return End::Ours(init_timeout());
            }
            lost = &mut lost => return End::Ours(lost.closing()),
            _ = pings.tick() => {
                if heard.elapsed() > 2 * live.ping_interval {
                    return End::Lost;
                }
                if let Err(end) = send(socket, Message::Ping(Bytes::new()), &mut lost, shell).await {
                    return end;
                }
            }
            message = socket.recv(), if told.capacity() > 0 && session.is_settled() => {
                heard = Instant::now();
                let message = match message {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => return unreadable(error, shell),
                    None => return End::Lost,
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
                        if let ClientMessage::ConnectionInit { payload } = &message
                            && let Some(opener) = opener.take()
                        {
                            let introduced = opener.introduced(payload.as_ref());
                            let known = tokio::select! {
                                () = shell.shutdown.cancelled() => Err(going_away()),
                                known = tokio::time::timeout_at(init_deadline, introduced) => {
                                    known.unwrap_or_else(|_| Err(init_timeout()))
                                }
                            };
                            match known {
                                Ok(known) => {
                                    lost = standing::lost(Arc::clone(&auth), known.clone());
                                    let _ = sender.set(known);
                                }
                                Err(closing) => return End::Ours(closing),
                            }
                        }
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
                        && let Err(end) =
                            send(socket, Message::Text(text.into()), &mut lost, shell).await
                    {
                        return end;
                    }
                }
            },
        }
    }
}

/// Bytes of one message. A value beyond what is usual comes by a request of its own: room for it is
/// given out there.
fn message_bytes(shell: &Shell) -> usize {
    let options = &shell.options;
    options.usual_body_bytes.min(options.max_body_bytes)
}

/// How a conversation ends in which the client sent what is no message, or one that is too large;
/// the codes are those of RFC 6455.
fn unreadable(error: axum::Error, shell: &Shell) -> End {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => {
            let limit = message_bytes(shell);
            let why = format!("A message must have at most {limit} bytes");
            End::Unreadable(Closing(1009, why))
        }
        Some(tungstenite::Error::Utf8(_)) => {
            End::Unreadable(Closing(1007, "A text must be UTF-8".into()))
        }
        Some(tungstenite::Error::Protocol(_)) => {
            End::Unreadable(Closing(1002, "Invalid frame received".into()))
        }
        _ => End::Lost,
    }
}

fn going_away() -> Closing {
    Closing(1001, "The server is going away".into())
}

fn init_timeout() -> Closing {
    Closing(4408, "Connection initialisation timeout".into())
}

/// Sends a message, unless the client does not take it in time, or may not have it any more.
async fn send<S>(
    sink: &mut S,
    message: Message,
    lost: &mut BoxFuture<'static, Lost>,
    shell: &Shell,
) -> Result<(), End>
where
    S: Sink<Message> + Unpin,
{
    let sent = tokio::time::timeout(shell.options.live.send_timeout, sink.send(message));
    tokio::select! {
        () = shell.shutdown.cancelled() => Err(End::Ours(going_away())),
        lost = lost => Err(End::Ours(lost.closing())),
        sent = sent => match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Lost),
        },
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
