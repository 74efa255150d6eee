//! Stories of the GraphQL surface on a real database.

#[path = "graphql/bad_input.rs"]
mod bad_input;
#[path = "graphql/jobs.rs"]
mod jobs;
#[path = "graphql/live.rs"]
mod live;
mod support;
#[path = "graphql/tools.rs"]
mod tools;
