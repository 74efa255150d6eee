//! The system's clock: the one place that reads it.

use jiff::Timestamp;
use toolroom_domain::Clock;

/// Reads the system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the clock that others are handed"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
