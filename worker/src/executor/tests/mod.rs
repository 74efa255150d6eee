//! Whole calls against servers on the loopback address.

mod checker;
mod external;
mod hostile;
mod native;
mod receipts;
mod rehearsal;
mod rest;
pub(crate) mod support;
