//! `POST /api/v1/secrets`: creates a secret.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use http::StatusCode;
use zeroize::Zeroizing;

use super::secret::Secret;
use crate::{
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure},
    service::secrets::{self, NewValue},
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    request: Request,
) -> Result<(StatusCode, Json<Secret>), Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let new = read(Fields::new(object))?;
    let created = secrets::create(&edge.state, &ctx, new, None).await;
    let created = created.map_err(|error| Failure::of(error, &ctx))?;
    Ok((StatusCode::CREATED, Json(created.into())))
}

fn read(mut fields: Fields) -> Result<NewValue, Problem> {
    let (name, value) = (
        fields.text("name"),
        fields.text("value").map(Zeroizing::new),
    );
    let name = fields.required("name", name);
    let value = fields.required("value", value);
    let violations = fields.finish();
    match (name, value) {
        (Some(name), Some(value)) if violations.is_empty() => Ok(NewValue { name, value }),
        _ => Err(Problem::invalid(violations)),
    }
}
