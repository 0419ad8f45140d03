//! Roles and what they imply.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::Role;
use updraft_runtime::store::{IndexEntry, Record, StoreError, Txn};

use super::{Actor, Extra, GrantRow, Row, members_of, name_in};
use crate::ledger::Touched;

/// A role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoleRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The domain for whose projects alone it is. Such a role never shows in a token: it stands for
    /// those that it implies.
    pub(crate) domain_id: Option<String>,
    pub(crate) description: Option<String>,
    /// Ids of roles that whoever has this one has too.
    pub(crate) implies: BTreeSet<String>,
    pub(crate) options: Extra,
    pub(crate) extra: Extra,
}

impl RoleRow {
    /// Values are made by [`name_in`]; the domain of a role for all is the empty text.
    pub(crate) const BY_NAME: &'static str = "name";
    pub(crate) const BY_IMPLIED: &'static str = "implied";
    pub(crate) const BY_DOMAIN: &'static str = "domain";

    /// What nodes judge tokens by. A role of one domain is in no token, only what it implies is.
    pub(crate) fn published(&self) -> Option<Role> {
        let role = || Role { name: self.name.clone(), implies: self.implies.clone() };
        self.domain_id.is_none().then(role)
    }
}

impl Record for RoleRow {
    const TABLE: &'static str = "identity/role";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let domain = self.domain_id.as_deref().unwrap_or_default();
        let implied = self.implies.iter().map(|id| IndexEntry::many(Self::BY_IMPLIED, id));
        let name = IndexEntry::unique(Self::BY_NAME, &name_in(domain, &self.name));
        let of_domain = self.domain_id.iter().map(|id| IndexEntry::many(Self::BY_DOMAIN, id));
        std::iter::once(name).chain(implied).chain(of_domain).collect()
    }
}

impl Row for RoleRow {
    fn touched(&self, txn: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        if self.domain_id.is_none() {
            return Ok(BTreeSet::from([Touched::Role(self.id.clone())]));
        }
        let mut touched = BTreeSet::new();
        for role in domain_roles_that_imply(txn, &self.id)? {
            for grant in txn.find::<GrantRow>(GrantRow::BY_ROLE, &role)? {
                match grant.actor {
                    Actor::User(id) => {
                        touched.insert(Touched::Assignments(id));
                    }
                    Actor::Group(id) => {
                        touched.extend(members_of(txn, &id)?.into_iter().map(Touched::Assignments));
                    }
                }
            }
        }
        Ok(touched)
    }
}

/// The role and every other that leads to it.
fn domain_roles_that_imply(txn: &Txn, id: &str) -> Result<BTreeSet<String>, StoreError> {
    let mut found = BTreeSet::new();
    let mut open = vec![id.to_owned()];
    while let Some(id) = open.pop() {
        let prior = txn.find::<RoleRow>(RoleRow::BY_IMPLIED, &id)?;
        if found.insert(id) {
            open.extend(prior.into_iter().map(|role| role.id));
        }
    }
    Ok(found)
}

/// The role and all that it implies, directly or through others; one that is gone is left out.
pub(crate) fn implied_by(txn: &Txn, id: &str) -> Result<Vec<RoleRow>, StoreError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![id.to_owned()];
    while let Some(id) = open.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        if let Some(role) = txn.get::<RoleRow>(&id)? {
            open.extend(role.implies.iter().cloned());
            found.push(role);
        }
    }
    Ok(found)
}
