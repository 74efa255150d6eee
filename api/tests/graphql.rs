//! Stories of the GraphQL surface on a real database.

#[path = "graphql/api_keys.rs"]
mod api_keys;
#[path = "graphql/bad_input.rs"]
mod bad_input;
#[path = "graphql/jobs.rs"]
mod jobs;
#[path = "graphql/live.rs"]
mod live;
#[path = "graphql/members.rs"]
mod members;
#[path = "graphql/operators.rs"]
mod operators;
#[path = "graphql/people.rs"]
mod people;
mod support;
#[path = "graphql/tools.rs"]
mod tools;
#[path = "graphql/workspaces.rs"]
mod workspaces;
