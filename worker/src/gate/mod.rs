//! What decides, before a call, whether and when it may be made.
//!
//! - A **circuit breaker** for each tool (`circuit`), shared by all nodes.
//! - The **pace** of a tool (`pace`): what its type grants and what the other side announces. A call
//!   waits for its moment, within its deadline, and says so.
//! - **Bulkheads** (`room`): the part of the node's room that one tool and one workspace may take.
//!
//! A tool that works costs nothing but memory: nodes count for themselves and tell each other only of
//! failures, and of successes as long as there were some of late (`shared`).

mod admit;
mod circuit;
mod guard;
mod pace;
mod room;
mod share;
mod shared;
mod steps;
#[cfg(test)]
mod tests;
mod time;
mod tool;
mod verdict;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use moka::{policy::EvictionPolicy, sync::Cache};
use sqlx::PgPool;
use tokio::time::Instant;
use toolroom_domain::{Clock, ErrorCategory, ErrorCode, ToolId, WorkspaceId};
use toolroom_eventlog::CommandBus;

use self::{
    circuit::{Circuit, Entry},
    room::{Full, Room},
    shared::{Known, Shared},
    time::SharedTime,
    tool::Tool,
};
pub use self::{pace::Rate, room::Place, shared::Error, steps::Steps, verdict::Verdict};
use crate::{executor::Announced, leasing::claim::Rooms};

/// Tools in memory: some 300 bytes each. What is forgotten is learnt again.
const TOOLS: u64 = 50_000;

/// After this nothing that was known of a tool counts any more.
const IDLE: Duration = Duration::from_secs(3_600);

/// Background jobs of a tool that keeps others waiting are taken as far as they can leave within this.
const TAKEN_AHEAD: Duration = Duration::from_secs(2);

/// How long a background job that was begun waits for its tool's rate or circuit before the attempt
/// fails: two minutes' worth of a rate. Few have to, since what would wait is not begun.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(120);

/// For how long the jobs of a broken tool stay in the queue. After that they are begun, so that they fail
/// and say why, as often as their tools' policies let them.
const PUT_OFF_MAX: Duration = Duration::from_secs(3_600);

/// How long the database may take to hear of anything else. A breaker that waits for a slow database
/// would itself be what hangs.
const SHARED_WITHIN: Duration = Duration::from_millis(500);

/// Whether the sender of a call waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// It does.
    Fore,
    /// It does not.
    Back,
}

/// For how long a call may wait to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// Whether its sender waits with it. One that is not let in then fails at once, so that the sender
    /// is told; one in the background is tried again as the tool's policy says.
    pub ground: Ground,
    /// Until when.
    pub until: Instant,
}

impl Wait {
    /// Of a call that nobody waits for.
    pub fn in_background() -> Self {
        Self {
            ground: Ground::Back,
            until: Instant::now() + BACKGROUND_PATIENCE,
        }
    }
}

/// Tells the rate of a tool's type, if it has one.
pub type RateOf = Arc<dyn Fn(&str) -> Option<Rate> + Send + Sync>;

/// How a gate is set up.
#[derive(Clone)]
pub struct Options {
    /// Calls at once whose sender waits.
    pub foreground: usize,
    /// Background jobs at once.
    pub background: usize,
    /// The rate of a tool's type.
    pub rate: RateOf,
    /// A clock in the place of the database's.
    pub clock: Option<Arc<dyn Clock>>,
}

/// A call that is to be made.
pub struct Ask<'a> {
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// The tool.
    pub tool: ToolId,
    /// The tool's type, such as `SLACK`.
    pub tool_type: &'a str,
    /// The longest that the call may take.
    pub timeout: Duration,
    /// Until when it may wait to be made.
    pub deadline: Instant,
    /// Since when its job waits in the background, if it does.
    pub since: Option<Timestamp>,
    /// Whether somebody makes it to see whether the tool works: then it probes an open circuit, however
    /// long that is to stay open.
    pub is_trial: bool,
    /// Is told, in words for the job's log, what it waits for, and what its job has waited for.
    pub tell: &'a (dyn Fn(String) + Send + Sync),
}

/// Why a call is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// `CIRCUIT_OPEN`, `RATE_LIMIT_EXCEEDED` or, where the node has no room, `SERVICE_UNAVAILABLE`.
    pub code: ErrorCode,
    /// By which a caller decides what to do next. The same call may succeed later.
    pub category: ErrorCategory,
    /// What was wrong and how to mend it.
    pub message: String,
    /// When it may.
    pub retry_after: Duration,
}

/// What the success of a call proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// That calls succeed.
    #[default]
    Works,
    /// That the other side answers.
    Answers,
    /// Nothing: it was not asked.
    Nothing,
}

/// How a call ended.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Its code and category, if it failed.
    pub failed: Option<(ErrorCode, ErrorCategory)>,
    /// What it proves, if it did not.
    pub proof: Proof,
    /// What the other side said of its limits.
    pub announced: Announced,
}

