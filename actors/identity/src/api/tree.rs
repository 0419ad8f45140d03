//! The tree of projects: what stands above and below one, and what follows from that.

use serde_json::{Map, Value, json};
use updraft_edge::rest::{Links, Query};
use updraft_runtime::store::Txn;

use super::{
    list::{Resource, is_set},
    projects,
};
use crate::{
    error::Error,
    rows::{DomainRow, ProjectRow},
};

/// Most projects one below the other, the domain not counted, as Keystone has it.
const DEPTH_MAX: usize = 5;

/// The projects above one, nearest first.
fn parents(txn: &Txn, row: &ProjectRow) -> Result<Vec<ProjectRow>, Error> {
    let mut found: Vec<ProjectRow> = Vec::new();
    let mut next = row.parent_id.clone();
    // Nothing ever moves, so there are no circles and no more than this.
    while let Some(parent) = txn.get::<ProjectRow>(&next)?.filter(|_| found.len() < DEPTH_MAX) {
        next.clone_from(&parent.parent_id);
        found.push(parent);
    }
    Ok(found)
}

/// The projects right below one.
fn children(txn: &Txn, id: &str) -> Result<Vec<ProjectRow>, Error> {
    Ok(txn.find::<ProjectRow>(ProjectRow::BY_PARENT, id)?)
}

/// All projects below one.
fn subtree(txn: &Txn, id: &str) -> Result<Vec<ProjectRow>, Error> {
    let mut found = Vec::new();
    let mut open = children(txn, id)?;
    while let Some(row) = open.pop() {
        open.extend(children(txn, &row.id)?);
        found.push(row);
    }
    Ok(found)
}

/// Refuses a new project whose parent it cannot have.
pub(super) fn check_place_of_new(txn: &Txn, row: &ProjectRow) -> Result<(), Error> {
    let (parent_id, domain_id) = (&row.parent_id, &row.domain_id);
    if parent_id != domain_id {
        if txn.get::<DomainRow>(parent_id)?.is_some() {
            return Err(Error::Invalid(format!(
                "Cannot create project, the parent ({parent_id}) is acting as a domain, but this \
                 project's domain id ({domain_id}) does not match the parent's id."
            )));
        }
        let parent = txn.get::<ProjectRow>(parent_id)?;
        let parent = parent
            .ok_or_else(|| Error::Invalid(format!("Could not find project: {parent_id}.")))?;
        if parent.domain_id != *domain_id {
            return Err(Error::Invalid(format!(
                "Cannot create project, since it specifies its domain_id {domain_id}, but \
                 specifies a parent in a different domain ({}).",
                parent.domain_id
            )));
        }
    }
    let above = parents(txn, row)?;
    let domain = txn.get::<DomainRow>(domain_id)?.filter(|domain| !domain.enabled);
    let disabled = above.iter().find(|parent| !parent.enabled).map(|parent| &parent.id);
    if let Some(id) = disabled.or(domain.as_ref().map(|domain| &domain.id)) {
        return Err(Error::Invalid(format!(
            "cannot create a project in a branch containing a disabled project: {id}"
        )));
    }
    if above.len() >= DEPTH_MAX {
        return Err(Error::Forbidden(format!(
            "Max hierarchy depth reached for {parent_id} branch."
        )));
    }
    Ok(())
}

pub(super) fn check_may_be_enabled(txn: &Txn, row: &ProjectRow) -> Result<(), Error> {
    let domain = txn.get::<DomainRow>(&row.domain_id)?;
    let enabled = domain.is_none_or(|domain| domain.enabled);
    if enabled && parents(txn, row)?.iter().all(|parent| parent.enabled) {
        return Ok(());
    }
    Err(Error::Forbidden(format!("Cannot enable project {} since it has disabled parents", row.id)))
}

pub(super) fn check_may_be_disabled(txn: &Txn, row: &ProjectRow) -> Result<(), Error> {
    if subtree(txn, &row.id)?.iter().all(|project| !project.enabled) {
        return Ok(());
    }
    Err(Error::Forbidden(format!(
        "Cannot disable project {} since its subtree contains enabled projects.",
        row.id
    )))
}

pub(super) fn check_is_leaf(txn: &Txn, row: &ProjectRow) -> Result<(), Error> {
    if children(txn, &row.id)?.is_empty() {
        return Ok(());
    }
    Err(Error::Forbidden(format!(
        "Cannot delete the project {} since it is not a leaf in the hierarchy. Use the cascade \
         option if you want to delete a whole subtree.",
        row.id
    )))
}

/// The `parents` and `subtree` that a query asks for. As lists they hold the projects in which the
/// caller has a role, as ids all of them.
pub(super) fn relatives(
    txn: &Txn,
    links: &Links,
    query: &Query,
    row: &ProjectRow,
    visible: &[Resource],
) -> Result<Resource, Error> {
    let exclusive = |relatives: &str| {
        let (list, ids) = (format!("{relatives}_as_list"), format!("{relatives}_as_ids"));
        match (is_set(query, &list), is_set(query, &ids)) {
            (true, true) => Err(Error::Invalid(format!(
                "Cannot use {list} and {ids} query params at the same time."
            ))),
            asked => Ok(asked),
        }
    };
    let mut found = Resource::new();
    let (as_list, as_ids) = exclusive("parents")?;
    if as_list {
        found.insert("parents".to_owned(), seen(links, parents(txn, row)?, visible));
    } else if as_ids {
        found.insert("parents".to_owned(), parents_as_ids(txn, row)?);
    }
    let (as_list, as_ids) = exclusive("subtree")?;
    if as_list {
        found.insert("subtree".to_owned(), seen(links, subtree(txn, &row.id)?, visible));
    } else if as_ids {
        found.insert("subtree".to_owned(), subtree_as_ids(txn, &row.id)?);
    }
    Ok(found)
}

/// Those of the projects that are visible.
fn seen(links: &Links, rows: Vec<ProjectRow>, visible: &[Resource]) -> Value {
    let is_visible = |row: &ProjectRow| {
        visible.iter().any(|project| project.get("id").is_some_and(|id| *id == row.id))
    };
    let rows = rows.into_iter().filter(is_visible);
    rows.map(|row| json!({"project": projects::view(links, row)})).collect()
}

/// `{PARENT: {GRANDPARENT: {DOMAIN: null}}}`
fn parents_as_ids(txn: &Txn, row: &ProjectRow) -> Result<Value, Error> {
    let mut ids: Vec<String> = parents(txn, row)?.into_iter().map(|row| row.id).collect();
    ids.push(row.domain_id.clone());
    Ok(ids.into_iter().rev().fold(Value::Null, |above, id| json!({ id: above })))
}

/// `{CHILD: {GRANDCHILD: null}}`, or `null` if there is none.
fn subtree_as_ids(txn: &Txn, id: &str) -> Result<Value, Error> {
    let mut below = Map::new();
    for row in children(txn, id)? {
        let ids = subtree_as_ids(txn, &row.id)?;
        below.insert(row.id, ids);
    }
    Ok(if below.is_empty() { Value::Null } else { Value::Object(below) })
}
