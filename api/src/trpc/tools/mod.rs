//! `tools.*`: the tools of a workspace, and what is done with them.

pub(super) mod create;
pub(super) mod delete;
pub(super) mod execute_action;
pub(super) mod get_all;
pub(super) mod get_by_id;
pub(super) mod get_stats;
mod result;
pub(super) mod test_connection;
mod tool;
pub(super) mod update;

use tool::{Tool, renamed};
