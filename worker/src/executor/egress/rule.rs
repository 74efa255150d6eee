//! What the operator opens beyond the public internet.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer};
use url::{Host, Url};

use super::address::{within_v4, within_v6};

/// One entry of the operator's list `egress.allow`.
///
/// | written | opens |
/// |---|---|
/// | `intranet.example.org` | that host, whatever it resolves to, at any port |
/// | `intranet.example.org:8443` | that host at that port |
/// | `10.1.2.3`, `fd00::1` | that address, by whatever name it is reached |
/// | `127.0.0.1:9000`, `[::1]:9000` | that address at that port, named as an address |
/// | `10.0.0.0/8`, `fd00::/8` | the block, by whatever name it is reached |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressRule {
    /// A host, as a URL names it, at one port or any.
    Host {
        /// The name or address.
        host: Host<String>,
        /// The port; any if left out.
        port: Option<u16>,
    },
    /// A block of addresses.
    Block {
        /// Its first address.
        network: IpAddr,
        /// How many leading bits are the block's.
        prefix: u8,
    },
}

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither a host, `host:port`, an IP address nor a block such as 10.0.0.0/8")]
pub struct ParseRuleError {
    text: String,
}

impl EgressRule {
    /// Whether the rule opens the place that a URL names, before it is resolved.
    pub fn opens(&self, url: &Url) -> bool {
        let Self::Host { host, port } = self else {
            return false;
        };
        let same_host = url.host().is_some_and(|h| match (&h, host) {
            (Host::Domain(asked), Host::Domain(allowed)) => {
                asked.trim_end_matches('.') == allowed.as_str()
            }
            (Host::Ipv4(asked), Host::Ipv4(allowed)) => asked == allowed,
            (Host::Ipv6(asked), Host::Ipv6(allowed)) => asked == allowed,
            _ => false,
        });
        same_host && port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }

    /// Whether the rule opens an address, by whatever name it was found.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match (self, address) {
            (
                Self::Block {
                    network: IpAddr::V4(network),
                    prefix,
                },
                IpAddr::V4(v4),
            ) => within_v4(v4, (*network, u32::from(*prefix))),
            (
                Self::Block {
                    network: IpAddr::V6(network),
                    prefix,
                },
                IpAddr::V6(v6),
            ) => within_v6(v6, (*network, u32::from(*prefix))),
            _ => false,
        }
    }
}

impl FromStr for EgressRule {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).ok_or_else(|| ParseRuleError {
            text: text.chars().take(100).collect(),
        })
    }
}

fn parse(text: &str) -> Option<EgressRule> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(block(address, None));
    }
    if let Some((network, prefix)) = text.split_once('/') {
        let (network, prefix) = (network.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
        let width = if network.is_ipv4() { 32 } else { 128 };
        return (prefix <= width).then(|| block(network, Some(prefix)));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    // Another character would let a whole URL pass for a host.
    let looks_like_a_host = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':'));
    if !looks_like_a_host {
        return None;
    }
    let host = match Host::parse(host.trim_end_matches('.')).ok()? {
        Host::Ipv4(v4) if port.is_none() => return Some(block(v4.into(), None)),
        Host::Ipv6(v6) if port.is_none() => return Some(block(v6.into(), None)),
        host => host,
    };
    Some(EgressRule::Host { host, port })
}

fn block(network: IpAddr, prefix: Option<u8>) -> EgressRule {
    let width = if network.is_ipv4() { 32 } else { 128 };
    EgressRule::Block {
        network,
        prefix: prefix.unwrap_or(width),
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host {
                host,
                port: Some(port),
            } => write!(f, "{host}:{port}"),
            Self::Host { host, port: None } => write!(f, "{host}"),
            Self::Block { network, prefix } => write!(f, "{network}/{prefix}"),
        }
    }
}

impl<'de> Deserialize<'de> for EgressRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> EgressRule {
        text.parse().unwrap()
    }

    fn opens(text: &str, url: &str) -> bool {
        rule(text).opens(&url.parse().unwrap())
    }

    #[test]
    fn a_host_is_opened_by_its_name_whatever_its_case_or_last_dot() {
        assert!(opens("Intranet.example", "http://intranet.EXAMPLE./x"));
        assert!(!opens("intranet.example", "http://a.intranet.example/"));
        assert!(!opens(
            "intranet.example",
            "http://intranet.example.evil.test/"
        ));
    }

    #[test]
    fn a_port_narrows_a_rule() {
        assert!(opens("localhost:9000", "http://localhost:9000/"));
        assert!(!opens("localhost:9000", "http://localhost:9001/"));
        assert!(opens("localhost:443", "https://localhost/"));
        assert!(opens("127.0.0.1:9000", "http://2130706433:9000/"));
        assert!(opens("[::1]:9000", "http://[::1]:9000/"));
        assert!(!rule("127.0.0.1:9000").contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_block_is_opened_by_address() {
        assert!(rule("10.0.0.0/8").contains("10.255.0.1".parse().unwrap()));
        assert!(rule("10.0.0.0/8").contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!rule("10.0.0.0/8").contains("11.0.0.1".parse().unwrap()));
        assert!(rule("127.0.0.1").contains("127.0.0.1".parse().unwrap()));
        assert!(rule("::1").contains("::1".parse().unwrap()));
        assert!(rule("0.0.0.0/0").contains("127.0.0.1".parse().unwrap()));
        assert!(!rule("fd00::/8").contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for text in [
            "",
            " ",
            "10.0.0.0/33",
            "a/b",
            "http://x",
            "a b",
            "x:99999",
            "a@b",
            "*",
        ] {
            assert!(text.parse::<EgressRule>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_rule_is_read_back_from_its_written_form(text in "[a-z0-9.:/\\[\\]-]{0,24}") {
            if let Ok(rule) = text.parse::<EgressRule>() {
                prop_assert_eq!(rule.to_string().parse::<EgressRule>(), Ok(rule));
            }
        }
    }
}
