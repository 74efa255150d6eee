//! What is told of a secret: nothing that opens anything.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{Row, postgres::PgRow};

/// A secret as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    /// What tool definitions call it.
    pub name: String,
    /// Its value's version.
    pub version: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its value was set last.
    pub updated_at: Timestamp,
    /// When a job was given the secret of this name last.
    pub last_used_at: Option<Timestamp>,
}

impl SecretRow {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let time =
            |column: &str| Ok::<_, sqlx::Error>(row.try_get::<SqlTimestamp, _>(column)?.to_jiff());
        let used: Option<SqlTimestamp> = row.try_get("last_used_at")?;
        Ok(Self {
            name: row.try_get("name")?,
            version: u32::try_from(row.try_get::<i64, _>("version")?).unwrap_or(u32::MAX),
            created_at: time("created_at")?,
            updated_at: time("updated_at")?,
            last_used_at: used.map(SqlTimestamp::to_jiff),
        })
    }
}
