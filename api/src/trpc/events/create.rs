//! `events.create`: makes a schedule that runs an action.
//!
//! What the contract asks for is checked here whole: that the tool is there and of the type that is
//! said, has the action, and takes the parameters. This version keeps no schedules, and says so
//! once all else is right; nothing is recorded.

use http::StatusCode;
use serde_json::{Map, Value};
use toolroom_domain::{ErrorCode, limits::LABEL_CHARS, name::check_label};

use crate::{
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure, present::present},
    service::jobs::{self, Call, ToolSelector},
    state::RequestContext,
    trpc::tools::execute_action::{must_be_of, renamed},
};

/// Characters of a cron expression: far more than its five or six fields need.
const SCHEDULE_CHARS: usize = 200;

/// What starts an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Schedule,
    Manual,
}

/// What a schedule shall run.
#[derive(Debug)]
struct Action {
    tool: String,
    tool_type: Option<String>,
    id: String,
    parameters: Value,
}

/// Where an action's configuration lies in the input.
const CONFIG: &str = "toolActionConfig";

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let action = read(input)?;
    let of = |error| Failure::renamed(error, &ctx, |path| format!("{CONFIG}.{}", renamed(path)));
    let row = present(&edge, &ctx, &action.tool).await?;
    let tool_type = row.definition.config.type_name();
    must_be_of(action.tool_type.as_deref(), tool_type).map_err(of)?;
    let call = Call {
        tool: ToolSelector::Any(row.id.to_string()),
        version: None,
        action: Some(action.id),
        input: action.parameters,
        is_test: false,
    };
    jobs::check(&edge.state, &ctx, &call).await.map_err(of)?;
    let message = "this version keeps no schedules, so nothing was made; run the action with `tools.executeAction`, or once at a later time with GraphQL's `submitJob(runAt: …)`";
    let status = StatusCode::NOT_IMPLEMENTED;
    Err(Problem::new(status, ErrorCode::ServiceUnavailable, message).into())
}

fn read(mut input: Fields) -> Result<Action, Problem> {
    let name = input.text("name");
    if let Some(name) = input.required("name", name)
        && let Err(wrong) = check_label("name", &name, LABEL_CHARS)
    {
        input.refuse("name", wrong.message);
    }
    let kind = input.word("type", &[("TOOL_ACTION", ())]);
    input.required("type", kind);
    let triggers = [("SCHEDULE", Trigger::Schedule), ("MANUAL", Trigger::Manual)];
    let trigger = input.word("triggerType", &triggers);
    let trigger = input.required("triggerType", trigger);
    let schedule = input.text("schedule");
    if trigger == Some(Trigger::Schedule)
        && let Some(schedule) = input.required("schedule", schedule)
    {
        // What its fields may say is the schedule's own rule.
        let fields = schedule.split_ascii_whitespace().count();
        if !matches!(fields, 5 | 6) || schedule.chars().count() > SCHEDULE_CHARS {
            input.refuse(
                "schedule",
                "must be a cron expression of five fields, or six with seconds, such as `0 9 * * *`",
            );
        }
    }
    let config = config(&mut input);
    let mut violations = input.finish_open();
    let action = config
        .map(|config| Fields::under(CONFIG, config))
        .and_then(|mut config| {
            let tool = config.reference("toolId");
            let tool = config.required("toolId", tool);
            let id = config.text("actionId");
            let id = config.required("actionId", id);
            let tool_type = config.text("toolType");
            let parameters = config.object("parameters").unwrap_or_default();
            violations.extend(config.finish_open());
            Some(Action {
                tool: tool?,
                tool_type,
                id: id?,
                parameters: Value::Object(parameters),
            })
        });
    match action {
        Some(action) if violations.is_empty() => Ok(action),
        _ => Err(Problem::invalid(violations)),
    }
}

/// The action's configuration: an object, or one as JSON text, as the contract's example has it.
fn config(input: &mut Fields) -> Option<Map<String, Value>> {
    let sent = input.any(CONFIG).filter(|value| !value.is_null());
    let problem = match input.required(CONFIG, sent)? {
        Value::Object(config) => return Some(config),
        Value::String(text) => match body::parse_object(text.as_bytes()) {
            Ok(config) => return Some(config),
            Err(problem) => problem.message.replace("the body", "its text"),
        },
        _ => "must be an object, or one as JSON text".to_owned(),
    };
    input.refuse(CONFIG, problem);
    None
}
