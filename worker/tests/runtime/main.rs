//! Stories of jobs and the nodes that run them.

mod ahead;
mod clocks;
mod gated;
mod lines;
mod outcomes;
mod restarts;
mod retries;
mod support;
