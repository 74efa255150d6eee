//! Whole-system stories: the real binary, a real database, real sockets.

mod support;

mod contracts;
mod journeys;
mod resilience;
