//! The edges: GraphQL and REST over commands and queries.

mod auth;
pub mod error;
pub mod followers;
pub mod http;
mod rest;
pub mod service;
pub mod state;

pub use error::ApiError;
pub use state::{ApiOptions, AppState, Parts, RequestContext};
