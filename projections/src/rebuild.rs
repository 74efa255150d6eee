//! Fills a projection's tables anew beside those that serve, and exchanges them.
//!
//! A rebuild is a follower of its own with a checkpoint of its own, so it goes on where it was
//! when its process is killed. It needs nothing of whoever feeds the serving tables: the exchange
//! fences that follower off, which then goes on with the new tables.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgPool};
use tokio_util::sync::CancellationToken;
use toolroom_eventlog::{
    EventLog, Feed, checkpoint::Lease, command::Receipt, feed::READ_EVENTS, ids, kept::Kept,
};

use crate::{
    erasure,
    follower::{Follower, Stop},
    generation::{self, Installed, Next},
    projection::{Projection, Tables},
};

/// Events that are applied within the exchange, while readers wait: what the serving tables have
/// got since the rebuild last looked.
const SWAP_EVENTS: i64 = 200;

/// How long to wait before another try, when readers did not make room for the exchange or the
/// database does not answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// How often to look how far another process's rebuild is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How far a rebuild is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which projection.
    pub projection: &'static str,
    /// Up to where its new tables are filled.
    pub position: i64,
    /// Where the log ends.
    pub head: i64,
}

/// Why a rebuild was not done.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is none of this name.
    #[error("there is no projection `{name}`; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It was told to stop; the next start goes on with it.
    #[error("the rebuild was interrupted; it goes on at the next start")]
    Interrupted,
    /// Events do not fit, or the database does not answer.
    #[error("the rebuild of `{projection}` cannot go on: {reason}")]
    Stopped {
        /// Which projection.
        projection: &'static str,
        /// Why.
        reason: String,
    },
    /// It could not be asked for.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Rebuilds one projection, or all, and returns when the new tables serve. Works beside running
