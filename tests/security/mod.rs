//! What must not be possible, tried on the real server.

mod forged;
mod refused;
mod tenants;
mod walk;
