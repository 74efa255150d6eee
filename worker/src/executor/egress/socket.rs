//! Addresses for protocols that are not HTTP.

use std::net::{IpAddr, SocketAddr};

use toolroom_domain::ErrorCategory;
use url::{Host, Url};

use super::{Egress, denied, may_reach};
use crate::executor::error::CallError;

impl Egress {
    /// The addresses at which a host may be connected to: to these very ones, for a name may change
    /// its mind.
    ///
    /// # Errors
    /// `EGRESS_DENIED` where one of its addresses may not be reached, or a failure where it has none.
    pub(crate) async fn sockets(
        &self,
        host: &Host,
        port: u16,
    ) -> Result<Vec<SocketAddr>, CallError> {
        let addresses = match host {
            Host::Ipv4(v4) => vec![IpAddr::V4(*v4)],
            Host::Ipv6(v6) => vec![IpAddr::V6(*v6)],
            Host::Domain(name) => self
                .resolver
                .resolve(name)
                .await
                .map_err(|_| unresolved())?,
        };
        if addresses.is_empty() {
            return Err(unresolved());
        }
        // Rules speak of URLs; which scheme it is does not count where the port is named.
        let url = Url::parse(&format!("http://{host}:{port}/"));
        let is_opened = url.is_ok_and(|url| self.allow.iter().any(|rule| rule.opens(&url)));
        let is_open = |address: &IpAddr| is_opened || may_reach(&self.allow, *address);
        if !addresses.iter().all(is_open) {
            return Err(denied());
        }
        let sockets = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
        Ok(sockets.collect())
    }
}

fn unresolved() -> CallError {
    CallError::failed(
        ErrorCategory::Network,
        "the host's name could not be resolved",
    )
}
