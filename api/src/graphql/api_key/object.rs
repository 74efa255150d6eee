//! An API key.

use async_graphql::{ID, SimpleObject};

use crate::{
    graphql::{scalar::DateTime, workspace::Role},
    service::keys::{Created, KeyView},
};

/// A key by which a program is known, without what opens anything.
#[derive(SimpleObject)]
pub struct ApiKey {
    /// The key's id.
    id: ID,
    /// What people call it.
    name: String,
    /// The part of the key that is no secret: what follows `tr_`.
    prefix: String,
    /// What its holder may do.
    role: Role,
    /// Whether its holder runs the server: may do everything in every workspace, whatever the role.
    operator: bool,
    /// Who made it: `user:…`, `key:…` or, where no server was asked, `system:…`.
    created_by: String,
    /// When it was made.
    created_at: DateTime,
    /// From this moment on it opens nothing; never, if null.
    expires_at: Option<DateTime>,
    /// When it was last shown, some seconds late.
    last_used_at: Option<DateTime>,
    /// Since when it opens nothing.
    revoked_at: Option<DateTime>,
}

impl From<KeyView> for ApiKey {
    fn from(view: KeyView) -> Self {
        Self {
            id: view.row.id.to_string().into(),
            name: view.row.name,
            prefix: view.row.prefix,
            role: view.row.role.into(),
            operator: view.row.operator,
            created_by: view.row.created_by,
            created_at: view.row.created_at.into(),
            expires_at: view.row.expires_at.map(DateTime::from),
            last_used_at: view.last_used_at.map(DateTime::from),
            revoked_at: view.row.revoked_at.map(DateTime::from),
        }
    }
}

/// A key that was just made.
#[derive(SimpleObject)]
pub struct CreatedApiKey {
    /// The key.
    api_key: ApiKey,
    /// Shown once: null when the command is repeated.
    secret: Option<String>,
}

impl From<Created> for CreatedApiKey {
    fn from(created: Created) -> Self {
        Self {
            api_key: created.key.into(),
            secret: created.secret.map(|secret| secret.reveal().to_owned()),
        }
    }
}
