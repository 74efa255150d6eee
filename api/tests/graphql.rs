//! Stories of the GraphQL surface on a real database.

#[path = "graphql/bad_input.rs"]
mod bad_input;
#[path = "graphql/jobs.rs"]
mod jobs;
#[path = "graphql/live.rs"]
mod live;
#[path = "graphql/operators.rs"]
mod operators;
mod support;
#[path = "graphql/tools.rs"]
mod tools;
