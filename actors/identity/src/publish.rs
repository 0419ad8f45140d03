//! From rows to the snapshot that every node judges tokens by.
//!
//! Owns the way from the store to this node's verifier: everything once, then what the feed names.
//! The snapshot of a version holds at least all that was committed up to it.

use std::{collections::BTreeSet, sync::Arc};

use updraft_edge::verify::Verifier;
use updraft_protocol::identity::{IdentitySnapshot, SnapshotChanges};
use updraft_runtime::store::{Record, Store, StoreError, Txn};

use crate::{
    ledger::{self, News, Touched},
    rows::{
        DomainRow, KeysRow, ProjectRow, RevokedRow, RoleRow, UserRow, all_assignments,
        assignments_of, catalog,
    },
};

/// Keeps this node's verifier up to date with the store.
pub(crate) struct Publisher {
    store: Store,
    verifier: Arc<Verifier>,
    /// Held while a snapshot is made: two would do the same work.
    gate: tokio::sync::Mutex<()>,
}

impl Publisher {
    pub(crate) fn new(store: Store, verifier: Arc<Verifier>) -> Self {
        Self { store, verifier, gate: tokio::sync::Mutex::new(()) }
    }

    /// Publishes what was committed before this was called, and returns the snapshot that is then
    /// held here.
    pub(crate) async fn catch_up(&self) -> Result<Arc<IdentitySnapshot>, StoreError> {
        let held = self.verifier.snapshot();
        if held.version > 0 && self.store.log_read(ledger::FEED, held.version, 1).await?.is_empty()
        {
            return Ok(held);
        }
        let _gate = self.gate.lock().await;
        let held = self.verifier.snapshot();
        let changes = match ledger::news(&self.store, held.version).await? {
            News::Nothing => return Ok(held),
            News::Touched(version, touched) if held.version > 0 => {
                self.store.read(|txn| read_touched(txn, version, touched)).await?
            }
            News::Touched(..) | News::Everything => {
                let version = ledger::newest_version(&self.store).await?;
                self.store.read(|txn| read_all(txn, version)).await?
            }
        };
        self.verifier.publish(Arc::new(changes.applied_to(&held)));
        Ok(self.verifier.snapshot())
    }

    /// What leads from a version to what is held here, if anything does.
    pub(crate) async fn changes_since(
        &self,
        known_version: u64,
    ) -> Result<Option<SnapshotChanges>, StoreError> {
        let held = self.catch_up().await?;
        if known_version >= held.version {
            return Ok(None);
        }
        if known_version == 0 {
            return Ok(Some(SnapshotChanges::whole(&held)));
        }
        Ok(match ledger::news(&self.store, known_version).await? {
            // What is named may be newer than what is held here: then it is sent again later.
            News::Touched(_, touched) => Some(pick(&held, touched)),
            News::Nothing | News::Everything => Some(SnapshotChanges::whole(&held)),
        })
    }
}

fn read_touched(
    txn: &Txn,
    version: u64,
    touched: BTreeSet<Touched>,
) -> Result<SnapshotChanges, StoreError> {
    let mut changes = SnapshotChanges { version, ..SnapshotChanges::default() };
    for part in touched {
        read_part(txn, &mut changes, part)?;
    }
    Ok(changes)
}

fn read_part(txn: &Txn, changes: &mut SnapshotChanges, part: Touched) -> Result<(), StoreError> {
    match part {
        Touched::User(id) => {
            let user = txn.get::<UserRow>(&id)?.map(|row| row.published());
            changes.users.insert(id, user);
        }
        Touched::Project(id) => {
            let project = txn.get::<ProjectRow>(&id)?.map(|row| row.published());
            changes.projects.insert(id, project);
        }
        Touched::Domain(id) => {
            let domain = txn.get::<DomainRow>(&id)?.map(|row| row.published());
            changes.domains.insert(id, domain);
        }
        Touched::Role(id) => {
            let role = txn.get::<RoleRow>(&id)?.and_then(|row| row.published());
            changes.roles.insert(id, role);
        }
        Touched::Assignments(user_id) => {
            let held = assignments_of(txn, &user_id)?;
            changes.assignments.insert(user_id, (held != Default::default()).then_some(held));
        }
        Touched::AuditId(audit_id) => {
            let row = txn.get::<RevokedRow>(&audit_id.to_string())?;
            changes.revoked_audit_ids.insert(audit_id, row.map(|row| row.revoked_at));
        }
        // Whoever reads parts has been told of parts alone.
        Touched::Everything => {}
        Touched::Catalog => changes.catalog = Some(catalog(txn)?),
        Touched::Keys => {
            changes.fernet_keys = txn.get::<KeysRow>(KeysRow::KEY)?.map(|row| row.keys);
        }
    }
    Ok(())
}

fn read_all(txn: &Txn, version: u64) -> Result<SnapshotChanges, StoreError> {
    let mut changes = SnapshotChanges { version, whole: true, ..SnapshotChanges::default() };
    for (user_id, held) in all_assignments(txn)? {
        changes.assignments.insert(user_id, Some(held));
    }
    for user in all::<UserRow>(txn)? {
        changes.users.insert(user.id.clone(), Some(user.published()));
    }
    for project in all::<ProjectRow>(txn)? {
        changes.projects.insert(project.id.clone(), Some(project.published()));
    }
    for domain in all::<DomainRow>(txn)? {
        changes.domains.insert(domain.id.clone(), Some(domain.published()));
    }
    for row in all::<RoleRow>(txn)? {
        if let Some(role) = row.published() {
            changes.roles.insert(row.id, Some(role));
        }
    }
    for row in all::<RevokedRow>(txn)? {
        changes.revoked_audit_ids.insert(row.audit_id, Some(row.revoked_at));
    }
    read_part(txn, &mut changes, Touched::Catalog)?;
    read_part(txn, &mut changes, Touched::Keys)?;
    Ok(changes)
}

fn all<R: Record>(txn: &Txn) -> Result<Vec<R>, StoreError> {
    txn.scan(None, usize::MAX)
}

/// The named parts of a snapshot.
fn pick(held: &IdentitySnapshot, touched: BTreeSet<Touched>) -> SnapshotChanges {
    let mut changes = SnapshotChanges { version: held.version, ..SnapshotChanges::default() };
    for part in touched {
        match part {
            Touched::User(id) => {
                changes.users.insert(id.clone(), held.users.get(&id).cloned());
            }
            Touched::Project(id) => {
                changes.projects.insert(id.clone(), held.projects.get(&id).cloned());
            }
            Touched::Domain(id) => {
                changes.domains.insert(id.clone(), held.domains.get(&id).cloned());
            }
            Touched::Role(id) => {
                changes.roles.insert(id.clone(), held.roles.get(&id).cloned());
            }
            Touched::Assignments(id) => {
                changes.assignments.insert(id.clone(), held.assignments.get(&id).cloned());
            }
            Touched::AuditId(id) => {
                let revoked = held.revocations.audit_ids.get(&id).copied();
                changes.revoked_audit_ids.insert(id, revoked);
            }
            Touched::Everything => {}
            Touched::Catalog => changes.catalog = Some(held.catalog.clone()),
            Touched::Keys => changes.fernet_keys = Some(held.fernet_keys.clone()),
        }
    }
    changes
}
