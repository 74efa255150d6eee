//! `POST /tool_usage`: runs a tool and answers with its result.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use serde_json::{Map, Value, json};
use toolroom_domain::job::Status;

use crate::{
    error::ApiError,
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure},
    service::jobs::{self, Call, JobView, MAX_WAIT_MS, ToolSelector},
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    request: Request,
) -> Result<Json<Value>, Failure> {
    let answer = async {
        let object = body::read_object(request, &edge.shell.options).await?;
        let call = read(object)?;
        let of = |error| Failure::renamed(error, &ctx, renamed);
        let job = jobs::execute(&edge.state, &ctx, call, Some(MAX_WAIT_MS), None)
            .await
            .map_err(of)?;
        let written = jobs::last_event(&edge.state, &job).await.map_err(of)?;
        ctx.written.note(written);
        result(&edge, &job).await.map_err(of)
    };
    answer
        .await
        .map(Json)
        .map_err(|failure: Failure| failure.with("result", Value::Null))
}

fn read(object: Map<String, Value>) -> Result<Call, Problem> {
    let mut outer = Fields::new(object);
    let tool_call = outer.object("tool_call");
    let tool_call = outer.required("tool_call", tool_call);
    let mut violations = outer.finish();
    let mut inner = Fields::under("tool_call", tool_call.unwrap_or_default());
    let name = inner.text("name");
    let name = inner.required("name", name);
    let parameters = inner.object("parameters").unwrap_or_default();
    // What the contract does not know, and may be said everywhere.
    let action = inner.text("action");
    let version = inner.version("tool_version");
    let is_test = inner.flag("is_test").unwrap_or(false);
    let wrong_within = inner.finish();
    if violations.is_empty() {
        violations = wrong_within;
    }
    match name {
        Some(name) if violations.is_empty() => Ok(Call {
            tool: ToolSelector::Name(name),
            version,
            action,
            input: Value::Object(parameters),
            is_test,
        }),
        _ => Err(Problem::invalid(violations)),
    }
}

/// The path of a parameter as this contract calls it.
fn renamed(path: &str) -> String {
    match path.strip_prefix("input") {
        Some(rest) => format!("tool_call.parameters{rest}"),
        None if path == "action" => "tool_call.action".to_owned(),
        None if path == "version" => "tool_call.tool_version".to_owned(),
        None => path.to_owned(),
    }
}

async fn result(edge: &Edge, job: &JobView) -> Result<Value, ApiError> {
    Ok(match job.status {
        Status::Succeeded => {
            let result = jobs::output(&edge.state, job).await?;
            json!({ "result": result, "error": null })
        }
        _ => {
            let (_, why) = jobs::why_nothing(job);
            json!({ "result": null, "error": why })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(value: Value) -> Vec<String> {
        let Value::Object(object) = value else {
            panic!("not an object")
        };
        let violations = read(object).map_or_else(|p| p.violations, |_| Box::default());
        violations.into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_whole_path() {
        assert_eq!(paths(json!({})), ["tool_call"]);
        assert_eq!(paths(json!({"tool_call": {}})), ["tool_call.name"]);
        let wrong = json!({"tool_call": {"name": "a", "parameters": [], "args": {}}});
        assert_eq!(paths(wrong), ["tool_call.parameters", "tool_call.args"]);
        let fine = json!({"tool_call": {"name": "a"}});
        assert_eq!(paths(fine), Vec::<String>::new());
    }

    #[test]
    fn parameters_are_called_as_the_contract_calls_them() {
        assert_eq!(renamed("input.text"), "tool_call.parameters.text");
        assert_eq!(renamed("name"), "name");
    }
}
