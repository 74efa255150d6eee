//! From which address a request comes, and whether over TLS, where proxies stand in between.
//!
//! A proxy tells both in headers that any client can write too. So they are read only when the
//! connection comes from a trusted proxy, and from the right, where each proxy adds what it saw:
//! the first address there that is no trusted proxy's is the client's. What a client wrote itself
//! stands further left and is never reached.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use super::Shell;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Proxies behind each other that are followed; more stand nowhere.
const MAX_HOPS: usize = 16;

/// Which proxies may say for whom they speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The networks of the proxies.
    pub trusted: Vec<Network>,
    /// Where they say it. One place only: a proxy passes on the other header as the client wrote it.
    pub header: ForwardedBy,
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self(address.to_canonical().into())),
            Err(_) => text.parse().map(|network: IpNet| Self(network.trunc())),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The header in which proxies name their client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A connection that TLS guards, as an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverTls;

/// Who is at the other end, as far as the network tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address, never a trusted proxy's unless the proxy itself asks.
    pub(crate) address: Option<IpAddr>,
    /// Whether the client's own connection is guarded by TLS.
    pub(crate) is_secure: bool,
}

/// Tells each request's [`Client`].
pub(crate) async fn located(
    State(shell): State<Shell>,
    mut request: Request,
    next: Next,
) -> Response {
    let extensions = request.extensions();
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
    let over_tls = extensions.get::<OverTls>().is_some();
    let options = &shell.options;
    let mut client = options.proxies.client(peer, over_tls, request.headers());
    // A proxy that ends TLS need not say so where the operator did.
    let public_url = options.public_url.as_ref();
    client.is_secure |= public_url.is_some_and(|url| url.scheme() == "https");
    request.extensions_mut().insert(client);
    next.run(request).await
}

impl Proxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|network| network.0.contains(&address))
    }

    fn client(&self, peer: Option<IpAddr>, over_tls: bool, headers: &HeaderMap) -> Client {
        let mut client = Client {
            address: peer,
            is_secure: over_tls,
        };
        if !peer.is_some_and(|peer| self.trusts(peer)) {
            return client;
        }
        for hop in self.hops(headers).take(MAX_HOPS) {
            if let Some(is_secure) = hop.is_secure {
                client.is_secure = is_secure;
            }
            // What cannot be read hides its client: the proxy that said it stands in.
            let Some(address) = hop.address else { break };
            client.address = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        if self.header == ForwardedBy::XForwarded
            && let Some(proto) = from_the_right(headers, X_FORWARDED_PROTO).next()
        {
            client.is_secure = is_https(proto);
        }
        client
    }

    fn hops<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = Hop> + use<'a> {
        let (name, read): (_, fn(&str) -> Hop) = match self.header {
            ForwardedBy::XForwarded => (X_FORWARDED_FOR, Hop::from_address),
            ForwardedBy::Forwarded => (header::FORWARDED, Hop::from_pairs),
        };
        from_the_right(headers, name).map(read)
    }
}

/// What one proxy said.
struct Hop {
    address: Option<IpAddr>,
    is_secure: Option<bool>,
}

impl Hop {
    fn from_address(text: &str) -> Self {
        Self {
            address: address(text),
            is_secure: None,
        }
    }

    /// The pairs of RFC 7239. A quote that holds a comma or a semicolon is torn apart: what a proxy
    /// writes of addresses and protocols has neither, and a quote that a client left open must not
    /// swallow what the proxy wrote after it.
    fn from_pairs(text: &str) -> Self {
        let mut hop = Self {
            address: None,
            is_secure: None,
        };
        for pair in text.split(';') {
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"');
            let name = name.trim();
            if name.eq_ignore_ascii_case("for") {
                hop.address = address(value);
            } else if name.eq_ignore_ascii_case("proto") {
                hop.is_secure = Some(is_https(value));
            }
        }
        hop
    }
}

/// The elements of a list in a header, the last first. What is no text is an element that says
/// nothing.
fn from_the_right(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().rev();
    lines.flat_map(|line| line.to_str().unwrap_or("").rsplit(',').map(str::trim))
}

/// An address as proxies write it: with or without a port, one of IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse();
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    let address: IpAddr = bare().or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

