//! Security groups.

use std::collections::BTreeSet;

use updraft_runtime::store::Txn;
use uuid::Uuid;

use super::{quotas, save};
use crate::{
    error::{Outcome, security as refusals},
    rows::{Direction, EtherType, GroupRow, PortRow, Resource, RuleRow, Standard, parse_id},
    work::Work,
};

/// The name and the description of every project's default group.
const DEFAULT: (&str, &str) = ("default", "Default security group");

/// The group that a client's text names.
pub(crate) fn get(txn: &Txn, id: &str) -> Outcome<GroupRow> {
    let row = match parse_id(id) {
        Some(_) => txn.get::<GroupRow>(id)?,
        None => None,
    };
    row.ok_or_else(|| refusals::group_not_found(id))
}

/// The rules of a group.
pub(crate) fn rules_of(txn: &Txn, group: Uuid) -> Outcome<Vec<RuleRow>> {
    Ok(txn.find("group", &group.to_string())?)
}

/// These groups, as a port of this project may have them.
pub(crate) fn groups_for(txn: &Txn, ids: &[String], project_id: &str) -> Outcome<BTreeSet<Uuid>> {
    let mut found = BTreeSet::new();
    let mut missing = Vec::new();
    for id in ids {
        match get(txn, id) {
            Ok(group) if group.project_id == project_id || project_id.is_empty() => {
                found.insert(group.id);
            }
            Ok(_) => missing.push(id.as_str()),
            Err(error) if error.name().is_some() => missing.push(id.as_str()),
            Err(error) => return Err(error),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(refusals::group_not_found(missing.join(", ")))
}

/// A project's default group, made if it has none yet.
pub(crate) fn ensure_default(work: &mut Work<'_>, project_id: &str) -> Outcome<GroupRow> {
    if let Some(group) = work.txn.find_one::<GroupRow>("default", project_id)? {
        return Ok(group);
    }
    let group = GroupRow {
        id: work.id(),
        project_id: project_id.to_owned(),
        name: DEFAULT.0.to_owned(),
        stateful: true,
        is_default: true,
        standard: Standard::new(Some(DEFAULT.1.to_owned()), work.now),
    };
    work.txn.insert(&group)?;
    for ethertype in [EtherType::V4, EtherType::V6] {
        template(work, &group, Direction::Ingress, ethertype, Some(group.id))?;
        template(work, &group, Direction::Egress, ethertype, None)?;
    }
    Ok(group)
}

/// Makes a group. What leaves its ports may pass; nothing may enter.
pub(crate) fn create(
    work: &mut Work<'_>,
    project_id: &str,
    name: String,
    description: Option<String>,
    stateful: bool,
) -> Outcome<GroupRow> {
    ensure_default(work, project_id)?;
    quotas::check(work, project_id, Resource::SecurityGroup, 1)?;
    quotas::check(work, project_id, Resource::SecurityGroupRule, 2)?;
    let group = GroupRow {
        id: work.id(),
        project_id: project_id.to_owned(),
        name,
        stateful,
        is_default: false,
        standard: Standard::new(description, work.now),
    };
    work.txn.insert(&group)?;
    for ethertype in [EtherType::V4, EtherType::V6] {
        template(work, &group, Direction::Egress, ethertype, None)?;
    }
    Ok(group)
}

/// A rule that groups are born with.
fn template(
    work: &mut Work<'_>,
    group: &GroupRow,
    direction: Direction,
    ethertype: EtherType,
    remote_group: Option<Uuid>,
) -> Outcome<()> {
    let rule = RuleRow {
        id: work.id(),
        project_id: group.project_id.clone(),
        group: group.id,
        direction,
        ethertype,
        protocol: None,
        port_range_min: None,
        port_range_max: None,
        remote_ip_prefix: None,
        remote_group,
        standard: Standard::new(None, work.now),
    };
    Ok(work.txn.insert(&rule)?)
}

/// Changes a group's name, description or manner.
pub(crate) fn update(work: &mut Work<'_>, old: &GroupRow, new: GroupRow) -> Outcome<GroupRow> {
    if old.is_default && new.name != old.name {
        return Err(refusals::cannot_update_default());
    }
    if new.stateful != old.stateful {
        check_unused(work.txn, old.id)?;
    }
    Ok(save!(work, old, new))
}

/// Deletes a group that no port has.
pub(crate) fn delete(work: &mut Work<'_>, group: &GroupRow, is_admin: bool) -> Outcome<()> {
    check_unused(work.txn, group.id)?;
    if group.is_default && !is_admin {
        return Err(refusals::cannot_remove_default());
    }
    for rule in rules_of(work.txn, group.id)? {
        work.txn.delete::<RuleRow>(&rule.id.to_string())?;
    }
    for rule in work.txn.find::<RuleRow>("remote", &group.id.to_string())? {
        work.txn.delete::<RuleRow>(&rule.id.to_string())?;
    }
    work.txn.delete::<GroupRow>(&group.id.to_string())?;
    Ok(())
}

fn check_unused(txn: &Txn, group: Uuid) -> Outcome<()> {
    match txn.find_page::<PortRow>("group", &group.to_string(), None, 1)?.is_empty() {
        true => Ok(()),
        false => Err(refusals::group_in_use(group)),
    }
}
