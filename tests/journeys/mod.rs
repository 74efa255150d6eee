//! What users do.

mod background;
mod connectors;
mod first_session;
mod live;
mod past;
mod told;
mod trpc_client;
