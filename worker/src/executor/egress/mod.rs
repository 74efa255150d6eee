//! The one way to the outside: clients that reach nothing but the public internet and what the
//! operator opened.
//!
//! A name is resolved once a connection; all its addresses are checked, and the connection goes to
//! one of these very addresses, so a name that changes its mind in between gains nothing.

mod address;
mod rule;
mod socket;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::{Host, Url};

pub use self::{
    address::is_public,
    rule::{EgressRule, ParseRuleError},
};
use super::error::{CallError, cause};

/// How long a connection may take to come about: an honest host answers within one or two round
/// trips, and three lost packets are made good within 7 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept for the next call. Common servers close theirs after 5 s
/// (Node, Apache); a call that leaves just then is lost, and if it must not be doubled, nobody may
/// repeat it. So ours are given up before that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Finds the addresses of a name. The binary hands in the system's, a test its own.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of a name.
    ///
    /// # Errors
    /// When the name has none, or nobody could be asked.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// What may be reached, and how names are resolved.
#[derive(Clone)]
pub struct EgressOptions {
    /// What the operator opens beyond the public internet.
    pub allow: Vec<EgressRule>,
    /// Finds the addresses of names.
    pub resolver: Arc<dyn Resolver>,
}

impl Default for EgressOptions {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            resolver: Arc::new(SystemResolver),
        }
    }
}

impl fmt::Debug for EgressOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressOptions")
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

/// Hands out the client by which a URL may be reached.
pub(crate) struct Egress {
    allow: Arc<[EgressRule]>,
    resolver: Arc<dyn Resolver>,
    /// Connects only to public addresses and opened blocks.
    guarded: Client,
    /// Connects anywhere; for hosts that a rule opens by name.
    opened: Client,
}

impl Egress {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one factory of clients"
    )]
    pub(crate) fn try_new(options: EgressOptions) -> Result<Self, reqwest::Error> {
        let allow: Arc<[EgressRule]> = options.allow.into();
        let client = |allow: Option<Arc<[EgressRule]>>| {
            Client::builder()
                .dns_resolver(Arc::new(Guard {
                    allow,
                    resolver: Arc::clone(&options.resolver),
                }))
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .redirect(redirect::Policy::none())
                .no_proxy()
                .user_agent(concat!("toolroom/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        Ok(Self {
            guarded: client(Some(Arc::clone(&allow)))?,
            opened: client(None)?,
            allow,
            resolver: options.resolver,
        })
    }

    /// The client by which this URL may be reached.
    ///
    /// # Errors
    /// `EGRESS_DENIED` where it may not be reached at all. A name that turns out to resolve to a
    /// closed address is refused by the client, as an error that [`is_denied`] recognises.
    pub(super) fn client_for(&self, url: &Url) -> Result<&Client, CallError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(CallError::egress_denied(
                "only http and https addresses can be called",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(CallError::egress_denied(
                "an address must not carry credentials; use `auth` with a `secret_ref`",
            ));
        }
        if self.allow.iter().any(|rule| rule.opens(url)) {
            return Ok(&self.opened);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            Some(Host::Domain(_)) | None => None,
        };
        match literal {
            Some(address) if !may_reach(&self.allow, address) => Err(denied()),
            _ => Ok(&self.guarded),
        }
    }
}

fn may_reach(allow: &[EgressRule], address: IpAddr) -> bool {
    is_public(address) || allow.iter().any(|rule| rule.contains(address))
}

/// What a caller is told; not the address, which would map the inside for whoever asks.
pub(super) fn denied() -> CallError {
    CallError::egress_denied(
        "the host is, or resolves to, a private or reserved address; \
         if it shall be reached, the operator can name it in `egress.allow`",
    )
}

/// Whether the guard refused a connection.
pub(super) fn is_denied(error: &reqwest::Error) -> bool {
    cause::<Denied>(error).is_some()
}

#[derive(Debug, thiserror::Error)]
#[error("the name resolves to an address that is not open")]
struct Denied;

/// Resolves names for a client; with rules, refuses each name that has a closed address.
struct Guard {
    allow: Option<Arc<[EgressRule]>>,
    resolver: Arc<dyn Resolver>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = self.allow.clone();
        let resolver = Arc::clone(&self.resolver);
        Box::pin(async move {
            let addresses = resolver.resolve(name.as_str()).await?;
            // One closed address is enough: which of them is connected to is not the guard's choice.
            if allow.is_some_and(|allow| addresses.iter().any(|a| !may_reach(&allow, *a))) {
                return Err(Denied.into());
            }
            if addresses.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            let sockets = addresses.into_iter().map(|a| SocketAddr::new(a, 0));
            Ok(Box::new(sockets) as Addrs)
        })
    }
}
