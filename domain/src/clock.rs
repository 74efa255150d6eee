//! The present moment, handed in.

use jiff::Timestamp;

/// Tells the time. The binary hands in the system's clock, a test its own.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}
