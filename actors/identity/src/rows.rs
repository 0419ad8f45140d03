//! What the identity service stores.
//!
//! Each row says in [`Row::touched`] what of the published snapshot depends on it; whoever writes it
//! writes that into the feed with the same transaction ([`crate::ledger`]).

mod assignment;
mod catalog;
mod keys;
mod people;
mod places;
mod revoked;
mod role;

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use updraft_runtime::store::{Record, StoreError, Txn};

pub(crate) use assignment::{
    Actor, GrantRow, MemberRow, Target, all_assignments, assignments_of, members_of,
};
pub(crate) use catalog::{EndpointRow, RegionRow, ServiceRow, catalog};
pub(crate) use keys::KeysRow;
pub(crate) use people::{GroupRow, UserRow};
pub(crate) use places::{DomainRow, ProjectRow};
pub(crate) use revoked::RevokedRow;
pub(crate) use role::{RoleRow, implied_by};

use crate::ledger::Touched;

/// The id of the domain that a cloud begins with.
pub(crate) const DEFAULT_DOMAIN_ID: &str = "default";

/// Attributes or options by name, kept as they came.
pub(crate) type Extra = Map<String, Value>;

/// A row of this service.
pub(crate) trait Row: Record {
    /// What of the snapshot depends on this row.
    fn touched(&self, txn: &Txn) -> Result<BTreeSet<Touched>, StoreError>;
}

/// The value of an index of names that are unique in their domain. No id of a domain holds a slash.
pub(crate) fn name_in(domain_id: &str, name: &str) -> String {
    format!("{domain_id}/{name}")
}

/// Whether a project, domain or role may not be changed or deleted.
pub(crate) fn is_immutable(options: &Extra) -> bool {
    options.get("immutable") == Some(&Value::Bool(true))
}
