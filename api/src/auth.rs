//! Who a request comes from.

use crate::{http::request_id::RequestId, state::RequestContext};

/// The sender of a request. In local mode that is the owner of the workspace `default`, whoever
/// reaches the loopback address: [`crate::http::guard`] has turned web pages away before.
pub(crate) fn identify(request_id: &RequestId) -> RequestContext {
    RequestContext::local(request_id.as_str())
}
