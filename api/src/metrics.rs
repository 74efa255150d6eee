//! Measurements for Prometheus: what is measured where it happens, and what is sampled here.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sqlx::{PgPool, Row};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use toolroom_eventlog::{Database, EventLog};

/// How often what has no moment of its own is sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The bounds of histograms in seconds: from a cached look-up to the longest `executeTool`.
const SECONDS: [f64; 16] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    300.0,
];

/// What has been measured in this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

static INSTALLED: OnceLock<Metrics> = OnceLock::new();

impl Metrics {
    /// Begins to measure, once a process: what was measured before is lost, so call it early.
    pub fn install() -> Self {
        INSTALLED
            .get_or_init(|| {
                let builder = PrometheusBuilder::new();
                let seconds = Matcher::Suffix("_seconds".to_owned());
                // Only an empty list of bounds is refused.
                let builder = builder
                    .set_buckets_for_metric(seconds, &SECONDS)
                    .unwrap_or_default();
                let recorder = builder.build_recorder();
                let handle = recorder.handle();
                if metrics::set_global_recorder(recorder).is_err() {
                    tracing::warn!("something else measures already; /metrics will stay empty");
                }
                describe();
                Self(handle)
            })
            .clone()
    }

    /// All measurements in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

fn describe() {
    use metrics::{Unit, describe_gauge, describe_histogram};
    describe_histogram!(
        "toolroom_http_request_seconds",
        Unit::Seconds,
        "from a request's headers to its answer's, by method, route and status"
    );
    describe_histogram!(
        "toolroom_command_seconds",
        Unit::Seconds,
        "from a command's sending until it is durable, by aggregate"
    );
    describe_gauge!(
        "toolroom_follower_lag_events",
        "events that a follower has yet to take in"
    );
    describe_gauge!(
        "toolroom_horizon_age_seconds",
        Unit::Seconds,
        "how long the oldest open transaction has kept events out of the log's order"
    );
    describe_gauge!(
        "toolroom_pool_connections",
        "connections to the database, by pool and state"
    );
}

/// Samples until `shutdown` what has no moment of its own. Keeps measurements from piling up when
/// nobody asks for them.
pub async fn sample(metrics: Metrics, log: EventLog, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut horizon = Horizon::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        metrics.0.run_upkeep();
        gauge_pools(&log.database);
        match snapshot(log.database.sequencer_pool()).await {
            Ok((oldest, next)) => {
                let age = horizon.age(oldest, next, Instant::now());
                metrics::gauge!("toolroom_horizon_age_seconds").set(age.as_secs_f64());
            }
            Err(error) => tracing::debug!(%error, "could not sample the horizon"),
        }
    }
}

fn gauge_pools(database: &Database) {
    gauge_pool("reads", database.reads().size());
    for (name, pool) in [
        ("commands", database.commands_pool()),
        ("committer", database.committer_pool()),
        ("sequencer", database.sequencer_pool()),
        ("projector", database.projector_pool()),
        ("queue", database.queue_pool()),
        ("authenticator", database.authenticator_pool()),
    ] {
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        gauge_pool(name, (pool.size(), idle));
    }
}

/// How many connections there are, and how many of them are idle.
fn gauge_pool(name: &'static str, (all, idle): (u32, u32)) {
    for (state, connections) in [("used", all.saturating_sub(idle)), ("idle", idle)] {
        metrics::gauge!("toolroom_pool_connections", "pool" => name, "state" => state)
            .set(connections);
    }
}

/// The oldest transaction that is open, and the next one's id.
async fn snapshot(pool: &PgPool) -> Result<(i64, i64), sqlx::Error> {
    let row = sqlx::query(
        "select pg_snapshot_xmin(s)::text::bigint as oldest, pg_snapshot_xmax(s)::text::bigint as next
         from pg_current_snapshot() as s",
    )
    .fetch_one(pool)
    .await?;
    Ok((row.try_get("oldest")?, row.try_get("next")?))
}

/// How long the same transaction has been the oldest. `pg_stat_activity` would tell it at once, but
/// hides other users' transactions from the server's role.
#[derive(Default)]
struct Horizon {
    oldest: Option<(i64, Instant)>,
}

impl Horizon {
    fn age(&mut self, oldest: i64, next: i64, now: Instant) -> Duration {
        if oldest >= next {
            self.oldest = None;
            return Duration::ZERO;
        }
        match self.oldest {
            Some((id, since)) if id == oldest => now - since,
            _ => {
                self.oldest = Some((oldest, now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_ages_while_one_transaction_stays_the_oldest() {
        let mut horizon = Horizon::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(horizon.age(7, 9, at(0)), Duration::ZERO);
        assert_eq!(horizon.age(7, 30, at(3)), Duration::from_secs(3));
        assert_eq!(horizon.age(8, 31, at(4)), Duration::ZERO);
        assert_eq!(horizon.age(8, 31, at(5)), Duration::from_secs(1));
        assert_eq!(horizon.age(31, 31, at(6)), Duration::ZERO, "none is open");
        assert_eq!(horizon.age(31, 32, at(7)), Duration::ZERO);
    }

    #[test]
    fn what_is_measured_is_rendered_by_its_name_and_labels() {
        let metrics = Metrics::install();
        metrics::counter!("toolroom_test_total", "kind" => "a").increment(2);
        metrics::histogram!("toolroom_test_seconds").record(0.003);
        let text = metrics.render();
        assert!(text.contains("toolroom_test_total{kind=\"a\"} 2"), "{text}");
        assert!(text.contains("toolroom_test_seconds_bucket{le=\"0.005\"} 1"));
    }
}
