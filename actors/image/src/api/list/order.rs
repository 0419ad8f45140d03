//! In which order a list comes.

use std::cmp::Ordering;

use updraft_edge::rest::Query;

use super::directed;
use crate::{error::Error, rows::ImageRow};

const KEYS: [&str; 8] =
    ["name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"];

/// Attributes to sort by, the first counting most, each descending or not.
pub(super) struct Order(Vec<(&'static str, bool)>);

impl Order {
    pub(super) fn read(query: &Query) -> Result<Self, Error> {
        let mut order = match query.get("sort") {
            Some(sort) => combined(query, sort)?,
            None => classic(query)?,
        };
        let descending = order.last().is_none_or(|(_, descending)| *descending);
        // What comes last makes the order total, so that pages never overlap.
        for key in ["created_at", "id"] {
            if order.iter().all(|(other, _)| *other != key) {
                order.push((key, descending));
            }
        }
        Ok(Self(order))
    }

    pub(super) fn compare(&self, a: &ImageRow, b: &ImageRow) -> Ordering {
        let by = |(key, descending): &(&str, bool)| directed(compare(key, a, b), *descending);
        self.0.iter().map(by).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// `sort=key:dir,key`
fn combined(query: &Query, sort: &str) -> Result<Vec<(&'static str, bool)>, Error> {
    if query.get("sort_key").or(query.get("sort_dir")).is_some() {
        return Err(Error::invalid("Old and new sorting syntax cannot be combined"));
    }
    let one = |part: &str| {
        let (name, direction) = part.split_once(':').unwrap_or((part, "desc"));
        Ok((key(name.trim())?, descending(direction.trim())?))
    };
    sort.trim().split(',').map(one).collect()
}

/// `sort_key=a&sort_dir=asc`, repeated; one direction does for all.
fn classic(query: &Query) -> Result<Vec<(&'static str, bool)>, Error> {
    let mut keys =
        query.all("sort_key").map(|name| key(name.trim())).collect::<Result<Vec<_>, _>>()?;
    let directions =
        query.all("sort_dir").map(|text| descending(text.trim())).collect::<Result<Vec<_>, _>>()?;
    if directions.len() > 1 && directions.len() != keys.len() {
        return Err(Error::invalid("Number of sort dirs does not match the number of sort keys"));
    }
    if keys.is_empty() {
        keys.push("created_at");
    }
    let direction = |index: usize| directions.get(index).or(directions.first()).copied();
    Ok(keys.into_iter().enumerate().map(|(i, key)| (key, direction(i).unwrap_or(true))).collect())
}

fn key(name: &str) -> Result<&'static str, Error> {
    KEYS.into_iter().find(|key| *key == name).ok_or_else(|| {
        Error::invalid(format!(
            "Invalid sort key: {name}. It must be one of the following: {}.",
            KEYS.join(", ")
        ))
    })
}

fn descending(direction: &str) -> Result<bool, Error> {
    match direction {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(Error::invalid(format!("Invalid sort direction: {direction}"))),
    }
}

fn compare(key: &str, a: &ImageRow, b: &ImageRow) -> Ordering {
    let size = |row: &ImageRow| row.content.as_ref().map(|content| content.size_bytes);
    match key {
        "name" => a.about.name.cmp(&b.about.name),
        "status" => a.status.as_str().cmp(b.status.as_str()),
        "container_format" => a.about.container_format.cmp(&b.about.container_format),
        "disk_format" => a.about.disk_format.cmp(&b.about.disk_format),
        "size" => size(a).cmp(&size(b)),
        "created_at" => a.created_at.cmp(&b.created_at),
        "updated_at" => a.updated_at.cmp(&b.updated_at),
        _ => a.id.cmp(&b.id),
    }
}
