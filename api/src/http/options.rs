//! What the HTTP shell is told from outside, and every bound it keeps.

use std::time::Duration;

use super::{Cors, Proxies, Tls};

/// How the server treats connections and requests. Each bound is far above honest use and far
/// below what hurts a neighbour.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Where clients reach the server, such as `https://tools.example.org`, if not only at the
    /// loopback address. Its host may be named in `Host`, its origin in `Origin`.
    pub public_url: Option<url::Url>,
    /// Which web pages of other origins may call.
    pub cors: Cors,
    /// Which proxies may say for whom they speak.
    pub proxies: Proxies,
    /// What TLS is served with; plain HTTP without.
    pub tls: Option<Tls>,
    /// How long a TLS handshake may take: a few round trips over a bad line.
    pub handshake_timeout: Duration,
    /// Bytes of a request's body: a job's input may have 16 MiB, and what stands around it 1 MiB.
    pub max_body_bytes: usize,
    /// Bytes up to which a body is nothing special: its length need not be announced, and as many
    /// may be under way as there are requests. A message on a WebSocket, and a GraphQL document, has
    /// at most so many too: what is large goes by POST, in the variables.
    pub usual_body_bytes: usize,
    /// Requests with a larger body at once, from its first byte to the answer; others wait. One with
    /// 16 MiB was seen to take 90 to 120 MiB at its peak.
    pub max_large_bodies: usize,
    /// Bytes of a request's line and headers together: four times what browsers send.
    pub max_header_bytes: usize,
    /// How long a connection may take to send its request's headers; a slow sender holds nothing
    /// but its connection meanwhile.
    pub header_read_timeout: Duration,
    /// How long a request may take to send its body: 2 MiB over a bad line. A larger one has four
    /// times as long, and as long again for a place to be free.
    pub body_read_timeout: Duration,
    /// How long a request may take to be answered: `executeTool` waits up to 300 s for its tool,
    /// and needs a moment before and after.
    pub request_timeout: Duration,
    /// Open connections, live ones included; one costs some 100 KiB.
    pub max_connections: usize,
    /// Requests being answered at once. Most of them wait for a tool; those that wait for one of
    /// the ten database connections are bounded by how long they may wait. To be more than a node
    /// makes calls at once, so that whoever asks for something else is answered meanwhile.
    pub max_concurrent_requests: usize,
    /// How long a shutdown waits for requests in flight. Jobs that run on are taken over.
    pub shutdown_grace: Duration,
    /// Live subscriptions.
    pub live: LiveOptions,
}

/// How the server treats subscriptions.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// How long a WebSocket may stay silent before `connection_init`; the protocol's usual value.
    pub init_timeout: Duration,
    /// How often a WebSocket is pinged. One that says nothing for two intervals is closed; proxies
    /// commonly cut connections that are silent for 60 s.
    pub ping_interval: Duration,
    /// Subscriptions on one WebSocket: a page with 50 watched jobs.
    pub max_subscriptions: usize,
    /// How long a client may take to accept one message before it is cut off.
    pub send_timeout: Duration,
    /// How often an event stream without events carries a comment, so that proxies keep it.
    pub heartbeat: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            public_url: None,
            cors: Cors::default(),
            proxies: Proxies::default(),
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            max_body_bytes: 17 * 1024 * 1024,
            usual_body_bytes: 2 * 1024 * 1024,
            max_large_bodies: 8,
            max_header_bytes: 64 * 1024,
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(320),
            max_connections: 4096,
            max_concurrent_requests: 1024,
            shutdown_grace: Duration::from_secs(20),
            live: LiveOptions::default(),
        }
    }
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            init_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            max_subscriptions: 50,
            send_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(15),
        }
    }
}
