//! `tools.create`: makes a tool of a connector.

use serde_json::{Value, json};
use toolroom_domain::tool::{Details, PolicyOverrides};

use super::{Tool, renamed};
use crate::{
    http::{Problem, fields::Fields},
    rest::{Edge, failure::Failure},
    service::{
        name::Named,
        tools::{self, Behaviour, ConnectorSettings, Credentials, NewTool},
    },
    state::RequestContext,
};

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let of = |error| Failure::renamed(error, &ctx, renamed);
    let (new, is_active) = read(input)?;
    let mut row = tools::register(&edge.state, &ctx, new, None)
        .await
        .map_err(of)?;
    if !is_active {
        // A command of its own, which a repetition of both repeats.
        let mut ctx = ctx.clone();
        if let Some(key) = &mut ctx.idempotency_key {
            key.push_str("/isActive");
        }
        let id = row.id.to_string();
        row = tools::set_active(&edge.state, &ctx, &id, false, None)
            .await
            .map_err(of)?;
    }
    Ok(json!(Tool::from(row)))
}

fn read(mut input: Fields) -> Result<(NewTool, bool), Problem> {
    let name = input.text("name");
    let name = input.required("name", name);
    let connector = input.text("type");
    let connector = input.required("type", connector);
    let credentials = input.object("credentials");
    let credentials = input.required("credentials", credentials);
    let description = input.text("description");
    let tags = input.texts("tags").unwrap_or_default();
    let is_active = input.flag("isActive").unwrap_or(true);
    let violations = input.finish_open();
    let (Some(text), Some(connector), Some(credentials), []) =
        (name, connector, credentials, violations.as_slice())
    else {
        return Err(Problem::invalid(violations));
    };
    let Named { name, title } = Named::of(&text);
    // This contract's clients may leave it out, and a tool has one.
    let description = description
        .filter(|description| !description.trim().is_empty())
        .unwrap_or_else(|| format!("{text}: a {} tool", connector.to_ascii_uppercase()));
    let new = NewTool {
        details: Details {
            name,
            title,
            description,
            category: None,
            tags,
        },
        requires_approval: false,
        policy: PolicyOverrides::default(),
        behaviour: Behaviour::Connector(ConnectorSettings {
            kind: connector,
            credentials: Credentials(Value::Object(credentials)),
            config: None,
        }),
    };
    Ok((new, is_active))
}
