//! What a node holds of an allowance that all nodes share.
//!
//! The allowance itself is a row in the database. A node takes some of it at a time, before it is
//! needed, so that a request seldom waits for the database; and little, so that what idle nodes hold
//! does not matter: see [`Source::chunk`].

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use toolroom_domain::Clock;

/// No refusal is believed for longer than this without asking again: others may have given back,
/// and a plan may have changed.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// The shared allowance.
#[async_trait]
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// How much is taken ahead of need.
    fn chunk(&self) -> u32;

    /// Takes up to `want` of it.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn take(&self, want: u32) -> Result<Grant, sqlx::Error>;
}

/// What was taken of an allowance, and what the others may still take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grant {
    /// What was taken.
    pub(crate) granted: u32,
    /// What is left for all.
    pub(crate) left: u64,
    /// For how long it may be used.
    pub(crate) good_for: Duration,
    /// When there will be more.
    pub(crate) more_in: Duration,
}

/// What came of asking for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    /// One was given; so many are left, as far as this node knows.
    Granted {
        /// What is left.
        left: u64,
    },
    /// There is none.
    Refused {
        /// When there will be.
        more_in: Duration,
    },
}

#[derive(Debug, Default)]
struct Hand {
    held: u32,
    good_until: Timestamp,
    /// What was left for all, when the node last asked.
    left: u64,
    /// Until when a refusal is believed, and when there will be more.
    refused: Option<(Timestamp, Timestamp)>,
}

impl Hand {
    /// What can be said without asking anybody.
    fn draw(&mut self, now: Timestamp) -> Option<Drawn> {
        if self.good_until <= now {
            self.held = 0;
        }
        if self.held > 0 {
            self.held -= 1;
            let left = self.left + u64::from(self.held);
            return Some(Drawn::Granted { left });
        }
        let (believed_until, more_at) = self.refused?;
        let believed_for = believed_until.duration_since(now);
        // A clock that went back would otherwise refuse for as long as it went.
        if !believed_for.is_positive() || believed_for.unsigned_abs() > BELIEVED_FOR {
            self.refused = None;
            return None;
        }
        let more_in = more_at.duration_since(now).unsigned_abs();
        Some(Drawn::Refused { more_in })
    }

    /// Takes in what was given. It counts from the moment at which it was asked for: an answer that is
    /// late must not speak for the hour that has begun meanwhile.
    fn take_in(&mut self, grant: Grant, asked: Timestamp) {
        let after = |time| asked.checked_add(time).unwrap_or(Timestamp::MAX);
        self.left = grant.left;
        if grant.granted == 0 {
            let believed = grant.more_in.min(BELIEVED_FOR);
            self.refused = Some((after(believed), after(grant.more_in)));
            return;
        }
        if self.good_until <= asked {
            self.held = 0;
        }
        self.held += grant.granted;
        self.good_until = after(grant.good_for);
        self.refused = None;
    }
}

/// What this node holds of one allowance.
pub(crate) struct Share {
    clock: Arc<dyn Clock>,
    hand: Mutex<Hand>,
    /// Held by whoever asks the database.
    turn: tokio::sync::Mutex<()>,
    /// Those who wait for that.
    waiting: AtomicU32,
    /// Whether somebody takes ahead.
    is_ahead: AtomicBool,
}

impl Share {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            hand: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            waiting: AtomicU32::new(0),
            is_ahead: AtomicBool::new(false),
        })
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one.
    ///
    /// # Errors
    /// When the database had to be asked and does not answer.
    pub(crate) async fn draw<S: Source>(
        self: &Arc<Self>,
        source: &S,
    ) -> Result<Drawn, sqlx::Error> {
        if let Some(drawn) = self.draw_from_hand(source) {
            return Ok(drawn);
        }
        let _waiting = Waiting::enter(&self.waiting);
        loop {
            let _turn = self.turn.lock().await;
            // Whoever had the turn before may have taken enough.
            if let Some(drawn) = self.draw_from_hand(source) {
                return Ok(drawn);
            }
            let want = source.chunk() + self.waiting.load(Ordering::Relaxed);
            let asked = self.clock.now();
            let grant = source.take(want).await?;
            self.hand().take_in(grant, asked);
            // However long the answer took.
            if grant.granted == 0 {
                let more_in = grant.more_in;
                return Ok(Drawn::Refused { more_in });
            }
        }
    }

    fn draw_from_hand<S: Source>(self: &Arc<Self>, source: &S) -> Option<Drawn> {
        let mut hand = self.hand();
        let drawn = hand.draw(self.clock.now())?;
        let chunk = source.chunk();
        let is_short = matches!(drawn, Drawn::Granted { .. }) && hand.held <= chunk / 2;
        let missing = chunk - hand.held.min(chunk);
        drop(hand);
        if is_short && !self.is_ahead.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).take_ahead(source.clone(), missing));
        }
        Some(drawn)
    }

    async fn take_ahead<S: Source>(self: Arc<Self>, source: S, want: u32) {
        let taken = async {
            let _turn = self.turn.lock().await;
            let asked = self.clock.now();
            let grant = source.take(want).await?;
            self.hand().take_in(grant, asked);
            Ok::<_, sqlx::Error>(())
        };
        // Whoever needs it will ask again, and is told.
        if let Err(error) = taken.await {
            tracing::debug!(%error, "nothing could be taken ahead of need");
        }
        self.is_ahead.store(false, Ordering::Release);
    }

    /// Puts one back that was drawn and is not needed.
    pub(crate) fn put_back(&self) {
        let mut hand = self.hand();
        if hand.good_until > self.clock.now() {
            hand.held += 1;
            hand.refused = None;
        }
    }

    /// Takes out all that is held, to be given back to the others.
    pub(crate) fn empty(&self) -> u32 {
        let mut hand = self.hand();
        if hand.good_until <= self.clock.now() {
            hand.held = 0;
        }
        std::mem::take(&mut hand.held)
    }
}

/// Counts one who waits, for as long as it lives: a request may be given up at any time.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
