//! What an operator does, against the real binary and its embedded database: start, stop, kill,
//! prove, export, back up, restore, look for faults.

mod bench;
mod commands;
mod roles;
mod serving;
mod support;
