//! Tools that are an endpoint to which the input is POSTed.

use reqwest::Method;
use serde_json::Value;
use toolroom_domain::{Violation, WorkspaceId, tool::ExternalConfig};
use url::Url;

use super::{
    error::CallError,
    http::{self, Outgoing, Wire, header_name},
    secrets::Secrets,
};

/// Runs one call: the JSON answer is the output.
pub(super) async fn call(
    wire: &Wire<'_>,
    config: &ExternalConfig,
    input: &Value,
) -> Result<Value, CallError> {
    let url = Url::parse(&config.endpoint_url).map_err(|_| {
        CallError::invalid("the tool's `endpoint_url` is not a URL; revise the tool")
    })?;
    let mut outgoing = Outgoing::new(Method::POST, url, wire.step())
        .written_as(&config.endpoint_url)
        .with_json(input);
    if let Some(name) = config.idempotency_header.as_deref().and_then(header_name) {
        outgoing = outgoing.with_idempotency_header(name);
    }
    http::call(wire, outgoing, &Secrets::of(WorkspaceId::NONE)).await
}

/// Checks what a definition says of its endpoint.
pub(super) fn check(config: &ExternalConfig) -> Vec<Violation> {
    let mut found = Vec::new();
    if Url::parse(&config.endpoint_url).is_err() {
        found.push(Violation::new("external.endpointUrl", "is not a URL"));
    }
    if let Some(problem) = http::idempotency_problem(config.idempotency_header.as_deref()) {
        found.push(Violation::new("external.idempotencyHeader", problem));
    }
    found
}
