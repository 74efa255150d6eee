//! The shell around a schema of the tests' own, without a database.

mod bounds;
mod guard;
mod live;
mod over_http;
mod support;
