//! A place in the log, as clients hold it.

use std::fmt;
use std::str::FromStr;

/// Positions that fit into one log epoch: at 100,000 events a second, three centuries.
const EPOCH_SPAN: i64 = 1_000_000_000_000_000;

/// The place of an event in the global log: opaque and ordered, a decimal string outside.
///
/// It carries the log's epoch, which grows when a recovery may have lost the tail, so that a
/// position handed out before is known as stale instead of naming another event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    epoch: i32,
    value: i64,
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is a decimal string, as `lastEvent` or `position` give it")]
pub struct ParsePositionError;

/// A position of a log that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the position is of log epoch {held}, the log is at epoch {current}: a recovery came between; read again from the beginning"
)]
pub struct StaleEpoch {
    held: i32,
    current: i32,
}

impl Position {
    /// The position `value` of epoch `epoch`.
    pub const fn new(epoch: i32, value: i64) -> Self {
        Self { epoch, value }
    }

    /// The log's epoch in which it was handed out.
    pub const fn epoch(self) -> i32 {
        self.epoch
    }

    /// The dense number that it had in the log of its own epoch. For proofs alone, which know that
    /// it may name another event since: whoever reads on from a position needs [`Self::value_in`].
    pub const fn dense(self) -> i64 {
        self.value
    }

    /// The dense number within the log, which begins with 1; 0 is before the first event.
    ///
    /// # Errors
    /// When the position is of another epoch than the log's.
    pub fn value_in(self, epoch: i32) -> Result<i64, StaleEpoch> {
        if self.epoch == epoch {
            Ok(self.value)
        } else {
            Err(StaleEpoch {
                held: self.epoch,
                current: epoch,
            })
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", i64::from(self.epoch) * EPOCH_SPAN + self.value)
    }
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParsePositionError);
        }
        let number: i64 = text.parse().map_err(|_| ParsePositionError)?;
        Ok(Self {
            epoch: i32::try_from(number / EPOCH_SPAN).map_err(|_| ParsePositionError)?,
            value: number % EPOCH_SPAN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_and_ordered() {
        let early = Position::new(0, 41);
        let late = Position::new(2, 7);
        assert_eq!(early.to_string(), "41");
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(late.to_string().parse(), Ok(late));
        assert!(early < late);
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "-1", "+1", "1.5", "x", "99999999999999999999"] {
            assert_eq!(text.parse::<Position>(), Err(ParsePositionError), "{text}");
        }
    }

    #[test]
    fn a_position_of_another_epoch_is_stale() {
        assert!(Position::new(0, 41).value_in(1).is_err());
    }
}
