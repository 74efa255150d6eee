//! Which tool a text means, and what its versions do: from memory, and never stale.
//!
//! `executeTool` asks this on every call. What is kept of a tool is thrown away as soon as the
//! feed shows an event of it; each look-up first takes in what the feed has gained, which lies in
//! memory. So a look-up sees at least what any read model of this process shows.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use moka::sync::Cache;
use tokio::sync::watch;
use toolroom_domain::{
    ToolId, WorkspaceId,
    tool::{Definition, NAME_SCOPE, Tool},
};
use toolroom_eventlog::{Aggregate as _, EventLog};
use toolroom_projections::catalog;

use crate::error::ApiError;

/// Tools kept: some KiB each.
const TOOLS: u64 = 10_000;

/// Earlier versions kept; jobs pin few.
const VERSIONS: u64 = 10_000;

/// A gap in the feed that is not walked through: forgetting everything is cheaper.
const LONGEST_GAP: i64 = 10_000;

/// Events read at once while catching up.
const BATCH: usize = 1_000;

/// Names that are looked through for those like an unknown one.
const NAMES_COMPARED: i64 = 1_000;

/// A tool as it is now.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The tool's id.
    pub id: ToolId,
    /// To whom it belongs.
    pub workspace: WorkspaceId,
    /// Unique in the workspace, while it is not deleted.
    pub name: String,
    /// Whether it may run.
    pub is_active: bool,
    /// Whether it left the catalogue.
    pub is_deleted: bool,
    /// Its newest version.
    pub version: u32,
    /// What that version does.
    pub definition: Arc<Definition>,
}

/// Finds tools.
pub(crate) struct Directory {
    log: EventLog,
    head: watch::Receiver<i64>,
    names: Cache<(WorkspaceId, String), ToolId>,
    tools: Cache<ToolId, Arc<Entry>>,
    versions: Cache<(ToolId, u32), Arc<Definition>>,
    /// Up to where the feed has been taken in.
    seen: AtomicI64,
    /// Held while taking the feed in.
    turn: tokio::sync::Mutex<()>,
    /// Grows with each tool forgotten: what was loaded before that is not kept.
    generation: Mutex<u64>,
}

impl Directory {
    pub(crate) fn new(log: EventLog) -> Self {
        Self {
            head: log.feed.watch(),
            log,
            names: Cache::new(TOOLS),
            tools: Cache::new(TOOLS),
            versions: Cache::new(VERSIONS),
            seen: AtomicI64::new(0),
            turn: tokio::sync::Mutex::default(),
            generation: Mutex::default(),
        }
    }

    /// The tool that a text names: by id, by number, or by name, in that order.
    ///
    /// # Errors
    /// When the workspace has none, or the database does not answer.
    pub(crate) async fn find(
        &self,
        workspace: WorkspaceId,
        text: &str,
    ) -> Result<Arc<Entry>, ApiError> {
        if let Ok(id) = text.parse() {
            return self.by_id(workspace, id).await;
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let Ok(number) = text.parse() else {
                return Err(unknown(text));
            };
            let reads = self.log.database.reads();
            let row = catalog::query::by_number(reads, workspace, number).await?;
            let row = row.ok_or_else(|| unknown(text))?;
            return self.by_id(workspace, row.id).await;
        }
        self.by_name(workspace, text).await
    }

    /// The tool of that id, deleted or not.
    ///
    /// # Errors
    /// When the workspace has none, or the database does not answer.
    pub(crate) async fn by_id(
        &self,
        workspace: WorkspaceId,
        id: ToolId,
    ) -> Result<Arc<Entry>, ApiError> {
        self.catch_up().await?;
        self.load(workspace, id).await
    }

