//! Whether the server can do its work, and how much of it there is.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{PgPool, Row};
use toolroom_projections::ProjectionState;

use super::host::HostReadings;
use crate::state::{AppState, RequestContext};

/// How long an event may wait for its place before the sequencer counts as stuck, and a follower
/// may stand still behind the log: a thousand times what either takes.
const STUCK_AFTER_SECONDS: f64 = 10.0;

/// Use of memory or disk, in percent, from which on the server is degraded.
const NEARLY_FULL: f64 = 95.0;

/// How far back failed jobs are counted, in hours.
const FAILED_WITHIN_HOURS: i32 = 24;

const DATABASE: &str = "database";
const SEQUENCER: &str = "sequencer";

/// How well the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wellbeing {
    /// All is well.
    Healthy,
    /// It works, but something needs a look.
    Degraded,
    /// It cannot do its work.
    Unhealthy,
}

impl Wellbeing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How a part does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It does its work.
    Works,
    /// It does its work, but something of it needs a look.
    Impaired(String),
    /// It does not do its work.
    Down(String),
}

impl Condition {
    /// What is wrong, if anything is.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Works => None,
            Self::Impaired(problem) | Self::Down(problem) => Some(problem),
        }
    }
}

/// One part that the server cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name, such as `database`.
    pub name: String,
    /// How it does.
    pub condition: Condition,
}

impl Part {
    fn new(name: impl Into<String>, condition: Condition) -> Self {
        Self {
            name: name.into(),
            condition,
        }
    }
}

/// What runs jobs, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scheduler {
    /// Whether jobs are taken in and told of.
    pub is_healthy: bool,
    /// Jobs that run or wait to.
    pub active_jobs: i64,
    /// Jobs that failed within the last 24 hours.
    pub failed_jobs: i64,
    /// When a job last succeeded.
    pub last_success: Option<Timestamp>,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// All in one word.
    pub wellbeing: Wellbeing,
    /// Each part.
    pub parts: Vec<Part>,
    /// The machine.
    pub host: HostReadings,
    /// What runs jobs.
    pub scheduler: Scheduler,
}

/// The parts without which requests cannot be answered: the database, the sequencer, the read
/// models.
pub async fn parts(state: &AppState) -> Vec<Part> {
    let pool = state.log.database.projector_pool();
    let waiting = match oldest_unsequenced_seconds(pool).await {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::debug!(%error, "the database does not answer a health check");
            return vec![Part::new(
                DATABASE,
                Condition::Down("does not answer".to_owned()),
            )];
        }
    };
    let sequencer = if waiting > STUCK_AFTER_SECONDS {
        Condition::Down(format!(
            "the oldest event has waited {waiting:.0} s for its place in the log"
        ))
    } else {
        Condition::Works
    };
    let mut parts = vec![
        Part::new(DATABASE, Condition::Works),
        Part::new(SEQUENCER, sequencer),
    ];
    match projections(state).await {
        Ok(projections) => parts.extend(projections),
        Err(error) => {
            tracing::debug!(%error, "the read models cannot be asked");
            let problem = "cannot be asked".to_owned();
            parts.push(Part::new("projections", Condition::Down(problem)));
        }
    }
    parts
}

async fn oldest_unsequenced_seconds(pool: &PgPool) -> Result<f64, sqlx::Error> {
    let waiting: Option<f64> = sqlx::query_scalar(
        "select greatest(extract(epoch from clock_timestamp() - e.recorded_at), 0)::float8
         from events e
         where (e.tx_id, e.global_seq) > ((select cursor_tx from sequencer_state),
                                          (select cursor_seq from sequencer_state))
           and e.global_seq > (select floor_seq from sequencer_state)
         order by e.tx_id, e.global_seq
         limit 1",
    )
    .fetch_optional(pool)
    .await?;
    Ok(waiting.unwrap_or(0.0))
}

