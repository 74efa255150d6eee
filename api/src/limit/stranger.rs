//! Whoever guesses at credentials is made to wait, by address.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use toolroom_domain::{Clock, ErrorCode};

use super::{bucket::Flow, each::Each, refusals};
use crate::error::ApiError;

/// Failures that an address has at first: a program that was given a wrong key tries a few times, and
/// many of them may stand behind one address.
const BURST: f64 = 20.0;

/// Failures a minute after that. A key has 256 bits: it is not guessed at any rate; what this spares
/// is the work, and the log.
const PER_MINUTE: f64 = 10.0;

const FLOW: Flow = Flow {
    per_second: PER_MINUTE / 60.0,
    burst: BURST,
};

/// Addresses remembered: some 100 bytes each. Whoever has more than this to try from forgets
/// the oldest first.
const ADDRESSES: u64 = 100_000;

/// Bits of an IPv6 address that a customer of a provider does not choose freely.
const IPV6_PREFIX: u32 = 64;

/// The failed authentications of each address, as this node has seen them.
#[derive(Clone)]
pub struct Strangers(Each<IpAddr>);

impl Strangers {
    /// Nobody has failed yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Each::new(FLOW, ADDRESSES, clock))
    }

    /// Whether credentials from this address are to be looked at. To be asked before that.
    ///
    /// # Errors
    /// `RATE_LIMIT_EXCEEDED` with the time to wait.
    pub fn admit(&self, address: IpAddr) -> Result<(), ApiError> {
        let tokens = self.0.tokens(&network(address));
        if tokens >= 1.0 {
            return Ok(());
        }
        refusals("stranger").increment(1);
        let error = ApiError::new(
            ErrorCode::RateLimitExceeded,
            "too many credentials from this address were wrong; correct them and wait before the next try",
        );
        Err(error.retry_after(FLOW.time_for(1.0 - tokens)))
    }

    /// Notes that a credential from this address was wrong.
    pub fn failed(&self, address: IpAddr) {
        self.0.take(network(address));
    }
}

/// The network whose addresses are one sender's: an IPv4 address, or 64 bits of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - IPV6_PREFIX);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::tests::HandClock, *};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_fails_waits_and_is_let_in_again() {
        let clock = HandClock::at("2026-11-21T10:00:00Z");
        let strangers = Strangers::new(Arc::new(clock.clone()));
        let here = address("192.0.2.7");
        for _ in 0..20 {
            assert!(strangers.admit(here).is_ok());
            strangers.failed(here);
        }
        let refused = strangers.admit(here).unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimitExceeded);
        assert_eq!(refused.retry_after_ms, Some(6_000));
        assert!(strangers.admit(address("192.0.2.8")).is_ok());
        clock.pass(Duration::from_millis(5_999));
        assert_eq!(strangers.admit(here).unwrap_err().retry_after_ms, Some(1));
        clock.pass(Duration::from_millis(1));
        assert!(strangers.admit(here).is_ok());
        strangers.failed(here);
        assert!(strangers.admit(here).is_err());
    }

    #[test]
    fn a_network_counts_as_one_sender() {
        let clock = HandClock::at("2026-11-21T10:00:00Z");
        let strangers = Strangers::new(Arc::new(clock));
        for n in 0..20 {
            strangers.failed(address(&format!("2001:db8:1:2:{n:x}::1")));
        }
        assert!(strangers.admit(address("2001:db8:1:2:ffff::9")).is_err());
        assert!(strangers.admit(address("2001:db8:1:3::1")).is_ok());
        for _ in 0..20 {
            strangers.failed(address("::ffff:192.0.2.1"));
        }
        assert!(strangers.admit(address("192.0.2.1")).is_err());
        assert!(strangers.admit(address("::ffff:192.0.2.2")).is_ok());
    }

    #[test]
    fn new_addresses_are_remembered_however_many_there_are() {
        let clock = HandClock::at("2026-11-21T10:00:00Z");
        let strangers = Strangers::new(Arc::new(clock));
        let many = u32::try_from(ADDRESSES).unwrap() + 5_000;
        for n in 0..many {
            strangers.failed(std::net::Ipv4Addr::from_bits(n).into());
        }
        assert!(strangers.0.remembered() <= ADDRESSES);
        let last = std::net::Ipv4Addr::from_bits(many - 1).into();
        for _ in 0..20 {
            strangers.failed(last);
        }
        assert!(strangers.admit(last).is_err());
    }
}
