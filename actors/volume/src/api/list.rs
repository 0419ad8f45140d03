//! What lists of volumes and of snapshots have in common: whose, in which order, in pages.

use std::cmp::Ordering;

use serde_json::{Value, json};
use updraft_edge::rest::{Auth, Links, Microversion, Page, Query, Service};
use updraft_runtime::{env::UnixMicros, store::Record};
use uuid::Uuid;

use super::Shared;
use crate::{error::Error, rows::BY_PROJECT};

/// From this version on a list says how long it is, if asked.
const COUNT_SINCE: Microversion = Microversion::new(3, 45);

/// What rows in a list are sorted and filtered by.
pub(super) trait Listed: Record {
    fn id(&self) -> Uuid;
    fn created_at(&self) -> UnixMicros;
    /// The attribute of this name as a text; `None` if there is none to sort or filter by.
    fn attribute(&self, name: &str) -> Option<String>;
    /// Its size, for sorting by number.
    fn size_gib(&self) -> u64;
    fn metadata(&self) -> &std::collections::BTreeMap<String, String>;
}

/// Attributes to sort by.
const SORT_KEYS: [&str; 7] =
    ["id", "name", "status", "size", "created_at", "availability_zone", "bootable"];

/// Parameters that are no filters.
const OTHERS: [&str; 9] = [
    "limit",
    "marker",
    "offset",
    "sort",
    "sort_key",
    "sort_dir",
    "all_tenants",
    "with_count",
    "project_id",
];

impl Shared {
    /// Rows of the caller's project, or of all if an administrator asks; filtered and sorted.
    pub(super) async fn listed<R: Listed>(
        &self,
        auth: &Auth,
        rule: &str,
        query: &Query,
        filters: &[&str],
    ) -> Result<Vec<R>, Error> {
        let project = self.in_project(auth, rule)?;
        let all = query.flag("all_tenants")?.unwrap_or(false) && self.is_admin(auth);
        let other = query.get("project_id").filter(|_| all).map(str::to_owned);
        let mut rows: Vec<R> = self
            .repository
            .read(|txn| match (all, &other) {
                (true, None) => Ok(txn.scan::<R>(None, usize::MAX)?),
                (true, Some(other)) => Ok(txn.find::<R>(BY_PROJECT, other)?),
                (false, _) => Ok(txn.find::<R>(BY_PROJECT, &project)?),
            })
            .await?;
        for (name, value) in query.pairs().filter(|(name, _)| !OTHERS.contains(name)) {
            match name {
                "metadata" => retain_metadata(&mut rows, value)?,
                _ if filters.contains(&name) => {
                    rows.retain(|row| matches(row.attribute(name), value));
                }
                // The real service passes over what it does not filter by.
                _ => {}
            }
        }
        let order = order(query)?;
        rows.sort_by(|a, b| compare(&order, a, b));
        Ok(rows)
    }
}

fn matches(attribute: Option<String>, wanted: &str) -> bool {
    attribute.is_some_and(|attribute| attribute.eq_ignore_ascii_case(wanted))
}

/// A dictionary as Python writes it, which is what clients send: `{'key': 'value'}`.
fn retain_metadata<R: Listed>(rows: &mut Vec<R>, text: &str) -> Result<(), Error> {
    let json = text.replace('\'', "\"");
    let wanted: std::collections::BTreeMap<String, String> = serde_json::from_str(&json)
        .map_err(|_| Error::InvalidInput(format!("metadata filter {text} is no dictionary")))?;
    rows.retain(|row| wanted.iter().all(|(key, value)| row.metadata().get(key) == Some(value)));
    Ok(())
}

/// Attributes to sort by, each descending or not.
fn order(query: &Query) -> Result<Vec<(String, bool)>, Error> {
    let mut order = Vec::new();
    if let Some(sort) = query.get("sort") {
        for part in sort.split(',') {
            let (key, direction) = part.split_once(':').unwrap_or((part, "desc"));
            order.push((sort_key(key)?, descending(direction)?));
        }
    } else if let Some(key) = query.get("sort_key") {
        let direction = query.get("sort_dir").unwrap_or("desc");
        order.push((sort_key(key)?, descending(direction)?));
    }
    let last = order.last().is_none_or(|(_, descending)| *descending);
    for key in ["created_at", "id"] {
        if order.iter().all(|(other, _)| other != key) {
            order.push((key.to_owned(), last));
        }
    }
    Ok(order)
}

fn sort_key(key: &str) -> Result<String, Error> {
    let key = key.trim();
    let key = if key == "display_name" { "name" } else { key };
    if SORT_KEYS.contains(&key) {
        return Ok(key.to_owned());
    }
    Err(Error::InvalidInput(format!("Sort key supplied was not valid: {key}.")))
}

fn descending(direction: &str) -> Result<bool, Error> {
    match direction.trim() {
        "asc" => Ok(false),
        "desc" => Ok(true),
        other => Err(Error::InvalidInput(format!(
            "Unknown sort direction, must be one of: asc, desc; found: {other}"
        ))),
    }
}

fn compare<R: Listed>(order: &[(String, bool)], a: &R, b: &R) -> Ordering {
    let by = |(key, descending): &(String, bool)| {
        let ordering = match key.as_str() {
            "size" => a.size_gib().cmp(&b.size_gib()),
            "created_at" => a.created_at().cmp(&b.created_at()),
            key => a.attribute(key).cmp(&b.attribute(key)),
        };
        if *descending { ordering.reverse() } else { ordering }
    };
    order.iter().map(by).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}

/// The page that the query asks for, with what goes around it.
pub(super) fn page<R: Listed>(
    rows: Vec<R>,
    query: &Query,
    links: &Links,
    version: Microversion,
    (collection, path): (&str, &str),
    view: impl Fn(&R) -> Value,
) -> Result<Value, Error> {
    let page = Page::of(Service::Volume, query)?;
    let count = rows.len();
    let rows: Vec<(String, R)> = rows.into_iter().map(|row| (row.id().to_string(), row)).collect();
    let rows = page.cut(rows, |(id, _)| id)?;
    let items: Vec<Value> = rows.iter().map(|(_, row)| view(row)).collect();
    let mut list = json!({ collection: items });
    if let Some(links) = page.links(links, path, query, &rows, |(id, _)| id) {
        list[format!("{collection}_links")] = links;
    }
    if version >= COUNT_SINCE && query.flag("with_count")? == Some(true) {
        list["count"] = json!(count);
    }
    Ok(list)
}