/// A call that may be made. Dropped without being settled it says nothing of the other side.
#[must_use = "the end of the call is to be told"]
pub struct Pass {
    gate: Gate,
    tool: Arc<Tool>,
    /// None once it was settled.
    entry: Option<Entry>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass")
            .field("tool", &self.tool.id)
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

struct Inner {
    shared: Shared,
    bus: CommandBus,
    rate: RateOf,
    tools: Cache<ToolId, Arc<Tool>>,
    /// Tools of which background jobs may not all be taken.
    watched: Mutex<HashSet<ToolId>>,
    fore: Arc<Room>,
    back: Arc<Room>,
}

/// Decides whether and when calls are made. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

fn refusals(reason: &'static str) -> metrics::Counter {
    metrics::counter!("toolroom_gate_refusals", "reason" => reason)
}

fn in_words(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

impl Gate {
    /// A gate over the shared state behind `pool`; changes of circuits are told through `bus`.
    pub fn new(bus: CommandBus, pool: PgPool, own: Arc<dyn Clock>, options: Options) -> Self {
        Self(Arc::new(Inner {
            shared: Shared {
                pool,
                time: SharedTime::new(own, options.clock),
            },
            bus,
            rate: options.rate,
            tools: Cache::builder()
                .max_capacity(TOOLS)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(IDLE)
                .build(),
            watched: Mutex::default(),
            fore: Room::new(options.foreground),
            back: Room::new(options.background),
        }))
    }

    fn tool(&self, workspace: WorkspaceId, id: ToolId) -> Arc<Tool> {
        self.0
            .tools
            .get_with(id, || Arc::new(Tool::new(workspace, id)))
    }

    fn watched(&self) -> MutexGuard<'_, HashSet<ToolId>> {
        self.0
            .watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a call: before its job is begun.
    ///
    /// # Errors
    /// When the tool or the workspace has its part of the room.
    pub fn place(
        &self,
        ground: Ground,
        workspace: WorkspaceId,
        tool: ToolId,
    ) -> Result<Place, Denied> {
        let room = match ground {
            Ground::Fore => &self.0.fore,
            Ground::Back => &self.0.back,
        };
        room.place(workspace, tool).map_err(|full| {
            let (reason, whose) = match full {
                Full::Tool => ("tool_room", "the tool"),
                Full::Workspace => ("workspace_room", "the workspace"),
            };
            refusals(reason).increment(1);
            Denied {
                code: ErrorCode::ServiceUnavailable,
                category: ErrorCategory::ServerError,
                message: format!(
                    "{whose} has as many calls under way on this node as it may; try again in a moment, or submit the job to run in the background"
                ),
                retry_after: Duration::from_secs(1),
            }
        })
    }

    /// For how many more background jobs of a tool there is a reason to be begun now; none where that is
    /// not limited.
    fn room_of(&self, tool: &Tool, is_here: bool) -> Option<usize> {
        let now = self.0.shared.time.now();
        let local = tool.local();
        let circuit = &local.known.circuit;
        let by_circuit = match circuit.opens_in(now) {
            _ if is_given_up(circuit, now) => None,
            None => None,
            // One that probes, and no more.
            Some(Duration::ZERO) if !is_here => Some(1),
            Some(_) => Some(0),
        };
        let by_pace = local.known.pace.room_within(local.rate, TAKEN_AHEAD, now);
        by_circuit.into_iter().chain(by_pace).min()
    }

    /// Takes a place for a job that is begun in the background as it is submitted; none where it waits
    /// better in the queue.
    pub fn offer(&self, workspace: WorkspaceId, tool: ToolId) -> Option<Place> {
        let known = self.0.tools.get(&tool);
        if known.is_some_and(|tool| self.room_of(&tool, true) == Some(0)) {
            return None;
        }
        self.0.back.place(workspace, tool).ok()
    }

    /// What is not to be taken from the queue now: more of it would only wait here, in the place of what
    /// could run.
    pub fn rooms(&self) -> Rooms {
        let mut tools: std::collections::HashMap<_, _> = self.0.back.free().into_iter().collect();
        self.watched().retain(|id| {
            let Some(tool) = self.0.tools.get(id) else {
                return false;
            };
            let Some(room) = self.room_of(&tool, tools.contains_key(id)) else {
                return false;
            };
            let free = tools.entry(*id).or_insert(room);
            *free = room.min(*free);
            true
        });
        Rooms {
            tools: tools.into_iter().collect(),
            full: self.0.back.full_workspaces(),
        }
    }
}

/// Whether a tool has been broken for so long that its jobs are put off no more.
fn is_given_up(circuit: &Circuit, now: Timestamp) -> bool {
    circuit
        .broken_since()
        .is_some_and(|since| now.duration_since(since).unsigned_abs() > PUT_OFF_MAX)
}

/// As what a call was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// Like any other.
    Freely,
    /// To see whether the tool works again.
    Probing,
}

impl Pass {
    /// As what the call was let in.
    pub fn entered(&self) -> Entered {
        match self.entry {
            Some(Entry::Probe { .. }) => Entered::Probing,
            _ => Entered::Freely,
        }
    }

    /// Tells how the call ended. A failure is known to all nodes when this returns, or the database is
    /// away.
    pub async fn settle(mut self, settled: Settled) {
        if let Some(entry) = self.entry.take() {
            self.gate.settle(&self.tool, entry, settled).await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let Some(Entry::Probe { id }) = self.entry.take() else {
            return;
        };
        let (gate, tool) = (self.gate.clone(), Arc::clone(&self.tool));
        tokio::spawn(async move {
            let lost = |known: &mut Known, now| {
                let transition = known.circuit.probed(id, Verdict::Silent, now);
                ((), transition)
            };
            let _ = gate.change(&tool, SHARED_WITHIN, lost).await;
        });
    }
}