/// servers: if one of them is at it already, this looks on.
///
/// # Errors
/// When there is no such projection, or the rebuild cannot go on.
pub async fn rebuild_blocking(
    log: &EventLog,
    projections: &[Arc<dyn Projection>],
    name: &str,
    shutdown: &CancellationToken,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(), RebuildError> {
    let wanted: Vec<_> = projections
        .iter()
        .filter(|projection| name == "all" || projection.name() == name)
        .collect();
    if wanted.is_empty() {
        return Err(unknown(projections, name));
    }
    let holder = format!("rebuild-{}", ids::new_uuid().simple());
    for projection in wanted {
        let stopped = |reason: String| RebuildError::Stopped {
            projection: projection.name(),
            reason,
        };
        let pool = log.database.projector_pool();
        let asked = ask(pool, projection.as_ref(), None);
        let next = asked.await.map_err(|error| stopped(error.to_string()))?;
        let looking = look_on(log, projection, next, &holder, shutdown, &mut progress);
        looking.await.map_err(|stop| stopped(stop.to_string()))?;
        if shutdown.is_cancelled() {
            return Err(RebuildError::Interrupted);
        }
    }
    Ok(())
}

/// The error for a name that no projection has.
pub(crate) fn unknown(projections: &[Arc<dyn Projection>], name: &str) -> RebuildError {
    let known: Vec<_> = projections.iter().map(|p| p.name()).collect();
    RebuildError::Unknown {
        name: name.to_owned(),
        known: known.join(", "),
    }
}

/// Asks for a rebuild, installing the projection first where it is not.
pub(crate) async fn ask(
    pool: &PgPool,
    projection: &dyn Projection,
    receipt: Option<Receipt>,
) -> Result<Option<Next>, sqlx::Error> {
    generation::install(pool, projection).await?;
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    let asked = generation::request_in_tx(&mut tx, projection).await?;
    if let Some(receipt) = receipt {
        receipt.keep_in_tx(&mut tx, &()).await?;
    }
    tx.commit().await?;
    Ok(asked.next)
}

/// Does what is left of a rebuild, or looks on while another process does it.
async fn look_on(
    log: &EventLog,
    projection: &Arc<dyn Projection>,
    wanted: Option<Next>,
    holder: &str,
    shutdown: &CancellationToken,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), Stop> {
    let pool = log.database.projector_pool();
    loop {
        let installed = generation::find(pool, projection.as_ref()).await?;
        let next = installed.and_then(|installed| installed.next);
        if next.is_none() || next != wanted || shutdown.is_cancelled() {
            return Ok(());
        }
        let done = work(
            pool,
            &log.feed,
            projection,
            holder,
            shutdown,
            &mut *progress,
        )
        .await?;
        if !done {
            let position = position(pool, projection.name()).await?;
            let head = log.feed.head().await?.position;
            progress(Progress {
                projection: projection.name(),
                position,
                head,
            });
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}

async fn position(pool: &PgPool, name: &str) -> Result<i64, sqlx::Error> {
    let position: Option<i64> =
        sqlx::query_scalar("select position from checkpoints where follower = $1")
            .bind(generation::rebuild_follower(name))
            .fetch_optional(pool)
            .await?;
    Ok(position.unwrap_or(0))
}

/// Does what is left of a rebuild that is under way; says whether it did. It did not when none is
/// under way, another process is at it, or `shutdown` came.
pub(crate) async fn work(
    pool: &PgPool,
    feed: &Feed,
    projection: &Arc<dyn Projection>,
    holder: &str,
    shutdown: &CancellationToken,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<bool, Stop> {
    let installed = generation::find(pool, projection.as_ref()).await?;
    let Some(Installed {
        next: Some(next), ..
    }) = installed
    else {
        return Ok(false);
    };
    if next.version != projection.version() {
        return Ok(false);
    }
    let follower = generation::rebuild_follower(projection.name());
    let Some(lease) = Lease::acquire(pool, &follower, holder).await? else {
        return Ok(false);
    };
    let tables = Tables::beside(next.generation);
    let mut follower = Follower::resume(pool, Arc::clone(projection), tables, lease).await?;
    let mut connection = Kept::new(pool);
    let limit = usize::try_from(READ_EVENTS).unwrap_or(usize::MAX);
    let mut head = feed.head().await?.position;
    let mut events = feed.read(follower.seen(), limit).await?;
    while !shutdown.is_cancelled() {
        if let Some(last) = events.last().map(|event| event.position) {
            let advance = follower.advance(&mut connection, &events, |position| {
                progress(Progress {
                    projection: projection.name(),
                    position,
                    head: head.max(position),
                });
            });
            // The next events are read while these are applied.
            let (advanced, next_events) = tokio::join!(advance, feed.read(last, limit));
            advanced?;
            events = next_events?;
            continue;
        }
        head = feed.head().await?.position;
        if head <= follower.seen() {
            follower.flush(&mut connection).await?;
            connection.release();
            if swap(pool, feed, projection, next, &mut follower).await? {
                return Ok(true);
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(RETRY_INTERVAL) => {}
            }
        }
        // This process may not sequence, and then nobody else tells its feed of what is new.
        feed.refresh().await;
        events = feed.read(follower.seen(), limit).await?;
    }
    follower.release(&mut connection).await?;
    Ok(false)
}

/// Exchanges the tables, applying what the serving ones are ahead; says whether it did. It did not
/// when readers left no room in time or there is too much to apply.
async fn swap(
    pool: &PgPool,
    feed: &Feed,
    projection: &Arc<dyn Projection>,
    next: Next,
    follower: &mut Follower,
) -> Result<bool, Stop> {
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    let serving = match generation::begin_swap(&mut tx, projection.as_ref()).await {
        Ok(serving) => serving,
        Err(error) if is_contended(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let ahead = serving - follower.seen();
    if ahead > SWAP_EVENTS {
        return Ok(false);
    }
    if ahead > 0 {
        let limit = usize::try_from(ahead).unwrap_or(0);
        let events = feed.read_in_tx(&mut tx, follower.seen(), limit).await?;
        let complete = events.last().is_some_and(|last| last.position == serving);
        // What may take long is not for an exchange: the follower deals with it, and comes again.
        if events.iter().any(|event| erasure::of(event)) {
            return Ok(false);
        }
        let relevant = follower.relevant(&events);
        // Poison, or events too large for one read: the follower deals with both, and comes again.
        if !complete || follower.apply_in_tx(&mut tx, &relevant).await.is_err() {
            return Ok(false);
        }
    }
    let to = serving.max(follower.seen());
    follower.lease().move_in_tx(&mut tx, to).await?;
    generation::swap_in_tx(&mut tx, projection.as_ref(), next, to).await?;
    tx.commit().await?;
    tracing::info!(
        projection = projection.name(),
        version = next.version,
        position = to,
        "rebuilt tables serve now"
    );
    Ok(true)
}

fn is_contended(error: &sqlx::Error) -> bool {
    use toolroom_eventlog::database::{Fault, classify};
    classify(error) == Fault::Contended
}
