//! What must not be possible, tried on the real server.

mod forged;
mod inputs;
mod provider;
mod refused;
mod secrets;
mod tenants;
mod walk;
