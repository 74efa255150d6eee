//! `PUT /api/v1/secrets/{name}`: gives a secret another value.

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
};
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
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Secret>, Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let value = read(Fields::new(object))?;
    let new = NewValue { name, value };
    let replaced = secrets::replace(&edge.state, &ctx, new, None).await;
    let replaced = replaced.map_err(|error| Failure::of(error, &ctx))?;
    Ok(Json(replaced.into()))
}

fn read(mut fields: Fields) -> Result<Zeroizing<String>, Problem> {
    let value = fields.text("value").map(Zeroizing::new);
    let value = fields.required("value", value);
    let violations = fields.finish();
    value
        .filter(|_| violations.is_empty())
        .ok_or_else(|| Problem::invalid(violations))
}
