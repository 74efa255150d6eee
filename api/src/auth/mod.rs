//! Who a request comes from.
//!
//! What a caller shows is an API key ([`api_key`]) or a token of an identity provider ([`jwt`]).
//! Both parts are pure: keys, time, randomness and the way to the provider are handed in. Whatever
//! is wrong with a credential, the caller learns only that it does not count ([`Unauthenticated`]).

pub mod api_key;
mod error;
pub mod jwt;

pub use error::{Reason, Unauthenticated};

use crate::{http::request_id::RequestId, state::RequestContext};

/// The sender of a request. In local mode that is the owner of the workspace `default`, whoever
/// reaches the loopback address: [`crate::http::guard`] has turned web pages away before.
pub(crate) fn identify(request_id: &RequestId) -> RequestContext {
    RequestContext::local(request_id.as_str())
}
