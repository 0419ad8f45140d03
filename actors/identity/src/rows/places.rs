//! Domains and projects.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::{Domain, Project};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record, StoreError, Txn},
};

use super::{Extra, Row, name_in};
use crate::ledger::Touched;

/// A domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DomainRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) options: Extra,
    /// Tokens issued up to this time are void.
    pub(crate) revoked_before: Option<UnixMicros>,
    pub(crate) extra: Extra,
}

impl DomainRow {
    pub(crate) const BY_NAME: &'static str = "name";

    pub(crate) fn published(&self) -> Domain {
        Domain {
            name: self.name.clone(),
            enabled: self.enabled,
            revoked_before: self.revoked_before,
        }
    }
}

impl Record for DomainRow {
    const TABLE: &'static str = "identity/domain";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::unique(Self::BY_NAME, &self.name)]
    }
}

impl Row for DomainRow {
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::from([Touched::Domain(self.id.clone())]))
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProjectRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) domain_id: String,
    /// Another project, or the domain.
    pub(crate) parent_id: String,
    pub(crate) description: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) options: Extra,
    /// Tokens for it issued up to this time are void.
    pub(crate) revoked_before: Option<UnixMicros>,
    pub(crate) extra: Extra,
}

impl ProjectRow {
    /// Values are made by [`name_in`].
    pub(crate) const BY_NAME: &'static str = "name";
    pub(crate) const BY_DOMAIN: &'static str = "domain";
    pub(crate) const BY_PARENT: &'static str = "parent";

    pub(crate) fn published(&self) -> Project {
        Project {
            name: self.name.clone(),
            domain_id: self.domain_id.clone(),
            enabled: self.enabled,
            revoked_before: self.revoked_before,
        }
    }
}

impl Record for ProjectRow {
    const TABLE: &'static str = "identity/project";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![
            IndexEntry::unique(Self::BY_NAME, &name_in(&self.domain_id, &self.name)),
            IndexEntry::many(Self::BY_DOMAIN, &self.domain_id),
            IndexEntry::many(Self::BY_PARENT, &self.parent_id),
        ]
    }
}

impl Row for ProjectRow {
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::from([Touched::Project(self.id.clone())]))
    }
}
