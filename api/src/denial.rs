//! Tells the audit of what was refused, without making whoever is refused wait for it, and without
//! letting them fill it.
//!
//! The first refusal of its kind is told at once; further ones of the same kind come together, at
//! ever longer intervals while they go on. What is more than there is room for, here or in the log
//! (see [`toolroom_domain::denial`]), is told as a number when its hour is over.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, Clock, ErrorCode, WorkspaceId,
    denial::{self, Command, Denial, stream_id},
};
use toolroom_eventlog::{CommandBus, CommandContext, CommandError, command::Target, ids};

use crate::state::RequestContext;

/// Kinds of refusals that are told apart at a time: some 500 bytes each.
const KINDS: usize = 1_000;

/// Of these, those of one workspace, so that one does not silence the others.
const KINDS_OF_ONE: usize = 200;

/// Workspaces whose further refusals are counted.
const WORKSPACES: usize = 1_000;

/// For how long refusals of one kind are gathered after the first was told; doubled each time.
const GATHERED_FOR: Duration = Duration::from_secs(5);

/// The longest for which they are gathered.
const GATHERED_FOR_MAX: Duration = Duration::from_secs(600);

/// When what could not be written is tried again.
const RETRY_IN: Duration = Duration::from_secs(5);

/// How long a stopping server may take to write what was gathered.
const LAST_WRITES: Duration = Duration::from_secs(5);

const HOUR_S: i64 = 3_600;

/// What makes refusals alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    workspace: WorkspaceId,
    actor: Actor,
    operation: String,
    reason: ErrorCode,
    ip: Option<String>,
}

/// So many refusals, and when.
#[derive(Clone, Copy, Debug)]
struct Span {
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl Span {
    fn of_one(at: Timestamp) -> Self {
        Self {
            count: 1,
            first_at: at,
            last_at: at,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
        }
    }

    /// The end of the hour of the last one.
    fn hour_ends(self) -> Timestamp {
        let hour = self.last_at.as_second().div_euclid(HOUR_S) + 1;
        Timestamp::from_second(hour * HOUR_S).unwrap_or(Timestamp::MAX)
    }
}

fn join(to: &mut Option<Span>, more: Span) {
    *to = Some(to.map_or(more, |span| span.and(more)));
}

#[derive(Debug)]
struct Gathered {
    /// What is not told yet.
    span: Option<Span>,
    /// When it is to be told; or, if there is nothing, forgotten.
    due: Timestamp,
    gathered_for: Duration,
    request_id: String,
    user_agent: Option<String>,
}

/// Refusals that are told as a number.
#[derive(Clone, Copy, Debug)]
struct Omitted {
    span: Span,
    /// Whether the log has no room in this hour, so that it need not be asked again.
    is_full: bool,
}

#[derive(Debug, Default)]
struct Noted {
    kinds: HashMap<Kind, Gathered>,
    omitted: HashMap<WorkspaceId, Omitted>,
}

impl Noted {
    fn omit(&mut self, workspace: WorkspaceId, span: Span, is_full: bool) {
        if self.omitted.len() >= WORKSPACES && !self.omitted.contains_key(&workspace) {
            metrics::counter!("toolroom_denials_lost").increment(span.count);
            return;
        }
        let more = Omitted { span, is_full };
        let merge = |known: &mut Omitted| {
            known.span = known.span.and(span);
            known.is_full |= is_full;
        };
        self.omitted
            .entry(workspace)
            .and_modify(merge)
            .or_insert(more);
    }

    fn is_full(&self, workspace: WorkspaceId, at: Timestamp) -> bool {
        let omitted = self.omitted.get(&workspace);
        omitted.is_some_and(|omitted| omitted.is_full && at < omitted.span.hour_ends())
    }

    fn has_room_for_kind_of(&self, workspace: WorkspaceId) -> bool {
        let of_one = || self.kinds.keys().filter(|kind| kind.workspace == workspace);
        self.kinds.len() < KINDS_OF_ONE
            || self.kinds.len() < KINDS && of_one().count() < KINDS_OF_ONE
    }

    fn next_due(&self) -> Option<Timestamp> {
        let kinds = self.kinds.values().map(|gathered| gathered.due);
        let omitted = self
            .omitted
            .values()
            .map(|omitted| omitted.span.hour_ends());
        kinds.chain(omitted).min()
    }
}

/// Something that is to be written.
enum Telling {
    Kind(Box<(Kind, Span, CommandContext)>),
    Omitted(WorkspaceId, Omitted),
}

/// What of the noted is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What is due.
    Due,
    /// Everything, because the server stops.
    All,
}

struct Inner {
    clock: Arc<dyn Clock>,
    noted: Mutex<Noted>,
    wake: Notify,
}

/// Who was refused what. Cheap to clone.
#[derive(Clone)]
pub struct Denials(Arc<Inner>);

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").finish_non_exhaustive()
    }
}

