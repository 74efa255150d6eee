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
mod rest;
#[cfg(test)]
mod tests;

pub use aggregate::Tool;
pub use command::{Command, Details, DetailsPatch};
pub use definition::{
    ConnectorConfig, CredentialsRef, Definition, ExternalConfig, Kind, NativeConfig, Policy,
    PolicyOverrides, ToolConfig, depth,
};
pub use error::Error;
pub use event::{Event, NAME_SCOPE};
pub use rest::{
    AuthMethod, BodyType, ClientAuth, HttpMethod, Mapping, PageBy, PageIn, Pagination,
    ResponseFormat, RestApi, RestAuth, RestConfig,
};
