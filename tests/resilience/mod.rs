//! What survives.

mod bad_input;
mod broken_tools;
mod database_away;
mod embedded;
mod fault_points;
mod kill;
