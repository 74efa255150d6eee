//! How often a workspace and each of its keys may ask for something, on all nodes together.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff_sqlx::ToSqlx;
use sqlx::{PgPool, Row};
use toolroom_domain::{ApiKeyId, Clock, WorkspaceId, plan::Rate};

use super::{
    bucket::Flow,
    share::{Grant, Source},
};

/// What a node takes at once: 2% of a full bucket, which is 200 ms of the rate at the plans' rates.
/// Five nodes that each hold that are still within a tenth of the burst.
const CHUNK: f64 = 0.02;

/// How often an empty bucket is asked at the most, by one node.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Takes up to `$5` whole tokens of a bucket and says how many: [`super::bucket::Bucket::take`] in
/// SQL. Of what is inserted, `granted` and `tokens` are those of a full bucket.
fn statement() -> String {
    let refilled = "least($3, b.tokens + $4 * greatest(0,
        extract(epoch from excluded.refilled_at - b.refilled_at)::float8))";
    let granted = format!("least($5::float8, floor({refilled}))");
    format!(
        "insert into operational.buckets as b (workspace_id, key, tokens, refilled_at, granted)
         values ($1, $2, $3 - least($5::float8, $3), coalesce($6, clock_timestamp()),
                 least($5::float8, $3)::integer)
         on conflict (workspace_id, key) do update set
             tokens = {refilled} - {granted},
             granted = {granted}::integer,
             refilled_at = greatest(b.refilled_at, excluded.refilled_at)
         returning granted, tokens"
    )
}

/// Buckets that nobody has taken from for this long are full, and need no row.
const FORGOTTEN_AFTER: &str = "1 day";

/// A bucket of `operational.buckets`.
#[derive(Clone)]
pub(super) struct SharedBucket {
    pub(super) pool: PgPool,
    pub(super) workspace: WorkspaceId,
    /// None for the bucket of all the workspace's callers together.
    pub(super) key: Option<ApiKeyId>,
    pub(super) rate: Rate,
    /// A clock in the place of the database's.
    pub(super) clock: Option<Arc<dyn Clock>>,
}

impl SharedBucket {
    fn key(&self) -> String {
        self.key.map_or_else(String::new, |key| key.to_string())
    }
}

/// Removes the rows of a workspace's buckets that are full and stay so, as those of keys do that are
/// used no more.
pub(super) async fn sweep(bucket: SharedBucket) {
    let sql = format!(
        "delete from operational.buckets
         where workspace_id = $1
           and refilled_at < clock_timestamp() - interval '{FORGOTTEN_AFTER}'"
    );
    let swept = sqlx::query(&sql)
        .bind(bucket.workspace.to_string())
        .execute(&bucket.pool)
        .await;
    if let Err(error) = swept {
        tracing::debug!(%error, "buckets that nobody uses were left");
    }
}

#[async_trait]
impl Source for SharedBucket {
    fn chunk(&self) -> u32 {
        // From 1 to 2% of an integer.
        (f64::from(self.rate.burst) * CHUNK).max(1.0) as u32
    }

    async fn take(&self, want: u32) -> Result<Grant, sqlx::Error> {
        let flow = Flow::from(self.rate);
        let now = self.clock.as_ref().map(|clock| clock.now().to_sqlx());
        let row = sqlx::query(&statement())
            .bind(self.workspace.to_string())
            .bind(self.key())
            .bind(flow.burst)
            .bind(flow.per_second)
            .bind(i32::try_from(want).unwrap_or(i32::MAX))
            .bind(now)
            .fetch_one(&self.pool)
            .await?;
        let tokens: f64 = row.try_get("tokens")?;
        let granted: i32 = row.try_get("granted")?;
        Ok(grant(flow, u32::try_from(granted).unwrap_or(0), tokens))
    }
}

/// What it means that so many tokens were granted and so many are left.
pub(super) fn grant(flow: Flow, granted: u32, tokens: f64) -> Grant {
    Grant {
        granted,
        left: tokens.max(0.0) as u64,
        // After that the shared bucket is full without it.
        good_for: flow.time_to_fill(),
        more_in: flow.time_for(1.0 - tokens).max(SHORTEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
    use toolroom_eventlog::testing::TestDatabase;

    use super::{
        super::{bucket::Bucket, tests::HandClock},
        *,
    };

    /// The statement computes what [`Bucket`] does: whatever is asked for, and whenever.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_database_counts_as_the_arithmetic_says() {
        let database = TestDatabase::create().await;
        let pool = database.pool().await;
        let steps = proptest::collection::vec((0..3_000_u64, 0..60_u32), 1..40);
        let mut runner = TestRunner::deterministic();
        for case in 0..8 {
            let steps = steps.new_tree(&mut runner).unwrap().current();
            let clock = HandClock::at("2026-11-21T10:00:00Z");
            let bucket = SharedBucket {
                pool: pool.clone(),
                workspace: WorkspaceId::from_uuid(uuid::Uuid::from_u128(case)),
                key: None,
                rate: Rate {
                    per_second: 10,
                    burst: 100,
                },
                clock: Some(Arc::new(clock.clone())),
            };
            let flow = Flow::from(bucket.rate);
            let mut expected = Bucket::full(flow, clock.now());
            for (wait, want) in steps {
                clock.pass(Duration::from_millis(wait));
                let taken = bucket.take(want).await.unwrap();
                let granted = expected.take(flow, want, clock.now());
                assert_eq!(taken.granted, granted);
                let tokens = expected.tokens(flow, clock.now());
                assert_eq!(taken.left, tokens as u64, "{tokens}");
            }
        }
        pool.close().await;
    }
}