impl Denials {
    /// Nobody was refused anything yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            clock,
            noted: Mutex::default(),
            wake: Notify::new(),
        }))
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request was refused something, and why. Never waits. Whoever is in no workspace
    /// is counted only: there is no audit that it would belong to.
    pub fn note(&self, ctx: &RequestContext, operation: &str, reason: ErrorCode) {
        metrics::counter!("toolroom_denials", "reason" => reason.as_str()).increment(1);
        if ctx.workspace == WorkspaceId::NONE {
            return;
        }
        let now = self.0.clock.now();
        let kind = Kind {
            workspace: ctx.workspace,
            actor: ctx.actor.clone(),
            operation: operation.to_owned(),
            reason,
            ip: ctx.ip.clone(),
        };
        let mut noted = self.noted();
        if let Some(gathered) = noted.kinds.get_mut(&kind) {
            join(&mut gathered.span, Span::of_one(now));
            return;
        }
        let is_full = noted.is_full(ctx.workspace, now);
        if is_full || !noted.has_room_for_kind_of(ctx.workspace) {
            noted.omit(ctx.workspace, Span::of_one(now), is_full);
        } else {
            let first = Gathered {
                span: Some(Span::of_one(now)),
                due: now,
                gathered_for: GATHERED_FOR,
                request_id: ctx.request_id.clone(),
                user_agent: ctx.user_agent.clone(),
            };
            noted.kinds.insert(kind, first);
        }
        drop(noted);
        self.0.wake.notify_one();
    }

    /// Writes what is noted until `shutdown`, and then what is left.
    pub async fn record(self, bus: CommandBus, shutdown: CancellationToken) {
        loop {
            let is_written = self.tell(&bus, Which::Due).await;
            let pause = async {
                if !is_written {
                    return tokio::time::sleep(RETRY_IN).await;
                }
                tokio::select! {
                    () = self.0.wake.notified() => {}
                    () = self.until_due() => {}
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = pause => {}
            }
        }
        let last = self.tell(&bus, Which::All);
        if tokio::time::timeout(LAST_WRITES, last).await.is_err() {
            tracing::warn!("not all refusals could be recorded before the stop");
        }
    }

    async fn until_due(&self) {
        let Some(due) = self.noted().next_due() else {
            return std::future::pending().await;
        };
        let left = due.duration_since(self.0.clock.now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or(Duration::ZERO)).await;
    }

    /// Writes what is due, or everything. False if some of it is still to be written, because the
    /// database does not answer.
    pub async fn tell(&self, bus: &CommandBus, which: Which) -> bool {
        let mut is_written = true;
        for telling in self.take_out(which) {
            is_written &= match telling {
                Telling::Kind(of_kind) => {
                    let (kind, span, context) = *of_kind;
                    self.tell_kind(bus, kind, span, &context).await
                }
                Telling::Omitted(workspace, omitted) => {
                    self.tell_omitted(bus, workspace, omitted).await
                }
            };
        }
        is_written
    }

    fn take_out(&self, which: Which) -> Vec<Telling> {
        let now = self.0.clock.now();
        let is_due = |due| which == Which::All || due <= now;
        let mut noted = self.noted();
        let mut tellings = Vec::new();
        noted.kinds.retain(|kind, gathered| {
            if !is_due(gathered.due) {
                return true;
            }
            // Nothing since it was told last: the next of this kind is a first one again.
            let Some(span) = gathered.span.take() else {
                return false;
            };
            gathered.due = later(now, gathered.gathered_for);
            gathered.gathered_for = (gathered.gathered_for * 2).min(GATHERED_FOR_MAX);
            let context = CommandContext {
                actor: kind.actor.clone(),
                ip: kind.ip.clone(),
                user_agent: gathered.user_agent.clone(),
                ..CommandContext::system(kind.workspace, "audit", gathered.request_id.clone())
            };
            tellings.push(Telling::Kind(Box::new((kind.clone(), span, context))));
            true
        });
        noted.omitted.retain(|workspace, omitted| {
            let is_told = is_due(omitted.span.hour_ends());
            if is_told {
                tellings.push(Telling::Omitted(*workspace, *omitted));
            }
            !is_told
        });
        tellings
    }

    async fn tell_kind(
        &self,
        bus: &CommandBus,
        kind: Kind,
        span: Span,
        context: &CommandContext,
    ) -> bool {
        if self.noted().is_full(kind.workspace, span.last_at) {
            self.noted().omit(kind.workspace, span, true);
            return true;
        }
        let command = Command::Deny {
            workspace: kind.workspace,
            denial: Denial {
                operation: kind.operation.clone(),
                reason: kind.reason.as_str().to_owned(),
                actor: kind.actor.clone(),
                count: span.count,
                first_at: span.first_at,
                last_at: span.last_at,
            },
        };
        match write(bus, command, span, context).await {
            Ok(()) => true,
            Err(CommandError::Refused(denial::Error::HourFull)) => {
                self.noted().omit(kind.workspace, span, true);
                true
            }
            Err(CommandError::Unavailable | CommandError::Contended) => {
                if let Some(gathered) = self.noted().kinds.get_mut(&kind) {
                    join(&mut gathered.span, span);
                    gathered.due = self.0.clock.now();
                }
                false
            }
            Err(error) => lost(&error, span),
        }
    }

    async fn tell_omitted(
        &self,
        bus: &CommandBus,
        workspace: WorkspaceId,
        omitted: Omitted,
    ) -> bool {
        let span = omitted.span;
        let context = CommandContext::system(workspace, "audit", ids::new_uuid().to_string());
        let command = Command::Omit {
            workspace,
            count: span.count,
            first_at: span.first_at,
            last_at: span.last_at,
        };
        match write(bus, command, span, &context).await {
            Ok(()) => true,
            Err(CommandError::Unavailable | CommandError::Contended) => {
                self.noted().omit(workspace, span, omitted.is_full);
                false
            }
            Err(error) => lost(&error, span),
        }
    }
}

async fn write(
    bus: &CommandBus,
    command: Command,
    span: Span,
    context: &CommandContext,
) -> Result<(), CommandError<denial::Error>> {
    let id = stream_id(context.workspace, span.last_at);
    let target = Target::<denial::Denials>::Existing(id);
    bus.execute(target, command, context).await.map(|_| ())
}

/// Trying again would change nothing, so this counts as done.
fn lost(error: &CommandError<denial::Error>, span: Span) -> bool {
    metrics::counter!("toolroom_denials_lost").increment(span.count);
    tracing::error!(%error, refusals = span.count, "refusals could not be recorded");
    true
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}
