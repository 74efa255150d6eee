//! `POST /api-keys`: makes an API key, and shows it this once.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use http::{HeaderName, StatusCode, header};

use super::key::{CreatedKey, renamed};
use crate::{
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure},
    service::keys::{self, NewKey},
    state::RequestContext,
};

/// An answer with a secret is kept by nobody on its way.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    request: Request,
) -> Result<
    (
        StatusCode,
        [(HeaderName, &'static str); 1],
        Json<CreatedKey>,
    ),
    Failure,
> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let new = read(Fields::new(object))?;
    let created = keys::create(&edge.state, &ctx, new, None).await;
    let created = created.map_err(|error| Failure::renamed(error, &ctx, renamed))?;
    Ok((StatusCode::CREATED, NO_STORE, Json(created.into())))
}

fn read(mut fields: Fields) -> Result<NewKey, Problem> {
    let (name, role) = (fields.text("name"), fields.role("role"));
    let name = fields.required("name", name);
    let role = fields.required("role", role);
    let expires_at = fields.time("expires_at");
    let violations = fields.finish();
    match (name, role) {
        (Some(name), Some(role)) if violations.is_empty() => Ok(NewKey {
            name,
            role,
            expires_at,
        }),
        _ => Err(Problem::invalid(violations)),
    }
}
