//! A secret as this contract shows it: all but its value.

use serde::Serialize;
use toolroom_projections::secrets::SecretRow;

/// A secret as this contract shows it.
#[derive(Serialize)]
pub(super) struct Secret {
    name: String,
    version: u32,
    created_at: String,
    updated_at: String,
    last_used_at: Option<String>,
}

impl From<SecretRow> for Secret {
    fn from(row: SecretRow) -> Self {
        Self {
            name: row.name,
            version: row.version,
            created_at: row.created_at.to_string(),
            updated_at: row.updated_at.to_string(),
            last_used_at: row.last_used_at.map(|at| at.to_string()),
        }
    }
}
