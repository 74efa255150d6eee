//! A value that the log holds only encrypted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A JSON value encrypted with its workspace's data key: what a job was given or gave back.
///
/// The domain never looks inside. Erasing the key erases the value and leaves the log whole.
/// Sealing and opening are the vault's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sealed {
    /// Which data key of the workspace it was sealed with.
    pub key: i64,
    /// Nonce, ciphertext and tag, as base64; empty when they lie outside the log.
    pub data: String,
    /// Where they lie, when they are too large for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
}

/// A value that lies outside the log, found by its workspace and this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BlobRef {
    /// By which it is found: a keyed SHA-256 of the value, in hexadecimal digits.
    pub sha256: String,
    /// Bytes of the value as JSON.
    pub bytes: u64,
}

impl Sealed {
    /// What sealing adds to a value: nonce and tag, in bytes.
    const OVERHEAD: u64 = 12 + 16;

    /// Bytes of the value as JSON.
    pub fn bytes(&self) -> u64 {
        if let Some(blob) = &self.blob {
            return blob.bytes;
        }
        let padding = self.data.bytes().rev().take_while(|b| *b == b'=').count();
        let data = (self.data.len() / 4 * 3).saturating_sub(padding) as u64;
        data.saturating_sub(Self::OVERHEAD)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {}, {} bytes)", self.key, self.bytes())
    }
}
