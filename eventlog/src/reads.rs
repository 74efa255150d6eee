//! Connections that see one workspace.
//!
//! What requests read goes through here, and nothing else does. A connection is set to a workspace
//! before anybody gets it, and row-level security lets it see no other's rows: a query that forgets
//! to restrict itself finds nothing of anybody else's. A connection remembers what it is set to, so
//! that the next read of the same workspace costs no round trip more.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use toolroom_domain::WorkspaceId;

use crate::database::{ACQUIRE_TIMEOUT, TRUSTED_FOR};

/// After this long without use, a connection goes back to the pool, which closes it in time.
const KEPT_IDLE_FOR: Duration = Duration::from_secs(300);

/// For how long a connection is kept at all before the pool sees it again, which renews it in
/// time: what a server process remembers of its statements grows.
const KEPT_FOR: Duration = Duration::from_secs(1_200);

/// Connections of the reader's role, each set to a workspace. Cheap to clone.
#[derive(Clone)]
pub struct Reads(Arc<Inner>);

struct Inner {
    pool: PgPool,
    /// As many permits as the pool has connections: who has one need not wait for the pool.
    room: Arc<Semaphore>,
    /// Ready connections, the one that was used last at the end.
    idle: Mutex<Vec<Idle>>,
    settings: AtomicU64,
}

struct Idle {
    connection: PoolConnection<Postgres>,
    workspace: WorkspaceId,
    used: Instant,
    taken: Instant,
}

/// A connection that sees one workspace. To be given back with [`Scoped::give_back`] when all that
/// was asked over it was answered; dropped instead, whatever state it may be in is cleaned up, and
/// its workspace forgotten.
pub struct Scoped {
    reads: Arc<Inner>,
    /// None once it was given back.
    connection: Option<PoolConnection<Postgres>>,
    workspace: WorkspaceId,
    taken: Instant,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads")
            .field("pool", &self.0.pool)
            .finish_non_exhaustive()
    }
}

impl Reads {
    /// Over a pool of the reader's role, which nobody else has.
    pub(crate) fn new(pool: PgPool) -> Self {
        let connections = pool.options().get_max_connections();
        Self(Arc::new(Inner {
            room: Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(1))),
            idle: Mutex::default(),
            settings: AtomicU64::new(0),
            pool,
        }))
    }

    /// A connection that sees this workspace and nothing else.
    ///
    /// # Errors
    /// When none can be had in time: the database is away, or all are used.
    pub async fn acquire(&self, workspace: WorkspaceId) -> Result<Scoped, sqlx::Error> {
        tokio::time::timeout(ACQUIRE_TIMEOUT, self.find(workspace))
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn find(&self, workspace: WorkspaceId) -> Result<Scoped, sqlx::Error> {
        let permit = Arc::clone(&self.0.room)
            .acquire_owned()
            .await
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let (connection, taken) = loop {
            let Some(mut idle) = self.0.take(workspace) else {
                let mut connection = self.0.pool.acquire().await?;
                self.0.set(&mut connection, workspace).await?;
                break (connection, Instant::now());
            };
            let alive = if idle.workspace != workspace {
                self.0.set(&mut idle.connection, workspace).await.is_ok()
            } else if idle.used.elapsed() >= TRUSTED_FOR {
                idle.connection.ping().await.is_ok()
            } else {
                true
            };
            if alive {
                break (idle.connection, idle.taken);
            }
        };
        Ok(Scoped {
            reads: Arc::clone(&self.0),
            connection: Some(connection),
            workspace,
            taken,
            _permit: permit,
        })
    }

    /// How often a connection was set to a workspace: a round trip each time.
    pub fn settings(&self) -> u64 {
        self.0.settings.load(Ordering::Relaxed)
    }

    /// How many connections there are, and how many of them are idle.
    pub fn size(&self) -> (u32, u32) {
        let kept = self.0.lock().len() + self.0.pool.num_idle();
        (self.0.pool.size(), u32::try_from(kept).unwrap_or(u32::MAX))
    }

    /// Closes all connections, and waits for those in use.
    pub async fn close(&self) {
        self.0.room.close();
        self.0.lock().clear();
        self.0.pool.close().await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that this workspace used last, or else the one that nobody has used for
    /// longest.
    fn take(&self, workspace: WorkspaceId) -> Option<Idle> {
        let mut idle = self.lock();
        let own = idle.iter().rposition(|idle| idle.workspace == workspace);
        let index = own.or((!idle.is_empty()).then_some(0))?;
        Some(idle.remove(index))
    }

    async fn set(
        &self,
        connection: &mut PgConnection,
        workspace: WorkspaceId,
    ) -> Result<(), sqlx::Error> {
        self.settings.fetch_add(1, Ordering::Relaxed);
        // A statement of its own: the planner leaves out a part of another one that nobody reads.
        sqlx::query("select set_config('toolroom.workspace', $1, false)")
            .bind(workspace.to_string())
            .execute(connection)
            .await?;
        Ok(())
    }

    fn keep(&self, returned: Idle) {
        if self.pool.is_closed() || returned.taken.elapsed() >= KEPT_FOR {
            return;
        }
        let mut idle = self.lock();
        idle.push(returned);
        let stale = idle.partition_point(|idle| idle.used.elapsed() >= KEPT_IDLE_FOR);
        idle.drain(..stale);
    }
}

impl Scoped {
    /// The connection. What changes its role or its settings does not belong here.
    #[allow(
        clippy::missing_panics_doc,
        reason = "the connection is there until the value itself is gone"
    )]
    pub fn connection(&mut self) -> &mut PgConnection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("a connection that was given back is nobody's"),
        }
    }

    /// Gives the connection back for the next one who reads this workspace. Only after success: an
    /// error may have left anything.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.reads.keep(Idle {
                connection,
                workspace: self.workspace,
                used: Instant::now(),
                taken: self.taken,
            });
        }
    }
}
