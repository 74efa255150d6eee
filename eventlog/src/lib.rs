//! The log: how events are appended, put in one order, followed and proven.
//!
//! The only crate that knows `postgres-es`. Appends are concurrent and take no global lock
//! ([`append`]); one fenced loop puts what is committed into a dense, hash-chained order
//! ([`sequencer`]); everything that is derived follows that order ([`feed`], [`checkpoint`]).
//! Commands come in through the [`command`] bus.

pub mod append;
pub mod backup;
pub mod checkpoint;
pub mod clock;
pub mod command;
pub mod database;
pub mod embedded;
pub mod erase;
pub mod event;
pub mod export;
pub mod feed;
pub mod history;
pub mod ids;
pub mod kept;
pub mod live;
pub mod load;
pub mod log;
pub mod position;
pub mod reads;
pub mod recovery;
pub mod repository;
pub mod rights;
pub mod sequencer;
pub mod signal;
#[cfg(feature = "testing")]
pub mod testing;
pub mod upcast;
pub mod vault;
pub mod verify;
pub mod verify_blobs;

pub use clock::SystemClock;
pub use command::{CommandBus, CommandContext, CommandError, Executed, Loaded};
pub use cqrs_es::{Aggregate, DomainEvent};
pub use database::{Database, migrate};
pub use event::{Metadata, RecordedEvent};
pub use feed::{Feed, LogHead};
pub use log::EventLog;
pub use position::Position;
pub use reads::{Reads, Scoped};
pub use vault::Vault;
