//! What a host may still have of a server that was taken from it without its own word.

use serde::{Deserialize, Serialize};
use updraft_protocol::compute::{Goal, GuestWant};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

/// What a host is to clear away when it comes back. Written in the transaction that takes the server from it, and gone
/// once the host has confirmed that it has nothing; until then the server is not placed there again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftRow {
    /// The host.
    pub host: String,
    /// Since when the server is another's, or nobody's.
    pub since: UnixMicros,
    /// What the host is told: that nothing shall be.
    pub want: GuestWant,
}

impl LeftRow {
    /// The index of what is left by server.
    pub const BY_SERVER: &'static str = "server";
    /// The index of what is left by host.
    pub const BY_HOST: &'static str = "host";

    /// What is left on a host that was to have this. Of the server it keeps no more than the host needs.
    #[must_use]
    pub fn new(host: &str, want: GuestWant, since: UnixMicros) -> Self {
        let want = GuestWant {
            goal: Goal::Absent,
            nics: Vec::new(),
            security_groups: Vec::new(),
            volumes: Vec::new(),
            context: bytes::Bytes::new(),
            ..want
        };
        Self { host: host.to_owned(), since, want }
    }

    /// The key of what a host has left of a server.
    #[must_use]
    pub fn key_of(host: &str, server: Uuid) -> String {
        format!("{host}/{server}")
    }
}

impl Record for LeftRow {
    const TABLE: &'static str = "compute/left";
    fn key(&self) -> String {
        Self::key_of(&self.host, self.want.server)
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![
            IndexEntry::many(Self::BY_HOST, &self.host),
            IndexEntry::many(Self::BY_SERVER, &self.want.server.to_string()),
        ]
    }
}
