//! When a failed attempt is followed by another one.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use crate::{id::JobId, tool::Policy};

/// The longest that the other side may have a job wait. Whoever asks for more has the job fail at
/// once, to be tried again by whoever wants that: a job that is silent for a day helps nobody.
pub const ASKED_MAX: Duration = Duration::from_secs(3_600);

/// Why no further attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// The policy's attempts are used up.
    AttemptsUsedUp {
        /// How many those were.
        attempts: u32,
    },
    /// The other side asks for more patience than [`ASKED_MAX`].
    AskedForTooMuch {
        /// How long it asks to wait.
        asked: Duration,
    },
}

/// How long to wait before the next attempt of a job that has failed `failures` times; none when
/// the policy lets it be. `asked` is what the other side asks to wait (`Retry-After`).
///
/// The pause grows by the policy's multiplier up to its longest one. With jitter the upper half of
/// it is left to chance ("equal jitter" of Marc Brooker, *Exponential Backoff And Jitter*, AWS
/// Architecture Blog, 2015), so that what failed together does not come back together. `chance` is
/// from 0 to 1.
///
/// # Errors
/// Why there is none.
pub fn pause(
    policy: &Policy,
    failures: u32,
    asked: Option<Duration>,
    chance: f64,
) -> Result<Duration, GivenUp> {
    if failures >= policy.max_attempts {
        return Err(GivenUp::AttemptsUsedUp { attempts: failures });
    }
    if let Some(asked) = asked.filter(|asked| *asked > ASKED_MAX) {
        return Err(GivenUp::AskedForTooMuch { asked });
    }
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let longest = Duration::from_millis(policy.max_delay_ms).as_secs_f64();
    let grown = Duration::from_millis(policy.initial_delay_ms).as_secs_f64()
        * policy.backoff_multiplier.powi(exponent);
    let whole = grown.min(longest);
    let own = match policy.jitter {
        true => whole * (0.5 + chance.clamp(0.0, 1.0) / 2.0),
        false => whole,
    };
    let spread = match policy.jitter {
        true => whole * chance.clamp(0.0, 1.0) / 2.0,
        false => 0.0,
    };
    let asked = asked.map_or(0.0, |asked| asked.as_secs_f64() + spread);
    Ok(Duration::from_secs_f64(own.max(asked)))
}

/// A number from 0 to 1 that is the same for the same attempt of the same job, and another for each
/// other: what is random about it are the job's own id's random bits.
pub fn chance(job: JobId, attempt: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (job.uuid().as_u128(), attempt).hash(&mut hasher);
    // The upper 53 bits are what a double holds exactly.
    #[allow(clippy::cast_precision_loss)]
    let upper = (hasher.finish() >> 11) as f64;
    upper / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        Policy {
            max_attempts: 10,
            jitter: false,
            ..Policy::default()
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds: Vec<_> = (1..=6)
            .map(|failures| pause(&policy(), failures, None, 0.9).unwrap().as_secs())
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn after_the_last_attempt_there_is_no_pause() {
        let policy = Policy {
            max_attempts: 3,
            ..policy()
        };
        assert!(pause(&policy, 2, None, 0.0).is_ok());
        assert_eq!(
            pause(&policy, 3, None, 0.0),
            Err(GivenUp::AttemptsUsedUp { attempts: 3 })
        );
    }

    #[test]
    fn what_the_other_side_asks_for_is_waited_for_within_bounds() {
        let asked = Duration::from_secs(42);
        assert_eq!(pause(&policy(), 1, Some(asked), 0.3), Ok(asked));
        let little = Duration::from_millis(1);
        assert_eq!(pause(&policy(), 1, Some(little), 0.3).unwrap().as_secs(), 1);
        let much = ASKED_MAX + little;
        assert_eq!(
            pause(&policy(), 1, Some(much), 0.3),
            Err(GivenUp::AskedForTooMuch { asked: much })
        );
    }

    #[test]
    fn chance_differs_by_attempt_and_repeats() {
        let job = JobId::from_uuid(uuid::Uuid::from_u128(7));
        assert_eq!(chance(job, 1).to_bits(), chance(job, 1).to_bits());
        assert_ne!(chance(job, 1).to_bits(), chance(job, 2).to_bits());
    }

    proptest! {
        #[test]
        fn jitter_leaves_half_of_the_pause_to_chance(
            failures in 1..9_u32, share in 0.0..=1.0, asked in proptest::option::of(0..3_600_u64),
        ) {
            let whole = pause(&policy(), failures, None, 0.0).unwrap();
            let jittered = Policy { jitter: true, ..policy() };
            let asked = asked.map(Duration::from_secs);
            let pause = pause(&jittered, failures, asked, share).unwrap();
            let least = whole.div_f64(2.0).max(asked.unwrap_or_default());
            let most = whole.max(asked.unwrap_or_default() + whole.div_f64(2.0));
            let rounding = Duration::from_nanos(10);
            prop_assert!(pause + rounding >= least && pause <= most + rounding, "{pause:?}");
        }

        #[test]
        fn chance_is_from_0_to_1(job in any::<u128>(), attempt in any::<u32>()) {
            let job = JobId::from_uuid(uuid::Uuid::from_u128(job));
            prop_assert!((0.0..1.0).contains(&chance(job, attempt)));
        }
    }
}
