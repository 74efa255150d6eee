//! What can be run.
//!
//! ```text
//!              Register                Deactivate
//!   (nothing) ──────────► ACTIVE ◄───────────────────► INACTIVE
//!                           │  ▲       Activate            │
//!                    Delete │  │ Restore                   │ Delete
//!                           ▼  │                           │
//!                         DELETED ◄────────────────────────┘
//! ```
//!
//! Beside that, the *circuit* of a tool opens when its calls keep failing, and closes again.
//!
//! Each change of *behaviour* makes a version; the old ones stay runnable. A change of name,
//! title, description, category or tags makes none.

mod aggregate;
mod command;
mod definition;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use aggregate::Tool;
pub use command::{Command, Details, DetailsPatch};
pub use definition::{
    AuthMethod, ConnectorConfig, CredentialsRef, Definition, ExternalConfig, HttpMethod, Kind,
    Mapping, NativeConfig, Policy, PolicyOverrides, RestApi, RestAuth, RestConfig, ToolConfig,
    depth,
};
pub use error::Error;
pub use event::{Event, NAME_SCOPE};
