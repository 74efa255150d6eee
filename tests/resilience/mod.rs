//! What survives.

mod bad_input;
mod database_away;
mod embedded;
mod kill;
