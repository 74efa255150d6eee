//! Real databases for tests.
//!
//! [`TestDatabase`] is an empty, migrated database of a test's own on a server that all test
//! processes of this target folder share. [`TestCluster`] is a whole durable server of a test's
//! own, for tests that kill it or measure it.

mod cluster;
mod database;
mod shared;

pub use self::{cluster::TestCluster, database::TestDatabase};
