//! Whole-system stories: the real binary, a real database, real sockets.

#![allow(
    clippy::disallowed_methods,
    reason = "a test is the outside: it has clients and a clock of its own"
)]

mod support;

mod contracts;
mod journeys;
mod resilience;
mod security;
