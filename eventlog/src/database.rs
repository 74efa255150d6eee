//! Migrations.

use sqlx::{
    PgPool,
    migrate::{MigrateError, Migrator},
};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Applies what is missing of the migrations, as the connection's own role.
///
/// # Errors
/// When a migration fails or an applied one differs from this binary's.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    MIGRATIONS.run(pool).await
}

/// A digest of all migrations that this binary knows: what a template database of them may be
/// named by.
pub fn migrations_fingerprint() -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for migration in MIGRATIONS.iter() {
        context.update(&migration.checksum);
    }
    let digest = context.finish();
    digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
