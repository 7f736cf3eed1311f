//! The message in the source's log that says where the fence stands, and the secret that proves that it is ours.

use rand::Rng;
use sha2::{Digest, Sha256};

use super::context::Run;

/// What a sentinel begins with.
pub const SENTINEL: &str = "fence:";

/// A random secret that proves that the sentinel is ours: any role may write messages into the log.
pub struct Nonce(String);

impl Nonce {
    /// A new secret.
    pub fn new() -> Self {
        let bytes: [u8; 16] = rand::rng().random();
        Self(hex(&bytes))
    }

    /// What the ledger keeps.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// The sentinel's text.
    pub fn sentinel(&self, run: &Run) -> String {
        format!("{SENTINEL}{}:{}:{}", run.id, run.epoch, self.0)
    }
}

impl Default for Nonce {
    fn default() -> Self {
        Self::new()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