fn is_https(proto: &str) -> bool {
    proto.eq_ignore_ascii_case("https") || proto.eq_ignore_ascii_case("wss")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn proxies(header: ForwardedBy) -> Proxies {
        Proxies {
            trusted: vec!["10.0.0.0/8".parse().unwrap(), "fd00::1".parse().unwrap()],
            header,
        }
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    fn seen(header: ForwardedBy, peer: &str, lines: &[(&str, &str)]) -> (String, bool) {
        let peer: IpAddr = peer.parse().unwrap();
        let client = proxies(header).client(Some(peer.to_canonical()), false, &headers(lines));
        (client.address.unwrap().to_string(), client.is_secure)
    }

    fn by_x(peer: &str, forwarded_for: &str) -> String {
        let lines = [("x-forwarded-for", forwarded_for)];
        seen(ForwardedBy::XForwarded, peer, &lines).0
    }

    fn by_forwarded(forwarded: &str) -> (String, bool) {
        let lines = [("forwarded", forwarded)];
        seen(ForwardedBy::Forwarded, PROXY, &lines)
    }

    #[test]
    fn a_stranger_speaks_for_nobody() {
        let lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
        ];
        let seen = seen(ForwardedBy::XForwarded, "203.0.113.9", &lines);
        assert_eq!(seen, ("203.0.113.9".to_owned(), false));
    }

    #[test]
    fn the_right_most_address_that_is_no_proxys_is_the_clients() {
        assert_eq!(by_x(PROXY, "192.0.2.7"), "192.0.2.7");
        assert_eq!(by_x(PROXY, "6.6.6.6, 192.0.2.7"), "192.0.2.7");
        assert_eq!(by_x(PROXY, "6.6.6.6, 192.0.2.7, 10.9.9.9"), "192.0.2.7");
        assert_eq!(by_x(PROXY, "192.0.2.7:4711"), "192.0.2.7");
        assert_eq!(by_x("fd00::1", "[2001:db8::7]:4711"), "2001:db8::7");
        assert_eq!(by_x("::ffff:10.0.0.1", "::ffff:192.0.2.7"), "192.0.2.7");
        // A request of a proxy's own, or of a machine in its network.
        assert_eq!(by_x(PROXY, "10.2.2.2"), "10.2.2.2");
    }

    #[test]
    fn lines_are_one_list() {
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        assert_eq!(seen(ForwardedBy::XForwarded, PROXY, &lines).0, "192.0.2.7");
    }

    #[test]
    fn what_cannot_be_read_hides_its_client() {
        for odd in ["", "unknown", "_hidden", "192.0.2", "é", ","] {
            assert_eq!(by_x(PROXY, odd), PROXY, "{odd}");
            assert_eq!(by_x(PROXY, &format!("1.1.1.1, {odd}")), PROXY, "{odd}");
        }
        assert_eq!(by_x(PROXY, "1.1.1.1, unknown, 10.3.3.3"), "10.3.3.3");
    }

    #[test]
    fn the_protocol_counts_only_from_a_proxy() {
        let secure = |proto| {
            let lines = [
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-proto", proto),
            ];
            seen(ForwardedBy::XForwarded, PROXY, &lines).1
        };
        assert!(secure("https") && secure("HTTPS") && secure("http, https"));
        assert!(!secure("http") && !secure("https, http") && !secure(""));
    }

    #[test]
    fn forwarded_is_read_in_its_own_form() {
        let https = by_forwarded(r#"for=6.6.6.6;proto=http, For="[2001:db8::7]:47";Proto=https"#);
        assert_eq!(https, ("2001:db8::7".to_owned(), true));
        assert_eq!(by_forwarded("for=192.0.2.7").0, "192.0.2.7");
        assert_eq!(by_forwarded("for=unknown;proto=https").0, PROXY);
        assert_eq!(by_forwarded("by=10.0.0.1").0, PROXY);
    }

    #[test]
    fn the_header_that_proxies_do_not_write_is_not_read() {
        let both = [
            ("forwarded", "for=192.0.2.7;proto=http"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
        ];
        let seen = seen(ForwardedBy::Forwarded, PROXY, &both);
        assert_eq!(seen, ("192.0.2.7".to_owned(), false));
    }

    #[test]
    fn a_network_may_be_an_address_and_must_be_one_or_the_other() {
        for (text, shown) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
        }
        for odd in [
            "",
            "10.0.0.0/33",
            "proxy.internal",
            "10.0.0.0-10.0.0.9",
            "*",
        ] {
            assert!(odd.parse::<Network>().is_err(), "{odd}");
        }
    }

    proptest! {
        /// Whatever a client wrote before its proxy added to it.
        #[test]
        fn no_forged_header_changes_whom_the_proxy_saw(
            forged in proptest::collection::vec("[ -~]{0,40}", 0..4),
            real in any::<[u8; 4]>(),
            on_a_line_of_its_own in any::<bool>(),
        ) {
            let real = IpAddr::from(real);
            prop_assume!(!proxies(ForwardedBy::XForwarded).trusts(real));
            for (by, name, added) in [
                (ForwardedBy::XForwarded, "x-forwarded-for", real.to_string()),
                (ForwardedBy::Forwarded, "forwarded", format!("for={real};proto=https")),
            ] {
                let mut lines = forged.clone();
                match lines.last_mut() {
                    Some(last) if !on_a_line_of_its_own => *last = format!("{last}, {added}"),
                    _ => lines.push(added),
                }
                let lines: Vec<_> = lines.iter().map(|line| (name, line.as_str())).collect();
                prop_assert_eq!(seen(by, PROXY, &lines).0, real.to_string());
            }
        }

        #[test]
        fn no_header_breaks_the_reader(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                for by in [ForwardedBy::XForwarded, ForwardedBy::Forwarded] {
                    let mut headers = HeaderMap::new();
                    headers.insert("forwarded", value.clone());
                    headers.insert("x-forwarded-for", value.clone());
                    let peer = PROXY.parse().ok();
                    prop_assert!(proxies(by).client(peer, false, &headers).address.is_some());
                }
            }
        }
    }
}
