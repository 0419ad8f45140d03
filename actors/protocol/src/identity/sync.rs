//! How a snapshot reaches every control node and stays fresh there.
//!
//! Every control node has a keeper of its snapshot. It asks the identity service for news once per
//! [`POLL`], and it is told of a change at once: the request that made it waits, within bounds,
//! until every live keeper says that it holds it.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_runtime::{env::UnixMicros, message, protocol};

use super::{
    ApplicationCredential, Assignments, AuditId, CatalogService, Domain, FernetKeys,
    IdentitySnapshot, Project, Role, User,
};

/// The topic of the identity service.
pub const TOPIC: &str = "identity";
/// What the identity service understands.
pub struct Identity;
protocol!(Identity = TOPIC);

/// The topic of the snapshot's keeper, one on every control node.
pub const KEEPER: &str = "identity.keeper";
/// What keepers understand.
pub struct Keeper;
protocol!(Keeper = KEEPER);

/// How often a keeper asks for news: how late a revocation is at worst where it was not heard of.
pub const POLL: Duration = Duration::from_secs(1);

/// Most bytes of news in one message; the rest is asked for. A quarter of what a frame may hold.
pub const PIECE_MAX_BYTES: usize = 1 << 20;

/// "What has changed since this version?"
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetSnapshot {
    /// What the caller holds; 0 is nothing.
    pub known_version: u64,
    /// What the caller has received of the answer so far.
    pub received: Option<Received>,
}
message!(call GetSnapshot = Identity / "snapshot", Fenced,
    from ["control"], to ["control"], reply SnapshotPiece);

/// How much of which answer has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The version that the answer leads to.
    pub version: u64,
    /// How many bytes of it.
    pub bytes: u64,
}

/// A piece of encoded [`SnapshotChanges`], or nothing if the caller knows it all.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPiece {
    /// The version that the whole leads to. If it is not the one that was asked for, this is the
    /// first piece of a newer answer.
    pub version: u64,
    /// The length of the whole; 0 if there is no news.
    pub total_bytes: u64,
    /// Where this piece stands in the whole.
    pub offset: u64,
    /// The piece.
    pub bytes: Bytes,
}

impl std::fmt::Debug for SnapshotPiece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { version, total_bytes, offset, .. } = self;
        write!(f, "SnapshotPiece({version}: {offset} of {total_bytes} bytes)")
    }
}

/// "There is this version": answered with what the keeper then holds, which is as new unless it could
/// not fetch it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The version.
    pub version: u64,
}
message!(call Changed = Keeper / "changed", Fenced,
    from ["control"], to ["control"], reply Held, deadline_ms 1_000);

/// What a keeper holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The version of its snapshot.
    pub version: u64,
    /// What its clock says.
    pub wall: UnixMicros,
}

/// "Make the staged key the primary one and stage a new one."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateKeys;
message!(call RotateKeys = Identity / "rotate_keys", Deduplicated,
    from ["control"], to ["control"], reply Rotated);

/// The keys after a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The number of the primary key.
    pub primary: u32,
    /// How many keys there are.
    pub keys: usize,
}

/// What turns one snapshot into a later one. `None` in a map means that the entry is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotChanges {
    /// The version that these lead to.
    pub version: u64,
    /// Whether these are everything: what they do not name is not there.
    pub whole: bool,
    /// The keys of tokens, if they changed.
    pub fernet_keys: Option<FernetKeys>,
    /// Users by id.
    pub users: BTreeMap<String, Option<User>>,
    /// Projects by id.
    pub projects: BTreeMap<String, Option<Project>>,
    /// Domains by id.
    pub domains: BTreeMap<String, Option<Domain>>,
    /// Roles by id.
    pub roles: BTreeMap<String, Option<Role>>,
    /// Assignments by the user's id.
    pub assignments: BTreeMap<String, Option<Assignments>>,
    /// Application credentials by id.
    pub application_credentials: BTreeMap<String, Option<ApplicationCredential>>,
    /// The whole catalog, if it changed.
    pub catalog: Option<Vec<CatalogService>>,
    /// Tokens that were revoked, by audit id.
    pub revoked_audit_ids: BTreeMap<AuditId, Option<UnixMicros>>,
    /// Chains of tokens that were revoked, by the audit id of the first.
    pub revoked_chain_ids: BTreeMap<AuditId, Option<UnixMicros>>,
}

impl SnapshotChanges {
    /// All that it takes to get this snapshot from nothing.
    #[must_use]
    pub fn whole(snapshot: &IdentitySnapshot) -> Self {
        Self {
            version: snapshot.version,
            whole: true,
            fernet_keys: Some(snapshot.fernet_keys.clone()),
            users: all(&snapshot.users),
            projects: all(&snapshot.projects),
            domains: all(&snapshot.domains),
            roles: all(&snapshot.roles),
            assignments: all(&snapshot.assignments),
            application_credentials: all(&snapshot.application_credentials),
            catalog: Some(snapshot.catalog.clone()),
            revoked_audit_ids: all(&snapshot.revocations.audit_ids),
            revoked_chain_ids: all(&snapshot.revocations.chain_ids),
        }
    }

    /// The later snapshot.
    #[must_use]
    pub fn applied_to(self, base: &IdentitySnapshot) -> IdentitySnapshot {
        let mut next = if self.whole { IdentitySnapshot::default() } else { base.clone() };
        next.version = self.version;
        next.fernet_keys = self.fernet_keys.unwrap_or(next.fernet_keys);
        next.catalog = self.catalog.unwrap_or(next.catalog);
        change(&mut next.users, self.users);
        change(&mut next.projects, self.projects);
        change(&mut next.domains, self.domains);
        change(&mut next.roles, self.roles);
        change(&mut next.assignments, self.assignments);
        change(&mut next.application_credentials, self.application_credentials);
        change(&mut next.revocations.audit_ids, self.revoked_audit_ids);
        change(&mut next.revocations.chain_ids, self.revoked_chain_ids);
        next
    }
}

fn all<K: Ord + Clone, V: Clone>(map: &BTreeMap<K, V>) -> BTreeMap<K, Option<V>> {
    map.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()
}

fn change<K: Ord, V>(map: &mut BTreeMap<K, V>, changes: BTreeMap<K, Option<V>>) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}