async fn projections(state: &AppState) -> Result<Vec<Part>, sqlx::Error> {
    let statuses = state.projections.status().await?;
    let names: Vec<_> = statuses.iter().map(|status| status.name).collect();
    let still: Vec<String> = sqlx::query_scalar(
        "select c.follower
         from checkpoints c, sequencer_state s
         where c.follower = any($1) and c.position < s.position
           and c.updated_at < clock_timestamp() - make_interval(secs => $2)",
    )
    .bind(&names)
    .bind(STUCK_AFTER_SECONDS)
    .fetch_all(state.log.database.projector_pool())
    .await?;
    let parts = statuses.into_iter().map(|status| {
        let is_still = still.iter().any(|name| name == status.name);
        let condition = match status.state {
            ProjectionState::Stopped => Condition::Down("no node takes it forward".to_owned()),
            _ if is_still => Condition::Down("stands still behind the log".to_owned()),
            ProjectionState::Poisoned => {
                Condition::Impaired("holds events back; see `deadLetters`".to_owned())
            }
            ProjectionState::Running | ProjectionState::Rebuilding => Condition::Works,
        };
        Part::new(format!("projection:{}", status.name), condition)
    });
    Ok(parts.collect())
}

/// How the server is, as far as the sender may see: the jobs are those of its workspace.
pub async fn read(state: &AppState, ctx: &RequestContext) -> Health {
    let parts = parts(state).await;
    let host = state.host.read();
    let scheduler = match scheduler(state, ctx).await {
        Ok(scheduler) => scheduler,
        Err(error) => {
            tracing::debug!(%error, "the jobs cannot be counted");
            Scheduler::default()
        }
    };
    Health {
        wellbeing: judge(&parts, host),
        parts,
        host,
        scheduler,
    }
}

fn judge(parts: &[Part], host: HostReadings) -> Wellbeing {
    let keeps_commands_out = |part: &Part| {
        matches!(part.condition, Condition::Down(_))
            && matches!(part.name.as_str(), DATABASE | SEQUENCER)
    };
    let needs_a_look = parts.iter().any(|part| part.condition != Condition::Works)
        || host.memory >= Some(NEARLY_FULL)
        || host.disk >= Some(NEARLY_FULL);
    if parts.iter().any(keeps_commands_out) {
        Wellbeing::Unhealthy
    } else if needs_a_look {
        Wellbeing::Degraded
    } else {
        Wellbeing::Healthy
    }
}

async fn scheduler(state: &AppState, ctx: &RequestContext) -> Result<Scheduler, sqlx::Error> {
    let mut scoped = state.log.database.reads().acquire(ctx.workspace).await?;
    let row = sqlx::query(
        "select (select count(*) from projections.jobs
                 where workspace_id = $1 and status in ('PENDING', 'RUNNING')) as active,
                -- the last day's, which the order by creation finds at once
                (select count(*) from projections.jobs
                 where workspace_id = $1 and status = 'FAILED'
                   and created_at > clock_timestamp() - make_interval(hours => $2)) as failed,
                (select finished_at from projections.jobs
                 where workspace_id = $1 and status = 'SUCCEEDED'
                 order by created_at desc, id desc limit 1) as last_success",
    )
    .bind(ctx.workspace.uuid())
    .bind(FAILED_WITHIN_HOURS)
    .fetch_one(scoped.connection())
    .await?;
    scoped.give_back();
    let last_success: Option<SqlTimestamp> = row.try_get("last_success")?;
    Ok(Scheduler {
        is_healthy: true,
        active_jobs: row.try_get("active")?,
        failed_jobs: row.try_get("failed")?,
        last_success: last_success.map(SqlTimestamp::to_jiff),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: HostReadings = HostReadings {
        cpu: Some(100.0),
        memory: Some(10.0),
        disk: None,
    };

    fn with(name: &str) -> Vec<Part> {
        vec![Part::new(name, Condition::Down("broken".to_owned()))]
    }

    #[test]
    fn only_what_keeps_commands_out_is_unhealthy() {
        assert_eq!(judge(&[], IDLE), Wellbeing::Healthy);
        assert_eq!(judge(&with("database"), IDLE), Wellbeing::Unhealthy);
        assert_eq!(judge(&with("sequencer"), IDLE), Wellbeing::Unhealthy);
        assert_eq!(judge(&with("projection:jobs"), IDLE), Wellbeing::Degraded);
    }

    #[test]
    fn a_disk_that_is_nearly_full_needs_a_look() {
        let full = HostReadings {
            disk: Some(95.0),
            ..IDLE
        };
        assert_eq!(judge(&[], full), Wellbeing::Degraded);
    }
}
