//! What keeps a workspace, a key or a stranger from taking more than their part.
//!
//! What a plan grants is shared by all nodes, in rows of the database from which each node takes some
//! ahead of need (`share`): requests by token buckets (`rate`), runs of tools by the hour and the
//! day (`quota`). Failed authentications are counted by each node for itself (`stranger`).

pub(crate) mod bucket;
mod each;
mod homeless;
pub(crate) mod http;
mod plans;
mod quota;
mod rate;
mod share;
mod stranger;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use metrics::Counter;
use moka::{policy::EvictionPolicy, sync::Cache};
use toolroom_domain::{
    ApiKeyId, Clock, ErrorCode, WorkspaceId,
    plan::{Grants, Rate},
    workspace::Plan,
};
use toolroom_eventlog::EventLog;
use toolroom_projections::{Reader, usage::Runs};

use crate::{auth::Credential, error::ApiError, state::RequestContext};

use homeless::Homeless;
pub use plans::Plans;
use quota::{Counters, SharedQuota};
use rate::SharedBucket;
use share::{Drawn, Share};
pub use stranger::Strangers;

/// How long a request waits to be counted. It is let in uncounted after that: a database that is
/// away must not look like a client that asks too much.
const COUNT_PATIENCE: Duration = Duration::from_millis(250);

/// For how long requests are let in uncounted once one was, so that not each waits in vain.
const UNCOUNTED_FOR: Duration = Duration::from_secs(1);

/// Buckets and quotas that a node has in hand: some 200 bytes each. What is forgotten is taken anew.
const IN_HAND: u64 = 100_000;

/// After this nothing that was in hand is good any more, the end of an hour's runs included.
const IDLE: Duration = Duration::from_secs(3_600);

const HOUR: Duration = Duration::from_secs(3_600);

/// Counts what was refused because there was too much of it.
fn refusals(limit: &'static str) -> Counter {
    metrics::counter!("toolroom_limit_refusals", "limit" => limit)
}

/// Where a request stands with one of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose limit it is: `workspace`, `key`, or `sender` of whoever is in no workspace.
    pub limit: &'static str,
    /// What is granted.
    pub rate: Rate,
    /// How many more requests would be let in now, as far as this node knows.
    pub left: u64,
}

/// Whether a request is let in, and where that leaves its sender.
#[derive(Debug, Default)]
pub struct Admission {
    /// One for each limit that was looked at; none where nothing is limited.
    pub standings: Vec<Standing>,
    /// Why it is not let in.
    pub refused: Option<ApiError>,
}

/// The runs that a workspace may ask for, and has asked for, in this hour and on this day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// In an hour; none if that is not limited.
    pub hourly_limit: Option<u32>,
    /// In the hour that has begun.
    pub hourly_used: u64,
    /// In a day; none if that is not limited.
    pub daily_limit: Option<u32>,
    /// On the day that has begun.
    pub daily_used: u64,
}

/// What this node has in hand of one quota.
#[derive(Clone)]
struct InHand {
    share: Arc<Share>,
    is_compared: Arc<AtomicBool>,
}

struct Inner {
    is_on: bool,
    plans: Arc<dyn Plans>,
    homeless: Homeless,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    buckets: Cache<(WorkspaceId, Option<ApiKeyId>), Arc<Share>>,
    quotas: Cache<WorkspaceId, InHand>,
    /// Until when requests are let in uncounted.
    uncounted_until: Mutex<Timestamp>,
}

/// What plans limit. Cheap to clone.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

/// A run that may be asked for. Whoever does not ask for it after all gives it back; it is not given
/// back by being dropped, since a run goes on when its sender goes away.
#[must_use = "a run that is not asked for is to be given back"]
pub struct Reservation(Option<Arc<Share>>);

impl Reservation {
    /// The run was not asked for.
    pub fn give_back(self) {
        if let Some(share) = self.0 {
            share.put_back();
        }
    }
}

