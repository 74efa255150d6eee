//! Whole calls against servers on the loopback address.

mod checker;
mod external;
mod forms;
mod hostile;
mod native;
mod oauth;
mod pages;
mod receipts;
mod rehearsal;
mod rest;
pub(crate) mod support;
mod upstreams;
