//! An API key as this contract shows it.

use serde::Serialize;
use toolroom_domain::Role;

use crate::service::keys::{Created, KeyView};

/// An API key as this contract shows it.
#[derive(Serialize)]
pub(super) struct Key {
    id: String,
    name: String,
    prefix: String,
    role: Role,
    operator: bool,
    created_by: String,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

impl From<KeyView> for Key {
    fn from(view: KeyView) -> Self {
        let text = |time: jiff::Timestamp| time.to_string();
        Self {
            id: view.row.id.to_string(),
            name: view.row.name,
            prefix: view.row.prefix,
            role: view.row.role,
            operator: view.row.operator,
            created_by: view.row.created_by,
            created_at: text(view.row.created_at),
            expires_at: view.row.expires_at.map(text),
            last_used_at: view.last_used_at.map(text),
            revoked_at: view.row.revoked_at.map(text),
        }
    }
}

/// A key that was just made, with its secret unless the request was repeated.
#[derive(Serialize)]
pub(super) struct CreatedKey {
    api_key: Key,
    secret: Option<String>,
}

impl From<Created> for CreatedKey {
    fn from(created: Created) -> Self {
        Self {
            api_key: created.key.into(),
            secret: created.secret.map(|secret| secret.reveal().to_owned()),
        }
    }
}

/// A field's path as this contract calls it.
pub(super) fn renamed(path: &str) -> String {
    match path {
        "expiresAt" => "expires_at".to_owned(),
        other => other.to_owned(),
    }
}
