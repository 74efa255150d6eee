//! `/session`: a browser exchanges its key or token for a cookie that no script can read.

mod create_session;
mod end_session;
mod list_sessions;
mod revoke_session;

use serde_json::{Value, json};
use toolroom_domain::access::Operation as O;

use super::{Edge, Routes};
use crate::auth::sessions::Session;

const PATH: &str = "/session";

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .post(PATH, O::CreateSession, create_session::handle)
        .get(PATH, O::Sessions, list_sessions::handle)
        .delete(PATH, O::EndSession, end_session::handle)
        .delete("/session/{id}", O::RevokeSession, revoke_session::handle)
}

fn shown(session: &Session, is_current: bool) -> Value {
    json!({
        "id": session.id,
        "workspaceId": session.workspace,
        "createdAt": session.created_at,
        "lastUsedAt": session.last_used_at,
        "expiresAt": session.expires_at,
        "ip": session.ip,
        "userAgent": session.user_agent,
        "current": is_current,
    })
}
