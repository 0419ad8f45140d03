//! Users and groups.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::User;
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record, StoreError, Txn},
};

use super::{Extra, Row, name_in};
use crate::ledger::Touched;

/// A user.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) domain_id: String,
    pub(crate) enabled: bool,
    pub(crate) default_project_id: Option<String>,
    /// Argon2id in the form of a PHC string; without one nobody gets in by a password.
    pub(crate) password_hash: Option<String>,
    pub(crate) options: Extra,
    /// Tokens issued up to this time are void.
    pub(crate) revoked_before: Option<UnixMicros>,
    pub(crate) extra: Extra,
}

impl UserRow {
    /// Values are made by [`name_in`].
    pub(crate) const BY_NAME: &'static str = "name";
    pub(crate) const BY_DOMAIN: &'static str = "domain";

    pub(crate) fn published(&self) -> User {
        User {
            name: self.name.clone(),
            domain_id: self.domain_id.clone(),
            enabled: self.enabled,
            revoked_before: self.revoked_before,
        }
    }
}

impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("domain_id", &self.domain_id)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

impl Record for UserRow {
    const TABLE: &'static str = "identity/user";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![
            IndexEntry::unique(Self::BY_NAME, &name_in(&self.domain_id, &self.name)),
            IndexEntry::many(Self::BY_DOMAIN, &self.domain_id),
        ]
    }
}

impl Row for UserRow {
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::from([Touched::User(self.id.clone())]))
    }
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) domain_id: String,
    pub(crate) description: Option<String>,
    pub(crate) extra: Extra,
}

impl GroupRow {
    /// Values are made by [`name_in`].
    pub(crate) const BY_NAME: &'static str = "name";
    pub(crate) const BY_DOMAIN: &'static str = "domain";
}

impl Record for GroupRow {
    const TABLE: &'static str = "identity/group";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![
            IndexEntry::unique(Self::BY_NAME, &name_in(&self.domain_id, &self.name)),
            IndexEntry::many(Self::BY_DOMAIN, &self.domain_id),
        ]
    }
}

impl Row for GroupRow {
    /// What a group means is in its members and grants.
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::new())
    }
}
