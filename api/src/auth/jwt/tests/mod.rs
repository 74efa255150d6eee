//! Tokens as they are and as they are forged, by the hundred.

mod accepted;
mod forged;
mod forgery;
mod misshapen;
mod mutated;
mod rotation;
mod support;
mod vectors;
