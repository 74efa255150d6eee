//! Running things: the queue, leases, the executor, and what reacts to the log.
//!
//! A job's aggregate is the truth, the queue a projection, a lease operational. A claim permits
//! nothing; only one's own `JobStarted` does. A call runs with no transaction open.

pub mod attempt;
pub mod calls;
pub mod connector;
pub mod definitions;
pub mod ends;
pub mod executor;
pub mod gate;
pub mod leasing;
pub mod mail;
mod reactor;
pub mod runner;
pub mod secret_store;
pub mod worker;

pub use runner::NodeRunner;
pub use secret_store::VaultSecrets;
pub use worker::{Config, Worker};
