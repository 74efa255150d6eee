//! What an operator does, against the real binary and its embedded database: start, stop, kill,
//! prove, export, back up, restore, look for faults, talk to a server from elsewhere.

mod api;
mod bench;
mod commands;
mod connectors;
mod erasure;
mod remote;
mod roles;
mod rotation;
mod serving;
mod support;
mod values;
