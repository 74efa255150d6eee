//! What decides whether and when a call is made, on real databases and with several nodes.

mod breaker;
mod claims;
mod rates;
mod support;
