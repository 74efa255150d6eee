//! Tools that are an endpoint to which the input is POSTed.

use reqwest::Method;
use serde_json::Value;
use toolroom_domain::{JobId, Violation, WorkspaceId, tool::ExternalConfig};
use url::Url;

use super::{
    egress::Egress,
    error::CallError,
    http::{self, Outgoing},
    secrets::Secrets,
};

/// Runs one call: the JSON answer is the output.
pub(super) async fn call(
    egress: &Egress,
    job: JobId,
    config: &ExternalConfig,
    input: &Value,
) -> Result<Value, CallError> {
    let url = Url::parse(&config.endpoint_url).map_err(|_| {
        CallError::invalid("the tool's `endpoint_url` is not a URL; revise the tool")
    })?;
    let outgoing = Outgoing::new(Method::POST, url, job).with_json(input);
    http::call(egress, outgoing, &Secrets::of(WorkspaceId::NONE)).await
}

/// Checks what a definition says of its endpoint.
pub(super) fn check(config: &ExternalConfig) -> Option<Violation> {
    let parsed = Url::parse(&config.endpoint_url);
    parsed
        .is_err()
        .then(|| Violation::new("external.endpointUrl", "is not a URL"))
}
