//! The event log, and the embedded PostgreSQL beneath it.

pub mod database;
pub mod embedded;
#[cfg(feature = "testing")]
pub mod testing;

pub use database::migrate;
