//! What is kept of tokens and of the nodes that joined with them.

use base16ct::lower;
use serde::{Deserialize, Serialize};
use updraft_runtime::{env::UnixMicros, store::Record};
use updraft_transport::{NodeId, join::SecretDigest, key::PublicKey};

/// A token that was given out. Its secret is not among this: only what recognises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// The SHA-256 of its secret, in hexadecimal.
    pub digest: String,
    /// The name that it is good for, if it is good for one only.
    pub node: Option<NodeId>,
    /// When it was given out.
    pub created: UnixMicros,
    /// From when on it is no longer good.
    pub expires: UnixMicros,
    /// Who has joined with it.
    pub used: Option<Use>,
}

/// Who used a token up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The node.
    pub node: NodeId,
    /// When.
    pub at: UnixMicros,
}

impl TokenRow {
    /// The key of the row of a token with this secret.
    #[must_use]
    pub fn key_of(digest: &SecretDigest) -> String {
        lower::encode_string(&digest.0)
    }
}

impl Record for TokenRow {
    const TABLE: &'static str = "membership/join-token";

    fn key(&self) -> String {
        self.digest.clone()
    }
}

/// A node that has joined. Its name is its own for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its name.
    pub node: NodeId,
    /// Its public key, in hexadecimal.
    pub key: String,
    /// What it may be.
    pub roles: Vec<String>,
    /// When it joined.
    pub joined: UnixMicros,
}

impl NodeRow {
    /// How a key stands in a row.
    #[must_use]
    pub fn key_text(key: &PublicKey) -> String {
        lower::encode_string(&key.0)
    }

    /// The key, if the row is whole.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        let mut key = [0; 32];
        if self.key.len() != 2 * key.len() {
            return None;
        }
        for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(self.key.get(at..at + 2)?, 16).ok()?;
        }
        Some(PublicKey(key))
    }
}

impl Record for NodeRow {
    const TABLE: &'static str = "membership/node";

    fn key(&self) -> String {
        self.node.to_string()
    }
}
