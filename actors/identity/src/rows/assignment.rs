//! Who has which role where, and who is in which group.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::Assignments;
use updraft_runtime::store::{IndexEntry, Record, StoreError, Txn};

use super::{RoleRow, Row};
use crate::ledger::Touched;

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Actor {
    User(String),
    Group(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Group(id) => write!(f, "group:{id}"),
        }
    }
}

impl Actor {
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Group(id) => id,
        }
    }
}

/// Where a role holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    Project(String),
    Domain(String),
    System,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(id) => write!(f, "project:{id}"),
            Self::Domain(id) => write!(f, "domain:{id}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// One role of one actor in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantRow {
    pub(crate) actor: Actor,
    pub(crate) target: Target,
    pub(crate) role_id: String,
}

impl GrantRow {
    /// Values are actors as they are displayed.
    pub(crate) const BY_ACTOR: &'static str = "actor";
    /// Values are targets as they are displayed.
    pub(crate) const BY_TARGET: &'static str = "target";
    /// Values are ids of roles.
    pub(crate) const BY_ROLE: &'static str = "role";
}

impl Record for GrantRow {
    const TABLE: &'static str = "identity/grant";

    fn key(&self) -> String {
        format!("{}/{}/{}", self.actor, self.target, self.role_id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![
            IndexEntry::many(Self::BY_ACTOR, &self.actor),
            IndexEntry::many(Self::BY_TARGET, &self.target),
            IndexEntry::many(Self::BY_ROLE, &self.role_id),
        ]
    }
}

impl Row for GrantRow {
    fn touched(&self, txn: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        let users = match &self.actor {
            Actor::User(id) => vec![id.clone()],
            Actor::Group(id) => members_of(txn, id)?,
        };
        Ok(users.into_iter().map(Touched::Assignments).collect())
    }
}

/// One user in one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberRow {
    pub(crate) group_id: String,
    pub(crate) user_id: String,
}

impl MemberRow {
    pub(crate) const BY_GROUP: &'static str = "group";
    pub(crate) const BY_USER: &'static str = "user";
}

impl Record for MemberRow {
    const TABLE: &'static str = "identity/member";

    fn key(&self) -> String {
        format!("{}/{}", self.group_id, self.user_id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![
            IndexEntry::many(Self::BY_GROUP, &self.group_id),
            IndexEntry::many(Self::BY_USER, &self.user_id),
        ]
    }
}

impl Row for MemberRow {
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::from([Touched::Assignments(self.user_id.clone())]))
    }
}

/// Ids of the users in a group.
pub(crate) fn members_of(txn: &Txn, group_id: &str) -> Result<Vec<String>, StoreError> {
    let members = txn.find::<MemberRow>(MemberRow::BY_GROUP, group_id)?;
    Ok(members.into_iter().map(|member| member.user_id).collect())
}

/// What a user may be where, by own grants and those of groups, as it is published.
pub(crate) fn assignments_of(txn: &Txn, user_id: &str) -> Result<Assignments, StoreError> {
    let mut actors = vec![Actor::User(user_id.to_owned())];
    for member in txn.find::<MemberRow>(MemberRow::BY_USER, user_id)? {
        actors.push(Actor::Group(member.group_id));
    }
    let mut held = Assignments::default();
    for actor in actors {
        for grant in txn.find::<GrantRow>(GrantRow::BY_ACTOR, &actor.to_string())? {
            let shown = shown_as(&grant.role_id, |id| txn.get::<RoleRow>(id))?;
            add(&mut held, &grant.target, &shown);
        }
    }
    Ok(held)
}

/// The same of everybody who may be anything anywhere. It reads each table once, however many there
/// are: a transaction may look up only so many rows one by one.
pub(crate) fn all_assignments(txn: &Txn) -> Result<BTreeMap<String, Assignments>, StoreError> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in txn.scan::<MemberRow>(None, usize::MAX)? {
        members.entry(row.group_id).or_default().push(row.user_id);
    }
    let roles = txn.scan::<RoleRow>(None, usize::MAX)?;
    let roles: BTreeMap<&str, &RoleRow> = roles.iter().map(|row| (&*row.id, row)).collect();
    let mut all: BTreeMap<String, Assignments> = BTreeMap::new();
    for grant in txn.scan::<GrantRow>(None, usize::MAX)? {
        let shown = shown_as(&grant.role_id, |id| Ok(roles.get(id).map(|row| (*row).clone())))?;
        if shown.is_empty() {
            continue;
        }
        match grant.actor {
            Actor::User(id) => add(all.entry(id).or_default(), &grant.target, &shown),
            Actor::Group(id) => {
                for user_id in members.get(&id).into_iter().flatten() {
                    add(all.entry(user_id.clone()).or_default(), &grant.target, &shown);
                }
            }
        }
    }
    Ok(all)
}

fn add(held: &mut Assignments, place: &Target, roles: &[String]) {
    if roles.is_empty() {
        return;
    }
    let place = match place {
        Target::Project(id) => held.projects.entry(id.clone()).or_default(),
        Target::Domain(id) => held.domains.entry(id.clone()).or_default(),
        Target::System => &mut held.system,
    };
    place.extend(roles.iter().cloned());
}

/// What a granted role shows as: itself, or the roles for all that it leads to if it is for one
/// domain only.
fn shown_as(
    role_id: &str,
    role: impl Fn(&str) -> Result<Option<RoleRow>, StoreError>,
) -> Result<Vec<String>, StoreError> {
    let mut shown = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![role_id.to_owned()];
    while let Some(id) = open.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        match role(&id)? {
            // What this one implies, its readers follow themselves.
            Some(role) if role.domain_id.is_none() => shown.push(id),
            Some(role) => open.extend(role.implies),
            None => {}
        }
    }
    Ok(shown)
}
