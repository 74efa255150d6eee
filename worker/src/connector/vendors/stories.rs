//! The stories of all connectors: what works, and what the vendor refuses.

mod discord;
mod email;
mod google_sheets;
mod http;
mod notion;
mod slack;
mod sms;
mod teams;
mod trello;
mod webhook;
