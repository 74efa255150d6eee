//! The HTTP shell: what stands between a socket and the commands and queries, whatever the
//! contract: bounds, names, guards, errors.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod bounds;
pub(crate) mod context;
pub(crate) mod fields;
pub(crate) mod graphiql;
pub(crate) mod graphql;
pub(crate) mod guard;
mod media;
mod nesting;
mod options;
mod problem;
pub(crate) mod request_id;
mod server;
mod shell;

pub use options::{HttpOptions, LiveOptions};
pub use problem::Problem;
pub use server::serve;
pub use shell::Shell;
