//! Measuring several in turns, so that what the machine does meanwhile hits all of them.

use std::fmt;

use crate::cli::bench::load::Rate;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// In which round, from 0.
    pub round: u16,
    /// Of how many rounds.
    pub rounds: u16,
    /// Whose.
    pub who: usize,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {} of {}", self.round + 1, self.rounds)
    }
}

/// What was measured in each round, of each who took turns.
#[derive(Debug, Default)]
pub struct Rounds(Vec<Vec<Rate>>);

/// Ratios of all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    lowest: f64,
    median: f64,
    highest: f64,
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lowest,
            median,
            highest,
        } = self;
        write!(f, "{median:.2} ({lowest:.2}–{highest:.2})")
    }
}

/// Gives each of `many` a turn in each round. Each round begins with another, so that none always
/// comes after the same one.
///
/// # Errors
/// With the first turn that fails.
pub async fn take_turns(
    rounds: u16,
    many: usize,
    mut measure: impl AsyncFnMut(Turn) -> anyhow::Result<Rate>,
) -> anyhow::Result<Rounds> {
    let mut measured = vec![Vec::with_capacity(usize::from(rounds)); many];
    for round in 0..rounds {
        for place in 0..many {
            let who = (place + usize::from(round)) % many;
            let rate = measure(Turn { round, rounds, who }).await?;
            measured[who].push(rate);
        }
    }
    Ok(Rounds(measured))
}

impl Rounds {
    /// The median of each figure.
    pub fn median(&self, who: usize) -> Rate {
        let of = |figure: fn(&Rate) -> f64| Spread::of(self.0[who].iter().map(figure)).median;
        Rate {
            per_second: of(|rate| rate.per_second),
            p50_ms: of(|rate| rate.p50_ms),
            p99_ms: of(|rate| rate.p99_ms),
        }
    }

    /// A figure as a part of the same figure of `base` in the same round.
    pub fn ratio(&self, who: usize, base: usize, figure: fn(&Rate) -> f64) -> Spread {
        let pairs = self.0[who].iter().zip(&self.0[base]);
        Spread::of(pairs.map(|(rate, base)| figure(rate) / figure(base)))
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self {
            lowest: at(0),
            // Of an even number the mean of the two in the middle.
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            highest: at(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: f64) -> Rate {
        Rate {
            per_second,
            p50_ms: 1.0 / per_second,
            p99_ms: 2.0 / per_second,
        }
    }

    #[tokio::test]
    async fn each_has_a_turn_in_each_round_and_begins_one() {
        let mut order = Vec::new();
        let measured = take_turns(3, 3, async |turn| {
            order.push((turn.round, turn.who));
            Ok(rate(1.0))
        });
        measured.await.unwrap();
        let expected = [
            [(0, 0), (0, 1), (0, 2)],
            [(1, 1), (1, 2), (1, 0)],
            [(2, 2), (2, 0), (2, 1)],
        ];
        assert_eq!(order, expected.concat());
    }

    #[test]
    fn a_ratio_is_of_one_round() {
        // The machine was half as fast in the second round, for both alike.
        let rounds = Rounds(vec![
            [100.0, 50.0, 100.0].map(rate).to_vec(),
            [90.0, 45.0, 80.0].map(rate).to_vec(),
        ]);
        let ratio = rounds.ratio(1, 0, |rate| rate.per_second);
        assert_eq!(ratio.to_string(), "0.90 (0.80–0.90)");
        assert!((rounds.median(1).per_second - 80.0).abs() < 1e-9);
        assert!((rounds.median(0).p50_ms - 0.01).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_two_lies_between_them() {
        assert_eq!(
            Spread::of([1.0, 2.0].into_iter()).to_string(),
            "1.50 (1.00–2.00)"
        );
        assert_eq!(
            Spread::of([3.0].into_iter()).to_string(),
            "3.00 (3.00–3.00)"
        );
    }
}
