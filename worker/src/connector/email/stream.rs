//! The line to a mail server, bounded, and with the greeting that a session begins with.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that a server may say in one session, TLS included: certificates take a few thousand, each
/// answer less than a hundred, and a line without an end would otherwise be kept for ever.
pub(super) const HEARD_BYTES: usize = 256 * 1024;

/// A stream of which a part was put before it, and of which no more than a bound is read.
pub(super) struct Line<S> {
    stream: S,
    /// What is read first.
    ahead: &'static [u8],
    /// How much may still be read of the stream.
    room: usize,
    peer: SocketAddr,
}

impl<S> Line<S> {
    /// A stream of which at most `room` bytes are read.
    pub(super) fn bounded(stream: S, peer: SocketAddr, room: usize) -> Self {
        Self {
            stream,
            ahead: b"",
            room,
            peer,
        }
    }

    /// A stream before which something else is read.
    pub(super) fn after(ahead: &'static [u8], stream: S, peer: SocketAddr) -> Self {
        Self {
            stream,
            ahead,
            // Whatever is below has a bound already.
            room: usize::MAX,
            peer,
        }
    }

    /// Where it leads.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl<S> fmt::Debug for Line<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let (first, rest) = self.ahead.split_at(self.ahead.len().min(buf.remaining()));
            buf.put_slice(first);
            self.ahead = rest;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        match self.room.checked_sub(read) {
            Some(room) => {
                self.room = room;
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the mail server says too much",
            ))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Line<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}
