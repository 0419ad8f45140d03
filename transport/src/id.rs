//! Who a node is: its id, its roles and how often it has started.

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest node id, in bytes: it has to fit a certificate name, a store key and a log line.
pub const NODE_ID_MAX_BYTES: usize = 63;

/// The name of a node, unique in its cloud: lower-case letters, digits, `-` and `.`.
///
/// It is the OpenStack `host` of whatever runs there, and the name in the node's certificate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Checks and wraps a name.
    pub fn new(name: &str) -> Result<Self, InvalidNodeId> {
        let fits = !name.is_empty() && name.len() <= NODE_ID_MAX_BYTES;
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if fits && name.bytes().all(legal) && !name.starts_with(['-', '.']) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidNodeId(name.chars().take(NODE_ID_MAX_BYTES).collect()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that cannot name a node.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a node id: 1 to 63 of a-z 0-9 - . and neither - nor . in front")]
pub struct InvalidNodeId(String);

impl TryFrom<String> for NodeId {
    type Error = InvalidNodeId;
    fn try_from(name: String) -> Result<Self, InvalidNodeId> {
        Self::new(&name)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node's certificate allows it to be, such as `control` or `compute`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Role(pub Arc<str>);

impl Role {
    /// A role by name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

/// A peer as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its id.
    pub node: NodeId,
    /// Its roles, shared by all that its frames give rise to: an identity goes with each of them.
    pub roles: Arc<BTreeSet<Role>>,
}

impl PeerIdentity {
    /// An identity with the named roles.
    #[must_use]
    pub fn new(node: NodeId, roles: &[&str]) -> Self {
        let roles: BTreeSet<Role> = roles.iter().map(|name| Role::new(name)).collect();
        Self { node, roles: Arc::new(roles) }
    }

    /// Whether the certificate carries this role.
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| &*role.0 == name)
    }
}

/// How often a node has started; counted on its disk, grows with every start.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Incarnation(pub u64);
