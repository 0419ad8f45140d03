//! What a host may still have of a server that is another's: what was taken from it without its own word, and the disk
//! that it keeps while the server is moved.

use serde::{Deserialize, Serialize};
use updraft_protocol::compute::{Goal, GuestWant, RootDisk};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

use super::ServerRow;
use crate::conductor::want_of;

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
            disk: RootDisk::Here,
            ..want
        };
        Self { host: host.to_owned(), since, want }
    }

    /// What is to be noted of the host that keeps the disk of a server that moves, when that changes so; `None` if what is
    /// known of it stays.
    #[must_use]
    pub fn kept(
        known: Option<&Self>,
        old: &ServerRow,
        new: Option<&ServerRow>,
        now: UnixMicros,
    ) -> Option<Self> {
        let from = &old.migration.as_ref()?.from;
        let back = |row: &ServerRow| row.placement.as_ref().is_some_and(|at| at.host == *from);
        if new.is_some_and(back) {
            return None;
        }
        let parked = new.is_some_and(|new| new.is_parked_on(from));
        match known {
            None if parked => Some(Self::parked(from, want_of(old), now)),
            Some(left) if left.is_parked() && !parked => {
                let generation = new.map_or(old.generation, |new| new.generation);
                Some(left.cleared(generation, now))
            }
            _ => None,
        }
    }

    /// The same as [`new`](Self::new) of a host that is to keep the disk.
    fn parked(host: &str, want: GuestWant, since: UnixMicros) -> Self {
        let left = Self::new(host, want, since);
        Self { want: GuestWant { disk: RootDisk::Parked, ..left.want }, ..left }
    }

    /// Whether the host is to keep the disk, so that this stays though it has nothing else.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.want.disk == RootDisk::Parked
    }

    /// The same once the disk is of no use to anybody, with a generation above all that the host has heard.
    fn cleared(&self, generation: u64, since: UnixMicros) -> Self {
        let generation = generation.max(self.want.generation + 1);
        let want = GuestWant { generation, ..self.want.clone() };
        Self::new(&self.host, want, since)
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
