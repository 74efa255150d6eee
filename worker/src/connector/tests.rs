//! Connectors against a server that behaves as the story wants.

mod calls;
mod files;
mod settings;
mod support;
