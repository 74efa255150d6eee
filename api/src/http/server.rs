//! Accepts connections and ends them in order.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, response::Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::server::TlsStream;
use tower::{ServiceExt as _, util::Oneshot};

use super::{
    HttpOptions, Tls,
    client::OverTls,
    shell::{Place, Shell},
};

/// The smallest read buffer that hyper accepts.
const MIN_HEADER_BYTES: usize = 8 * 1024;

/// Requests at once on one HTTP/2 connection: what browsers use.
const HTTP2_STREAMS: u32 = 100;

/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on every listener until the shell's shutdown; then accepts no more, lets
/// requests in flight end for at most [`HttpOptions::shutdown_grace`], and returns.
///
/// # Errors
/// When an accepting task panicked.
pub async fn serve(listeners: Vec<TcpListener>, router: Router, shell: &Shell) -> io::Result<()> {
    let graceful = Arc::new(GracefulShutdown::new());
    let builder = Arc::new(builder(&shell.options));
    if let Some(tls) = shell.options.tls.clone() {
        tokio::spawn(tls.follow_files(shell.shutdown.clone()));
    }
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(
            listener,
            router.clone(),
            shell.clone(),
            Arc::clone(&builder),
            Arc::clone(&graceful),
        ));
    }
    while let Some(ended) = loops.join_next().await {
        ended?;
    }
    shell.sockets.close();
    let all_ended = async {
        if let Some(graceful) = Arc::into_inner(graceful) {
            graceful.shutdown().await;
        }
        shell.sockets.wait().await;
    };
    if tokio::time::timeout(shell.options.shutdown_grace, all_ended)
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time and were cut off");
    }
    Ok(())
}

fn builder(options: &HttpOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_read_timeout)
        .max_buf_size(options.max_header_bytes.max(MIN_HEADER_BYTES));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(options.live.ping_interval);
    builder
}

async fn accept(
    listener: TcpListener,
    router: Router,
    shell: Shell,
    builder: Arc<auto::Builder<TokioExecutor>>,
    graceful: Arc<GracefulShutdown>,
) {
    // Accepting only with a place leaves what is too much in the kernel's queue, where it costs
    // nothing and is served when others end.
    let next = async || {
        let place = Arc::clone(&shell.connections).acquire_owned().await;
        (listener.accept().await, place)
    };
    loop {
        let (accepted, place) = tokio::select! {
            () = shell.shutdown.cancelled() => return,
            next = next() => next,
        };
        match (accepted, place) {
            (Ok((stream, peer)), Ok(place)) => {
                // Answers are small and awaited: waiting to fill a packet only delays them.
                let _ = stream.set_nodelay(true);
                let service = Service {
                    router: router.clone(),
                    peer,
                    place: Place::new(place),
                    tls: shell.options.tls.is_some().then_some(OverTls),
                };
                let (builder, watcher) = (Arc::clone(&builder), graceful.watcher());
                match shell.options.tls.clone() {
                    None => {
                        tokio::spawn(converse(stream, service, builder, watcher));
                    }
                    Some(tls) => {
                        let shell = shell.clone();
                        // Not here: a client that is slow to shake hands would keep others out.
                        tokio::spawn(async move {
                            if let Some(stream) = shake_hands(&tls, stream, &shell).await {
                                converse(stream, service, builder, watcher).await;
                            }
                        });
                    }
                }
            }
            (Err(error), _) if is_the_peers(&error) => {}
            (Err(error), _) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // The semaphore is never closed.
            (_, Err(_)) => return,
        }
    }
}

/// What answers the requests of one connection.
struct Service {
    router: Router,
    peer: SocketAddr,
    place: Place,
    tls: Option<OverTls>,
}

impl hyper::service::Service<http::Request<Incoming>> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = Oneshot<Router, http::Request<Incoming>>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.peer));
        extensions.insert(self.place.clone());
        if let Some(tls) = self.tls {
            extensions.insert(tls);
        }
        self.router.clone().oneshot(request)
    }
}

/// TLS on a connection; none when the two sides do not come to terms in time.
async fn shake_hands(tls: &Tls, stream: TcpStream, shell: &Shell) -> Option<TlsStream<TcpStream>> {
    let accepted = tokio::time::timeout(shell.options.handshake_timeout, tls.accept(stream));
    tokio::select! {
        () = shell.shutdown.cancelled() => None,
        accepted = accepted => match accepted {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                None
            }
        },
    }
}

/// Serves a connection until it ends.
async fn converse<IO>(
    io: IO,
    service: Service,
    builder: Arc<auto::Builder<TokioExecutor>>,
    watcher: Watcher,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error, "a connection ended early");
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
