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
    /// Whether it makes a control node of the machine, and not a host.
    #[serde(default)]
    pub control: bool,
    /// The control node that gave it out, to which it is shown; of older rows it is not known.
    #[serde(default)]
    pub issuer: Option<NodeId>,
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

/// A name under which a node has joined. It belongs to one key for as long as the node is a member; after that, to the
/// next that joins with a token for it. Keys that were revoked stay noted here for good: none of them is admitted again.
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
    /// How often the name was taken from its node, oldest first.
    #[serde(default)]
    pub removals: Vec<Removal>,
}

/// That a node was taken out of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Its public key, in hexadecimal.
    pub key: String,
    /// When; of no two removals the same, so that the time of the last is the version of the revoked keys.
    pub at: UnixMicros,
    /// Who had it removed: a user's id.
    pub by: String,
}

/// How a key stands in a row, and in a file.
#[must_use]
pub fn key_text(key: &PublicKey) -> String {
    lower::encode_string(&key.0)
}

/// The key that stands so, if the text is whole.
#[must_use]
pub fn key_of(text: &str) -> Option<PublicKey> {
    let mut key = [0; 32];
    let whole = lower::decode(text, &mut key).is_ok_and(|decoded| decoded.len() == 32);
    whole.then_some(PublicKey(key))
}

impl NodeRow {
    /// The key, if the row is whole.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        key_of(&self.key)
    }

    /// Whether a key that had this name was revoked.
    #[must_use]
    pub fn has_revoked(&self, key: &str) -> bool {
        self.removals.iter().any(|removal| removal.key == key)
    }

    /// Whether the node is one of the cloud.
    #[must_use]
    pub fn is_member(&self) -> bool {
        !self.has_revoked(&self.key)
    }
}

/// What a control node may be.
pub(super) const CONTROL: &str = "control";

impl NodeRow {
    /// Whether the node is one of those that have the store, and a member.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.is_member() && self.roles.iter().any(|role| role == CONTROL)
    }
}

impl Record for NodeRow {
    const TABLE: &'static str = "membership/node";

    fn key(&self) -> String {
        self.node.to_string()
    }
}
