//! Doing the same thing over and over, and how long it took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

/// How often something was done, and how long each time took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How often a second.
    pub per_second: f64,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// What one in a hundred took longer than, in milliseconds.
    pub p99_ms: f64,
}

impl Rate {
    /// Of what took each so long, all of it within `elapsed`.
    ///
    /// # Errors
    /// When nothing was done.
    pub fn of(mut taken: Vec<Duration>, elapsed: Duration) -> anyhow::Result<Self> {
        if taken.is_empty() {
            bail!("nothing was done within {} s", elapsed.as_secs());
        }
        taken.sort_unstable();
        let quantile_ms =
            |q: f64| taken[((taken.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
        Ok(Self {
            per_second: taken.len() as f64 / elapsed.as_secs_f64(),
            p50_ms: quantile_ms(0.5),
            p99_ms: quantile_ms(0.99),
        })
    }
}

/// Does `act` for `time` in so many loops beside each other.
///
/// # Errors
/// With the first that fails; the others are dropped then.
pub async fn rate<F, Fut>(clients: u16, time: Duration, act: F) -> anyhow::Result<Rate>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let act = Arc::new(act);
    let begun = Instant::now();
    let mut loops = JoinSet::new();
    for _ in 0..clients {
        let act = Arc::clone(&act);
        loops.spawn(async move {
            let mut taken = Vec::new();
            while begun.elapsed() < time {
                let one = Instant::now();
                act().await?;
                taken.push(one.elapsed());
            }
            anyhow::Ok(taken)
        });
    }
    let mut taken = Vec::new();
    while let Some(ended) = loops.join_next().await {
        taken.append(&mut ended.context("a client died")??);
    }
    Rate::of(taken, begun.elapsed())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let taken = (1..=101).rev().map(Duration::from_millis).collect();
        let rate = Rate::of(taken, Duration::from_secs(2)).unwrap();
        assert_eq!(
            rate,
            Rate {
                per_second: 50.5,
                p50_ms: 51.0,
                p99_ms: 100.0
            }
        );
        assert!(Rate::of(Vec::new(), Duration::from_secs(1)).is_err());
    }

    #[tokio::test]
    async fn a_failure_ends_the_load() {
        let tries = Arc::new(AtomicU32::new(0));
        let act = {
            let tries = Arc::clone(&tries);
            move || {
                let fails = tries.fetch_add(1, Ordering::Relaxed) == 2;
                async move {
                    tokio::task::yield_now().await;
                    if fails { bail!("out of luck") } else { Ok(()) }
                }
            }
        };
        let failed = rate(2, Duration::from_secs(600), act).await.unwrap_err();
        assert_eq!(failed.to_string(), "out of luck");
    }
}