impl Limits {
    /// Limits by the plans that `plans` tells; none at all where `is_on` is false.
    pub fn new(
        log: EventLog,
        projections: Reader,
        plans: Arc<dyn Plans>,
        clock: Arc<dyn Clock>,
        is_on: bool,
    ) -> Self {
        let counters = Counters {
            log,
            projections,
            clock: None,
        };
        Self::with(counters, plans, clock, is_on)
    }

    /// As [`Self::new`], with this clock in the place of the database's too.
    pub fn by_one_clock(
        log: EventLog,
        projections: Reader,
        plans: Arc<dyn Plans>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let counters = Counters {
            log,
            projections,
            clock: Some(Arc::clone(&clock)),
        };
        Self::with(counters, plans, clock, true)
    }

    fn with(counters: Counters, plans: Arc<dyn Plans>, clock: Arc<dyn Clock>, is_on: bool) -> Self {
        Self(Arc::new(Inner {
            is_on,
            plans,
            homeless: Homeless::new(Arc::clone(&clock)),
            clock,
            counters: Arc::new(counters),
            buckets: in_hand(),
            quotas: in_hand(),
            uncounted_until: Mutex::new(Timestamp::MIN),
        }))
    }

    async fn grants(&self, workspace: WorkspaceId) -> Result<Option<Grants>, ApiError> {
        if !self.0.is_on {
            return Ok(None);
        }
        let plan = self.0.plans.plan_of(workspace).await?;
        Ok(plan.map(Plan::grants))
    }

    /// Counts a request of a workspace, and of the key that it came with. While the database is away
    /// requests are let in uncounted.
    pub async fn admit(&self, workspace: WorkspaceId, key: Option<ApiKeyId>) -> Admission {
        if !self.0.is_on || self.is_uncounted() {
            return Admission::default();
        }
        match tokio::time::timeout(COUNT_PATIENCE, self.count(workspace, key)).await {
            Ok(Ok(admission)) => admission,
            Ok(Err(error)) => self.uncounted(&error),
            Err(_) => self.uncounted(&ApiError::unavailable()),
        }
    }

    /// As [`Self::admit`], for a request's sender.
    pub(crate) async fn admit_request(&self, ctx: &RequestContext) -> Admission {
        if ctx.workspace == WorkspaceId::NONE && self.0.is_on {
            return self.0.homeless.admit(ctx);
        }
        let key = match &ctx.credential {
            Credential::Key { id, .. } => Some(*id),
            _ => None,
        };
        self.admit(ctx.workspace, key).await
    }

    async fn count(
        &self,
        workspace: WorkspaceId,
        key: Option<ApiKeyId>,
    ) -> Result<Admission, ApiError> {
        let mut admission = Admission::default();
        let Some(grants) = self.grants(workspace).await? else {
            return Ok(admission);
        };
        let of_key = match key {
            None => None,
            Some(key) => {
                let (share, drawn) = self.draw(workspace, Some(key), grants.key).await?;
                admission.note("key", grants.key, drawn);
                if admission.refused.is_some() {
                    return Ok(admission);
                }
                Some(share)
            }
        };
        let (_, drawn) = self.draw(workspace, None, grants.workspace).await?;
        admission.note("workspace", grants.workspace, drawn);
        if admission.refused.is_some()
            && let Some(share) = of_key
        {
            share.put_back();
        }
        Ok(admission)
    }

    async fn draw(
        &self,
        workspace: WorkspaceId,
        key: Option<ApiKeyId>,
        rate: Rate,
    ) -> Result<(Arc<Share>, Drawn), sqlx::Error> {
        let inner = &self.0;
        let source = SharedBucket {
            pool: inner.counters.log.database.authenticator_pool().clone(),
            workspace,
            key,
            rate,
            clock: inner.counters.clock.clone(),
        };
        let id = (workspace, key);
        let share = match inner.buckets.get(&id) {
            Some(share) => share,
            None => {
                if key.is_some() {
                    tokio::spawn(rate::sweep(source.clone()));
                }
                inner
                    .buckets
                    .get_with(id, || Share::new(Arc::clone(&inner.clock)))
            }
        };
        let drawn = share.draw(&source).await?;
        Ok((share, drawn))
    }

