//! What clients of the five contracts send, and what they get.

mod alike;
mod api_keys;
mod dynamic_toolset;
mod edge;
mod graphql_over_http;
mod probes;
mod specs;
mod tool_manager;
mod trpc;
mod workspaces;
