//! Whether a tool that is no connector's reaches what it calls.

use reqwest::Method;
use serde_json::{Value, json};
use toolroom_domain::tool::{HttpMethod, RestApi, ToolConfig};
use url::Url;

use super::{
    Call, Executor,
    error::CallError,
    http::{Outgoing, Wire, exchange},
    secrets::Secrets,
};

/// Makes the most that changes nothing: a REST call that reads and needs no input, whole; of any
/// other tool that calls the outside a request of `HEAD`, without credentials.
pub(super) async fn test(
    executor: &Executor,
    call: &Call<'_>,
    wire: &Wire<'_>,
) -> Result<Value, CallError> {
    let address = match &call.definition.config {
        ToolConfig::Native(_) | ToolConfig::Connector(_) => {
            return Ok(told(
                "the tool calls nothing outside",
                json!({ "sent": false }),
            ));
        }
        ToolConfig::Rest(rest) => {
            if reads(&rest.api) && takes_nothing(executor, call) {
                executor.outcome(call, wire).await?;
                let details = json!({ "sent": true });
                return Ok(told("the endpoint answers as the tool expects", details));
            }
            &rest.api.base_url
        }
        ToolConfig::External(external) => &external.endpoint_url,
    };
    let Ok(url) = Url::parse(address) else {
        let message = "nothing was sent: where the tool calls depends on its input";
        return Ok(told(message, json!({ "sent": false })));
    };
    let outgoing = Outgoing::new(Method::HEAD, url, wire.step()).written_as(address);
    let answer = exchange(wire, outgoing, &Secrets::of(call.workspace)).await?;
    let status = answer.status.as_u16();
    if answer.status.is_server_error() {
        answer.successful(&Secrets::of(call.workspace))?;
    }
    let message = format!("the server is there: it answers {status} without credentials");
    Ok(told(&message, json!({ "sent": true, "status": status })))
}

/// Whether a call changes nothing, as far as its method says (RFC 9110, section 9.2.1).
pub(super) fn reads(api: &RestApi) -> bool {
    matches!(api.method, HttpMethod::Get | HttpMethod::Head)
}

fn takes_nothing(executor: &Executor, call: &Call<'_>) -> bool {
    let schemas = executor
        .schemas
        .get(call.tool, call.version, call.definition);
    schemas.is_ok_and(|schemas| schemas.input.check(call.input).is_ok())
}

fn told(message: &str, details: Value) -> Value {
    json!({ "success": true, "message": message, "details": details })
}