    /// The tool that holds that name.
    ///
    /// # Errors
    /// When there is none, naming the nearest, or the database does not answer.
    pub(crate) async fn by_name(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Arc<Entry>, ApiError> {
        self.catch_up().await?;
        let key = (workspace, name.to_owned());
        if let Some(id) = self.names.get(&key) {
            let entry = self.load(workspace, id).await?;
            if entry.name == name && !entry.is_deleted {
                return Ok(entry);
            }
        }
        let holder = self
            .log
            .bus
            .holder_of(workspace, NAME_SCOPE, name)
            .await?
            .and_then(|id| id.parse().ok());
        let Some(id) = holder else {
            let reads = self.log.database.reads();
            let known = catalog::query::names(reads, workspace, NAMES_COMPARED).await?;
            return Err(unknown(name).with_candidates_for(name, known));
        };
        let entry = self.load(workspace, id).await?;
        self.names.insert(key, id);
        Ok(entry)
    }

    /// What a version of a tool does.
    ///
    /// # Errors
    /// When it never had such a version, or the database does not answer.
    pub(crate) async fn definition(
        &self,
        tool: &Entry,
        version: u32,
    ) -> Result<Arc<Definition>, ApiError> {
        if version == tool.version {
            return Ok(Arc::clone(&tool.definition));
        }
        if let Some(definition) = self.versions.get(&(tool.id, version)) {
            return Ok(definition);
        }
        let loaded = self.load_aggregate(tool.workspace, tool.id).await?;
        let Some(definition) = loaded.definition(version) else {
            return Err(ApiError::refused(
                &toolroom_domain::tool::Error::NoSuchVersion {
                    version,
                    current: loaded.version(),
                },
            ));
        };
        let definition = Arc::new(definition.clone());
        self.versions
            .insert((tool.id, version), Arc::clone(&definition));
        Ok(definition)
    }

    /// Forgets what is known of a tool.
    pub(crate) fn forget(&self, id: ToolId) {
        let mut generation = self.lock();
        *generation += 1;
        self.tools.invalidate(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, u64> {
        self.generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(&self, workspace: WorkspaceId, id: ToolId) -> Result<Arc<Entry>, ApiError> {
        if let Some(entry) = self.tools.get(&id) {
            return if entry.workspace == workspace {
                Ok(entry)
            } else {
                Err(ApiError::refused(&toolroom_domain::tool::Error::Unknown))
            };
        }
        let generation = *self.lock();
        let tool = self.load_aggregate(workspace, id).await?;
        let version = tool.version();
        let definition = tool.definition(version).cloned().unwrap_or_else(|| {
            unreachable!("a tool that exists has a version from its first event on")
        });
        let entry = Arc::new(Entry {
            id,
            workspace,
            name: tool.details().name,
            is_active: tool.is_active(),
            is_deleted: tool.is_deleted(),
            version,
            definition: Arc::new(definition),
        });
        let now = self.lock();
        if *now == generation {
            self.tools.insert(id, Arc::clone(&entry));
        }
        Ok(entry)
    }

    async fn load_aggregate(&self, workspace: WorkspaceId, id: ToolId) -> Result<Tool, ApiError> {
        let loaded = self
            .log
            .bus
            .load::<Tool>(workspace, &id.to_string())
            .await?;
        Ok(loaded.aggregate)
    }

    async fn catch_up(&self) -> Result<(), ApiError> {
        let head = *self.head.borrow();
        if self.seen.load(Ordering::Acquire) >= head {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let mut seen = self.seen.load(Ordering::Acquire);
        if head - seen > LONGEST_GAP {
            let mut generation = self.lock();
            *generation += 1;
            self.tools.invalidate_all();
            self.seen.store(head, Ordering::Release);
            return Ok(());
        }
        while seen < head {
            let events = self.log.feed.read(seen, BATCH).await?;
            let Some(last) = events.last().map(|event| event.position) else {
                break;
            };
            for event in events.iter().filter(|e| e.aggregate_type == Tool::TYPE) {
                if let Ok(id) = event.aggregate_id.parse() {
                    self.forget(id);
                }
            }
            seen = last;
            self.seen.store(seen, Ordering::Release);
        }
        Ok(())
    }
}

fn unknown(text: &str) -> ApiError {
    /// What of a text is repeated in an error: a name's longest.
    const SHOWN_CHARS: usize = 64;
    let shown: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN_CHARS)
        .collect();
    ApiError::not_found(format!(
        "there is no tool `{shown}`; list them with the query `tools`"
    ))
}