    fn is_uncounted(&self) -> bool {
        let until = *self
            .0
            .uncounted_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let left = until.duration_since(self.0.clock.now());
        // A clock that went back would otherwise leave them uncounted for as long as it went.
        left.is_positive() && left.unsigned_abs() <= UNCOUNTED_FOR
    }

    fn uncounted(&self, error: &ApiError) -> Admission {
        metrics::counter!("toolroom_limit_uncounted").increment(1);
        tracing::warn!(%error, "requests cannot be counted and are let in");
        let until = self.0.clock.now().checked_add(UNCOUNTED_FOR);
        *self
            .0
            .uncounted_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = until.unwrap_or(Timestamp::MAX);
        Admission::default()
    }

    /// Takes one of the runs that a workspace's plan grants. To be asked before a run is asked for.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED` with the time until the hour or the day ends; or when the database does not
    /// answer, without which the run could not be asked for either.
    pub async fn reserve(&self, workspace: WorkspaceId) -> Result<Reservation, ApiError> {
        let Some(grants) = self.grants(workspace).await? else {
            return Ok(Reservation(None));
        };
        let inner = &self.0;
        let InHand { share, is_compared } = inner.quotas.get_with(workspace, || InHand {
            share: Share::new(Arc::clone(&inner.clock)),
            is_compared: Arc::default(),
        });
        let source = SharedQuota {
            counters: Arc::clone(&inner.counters),
            workspace,
            grants,
            is_compared,
        };
        match share.draw(&source).await? {
            Drawn::Granted { .. } => Ok(Reservation(Some(share))),
            Drawn::Refused { more_in } => {
                refusals("quota").increment(1);
                Err(exceeded(grants, more_in))
            }
        }
    }

    /// The runs that a workspace may ask for, and has asked for as far as the log's count has come.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn quota(&self, workspace: WorkspaceId) -> Result<Quota, ApiError> {
        let grants = self.grants(workspace).await?;
        let Runs { hour, day, .. } = self.0.counters.runs(workspace).await?;
        Ok(Quota {
            hourly_limit: grants.map(|grants| grants.runs_per_hour),
            hourly_used: hour,
            daily_limit: grants.map(|grants| grants.runs_per_day),
            daily_used: day,
        })
    }

    /// Gives back the runs that this node has in hand, when it stops.
    pub async fn give_back(&self) {
        for (workspace, InHand { share, is_compared }) in &self.0.quotas {
            // Whoever comes after this takes from the row again.
            is_compared.store(false, Ordering::Release);
            let runs = share.empty();
            if runs == 0 {
                continue;
            }
            if let Err(error) = self.0.counters.give_back(*workspace, runs).await {
                tracing::debug!(%error, "runs that were in hand could not be given back");
                return;
            }
        }
    }
}

impl Admission {
    fn note(&mut self, limit: &'static str, rate: Rate, drawn: Drawn) {
        let left = match drawn {
            Drawn::Granted { left } => left,
            Drawn::Refused { more_in } => {
                refusals(limit).increment(1);
                let error = ApiError::new(
                    ErrorCode::RateLimitExceeded,
                    format!(
                        "the {limit} may send {} requests a second, {} at once after a pause; wait, and send them more slowly",
                        rate.per_second, rate.burst
                    ),
                );
                self.refused = Some(error.retry_after(more_in));
                0
            }
        };
        self.standings.push(Standing { limit, rate, left });
    }
}

fn exceeded(grants: Grants, more_in: Duration) -> ApiError {
    let (runs, window) = match more_in > HOUR {
        true => (grants.runs_per_day, "day"),
        false => (grants.runs_per_hour, "hour"),
    };
    let error = ApiError::new(
        ErrorCode::QuotaExceeded,
        format!(
            "the {runs} runs that the workspace's plan grants for this {window} (UTC) are used up; wait for the next, or have the plan raised"
        ),
    );
    error.retry_after(more_in)
}

fn in_hand<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(IN_HAND)
        .eviction_policy(EvictionPolicy::lru())
        .time_to_idle(IDLE)
        .build()
}
