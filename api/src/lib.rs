//! The edges: GraphQL and REST over HTTP.

mod auth;
pub mod http;
pub mod state;
