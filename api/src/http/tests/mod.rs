//! The shell around a schema of the tests' own, without a database.

mod bounds;
mod cors;
mod guard;
mod live;
mod over_http;
mod server;
mod standing;
mod support;
mod tls;
