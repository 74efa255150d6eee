//! The log's guarantees, each shown by a test that fails when it is broken.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are where chance comes from"
)]

mod support;

#[path = "log/append.rs"]
mod append;
#[path = "log/backup.rs"]
mod backup;
#[path = "log/commands.rs"]
mod commands;
#[path = "log/crash.rs"]
mod crash;
#[path = "log/erasure.rs"]
mod erasure;
#[path = "log/export.rs"]
mod export;
#[path = "log/order.rs"]
mod order;
#[path = "log/proof.rs"]
mod proof;
#[path = "log/reads.rs"]
mod reads;
#[path = "log/vault.rs"]
mod vault;
