//! Stories of callers who are asked who they are: sessions, and what stays open.

#[path = "sessions/cookies.rs"]
mod cookies;
#[path = "sessions/server.rs"]
mod server;
#[path = "sessions/sockets.rs"]
mod sockets;
mod support;
