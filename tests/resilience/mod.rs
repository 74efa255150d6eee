//! What survives.

mod kill;
