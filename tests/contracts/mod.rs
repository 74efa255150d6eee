//! What clients of the five contracts send, and what they get.

mod edge;
mod graphql_over_http;
mod probes;
mod tool_manager;
