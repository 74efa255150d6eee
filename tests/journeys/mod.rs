//! What users do.

mod background;
mod connectors;
mod first_session;
mod live;
mod past;
mod trpc_client;
