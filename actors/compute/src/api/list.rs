//! GET /servers and /servers/detail: one pass over one index, then filters, order and page.
//!
//! Rows that have not changed since the last list are not decoded again.

use std::{cmp::Ordering, net::IpAddr, sync::Arc};

use axum::response::Response;
use regex::{Regex, RegexBuilder};
use serde::Serialize;
use serde_json::Value;
use updraft_edge::rest::{Page, Query, Service};
use updraft_runtime::{env::UnixMicros, store::Txn};

use super::{
    call::Call,
    server_view::{Brief, Full, Scene},
    servers::json,
};
use crate::{
    error::{Outcome, bad_request, forbidden},
    rows::ServerRow,
    view,
};

/// Most memory that a user's pattern may take when compiled, in bytes.
const PATTERN_MAX_BYTES: usize = 1 << 18;

/// What a query may name from 2.75 on; before, other names are passed over.
const KNOWN: &[&str] = &[
    "access_ip_v4",
    "access_ip_v6",
    "all_tenants",
    "auto_disk_config",
    "availability_zone",
    "changes-before",
    "changes-since",
    "config_drive",
    "created_at",
    "deleted",
    "description",
    "display_description",
    "display_name",
    "flavor",
    "host",
    "hostname",
    "image",
    "image_ref",
    "instance_type_id",
    "ip",
    "ip6",
    "kernel_id",
    "key_name",
    "launch_index",
    "launched_at",
    "limit",
    "locked",
    "locked_by",
    "marker",
    "name",
    "node",
    "not-tags",
    "not-tags-any",
    "power_state",
    "progress",
    "project_id",
    "ramdisk_id",
    "reservation_id",
    "root_device_name",
    "soft_deleted",
    "sort_dir",
    "sort_key",
    "status",
    "tags",
    "tags-any",
    "task_state",
    "tenant_id",
    "terminated_at",
    "user_id",
    "uuid",
    "vm_state",
];

/// Filters that only an administrator's request is asked for; of others they are passed over.
const ADMINS: &[&str] = &["host", "node", "vm_state", "task_state", "power_state", "deleted"];

pub(super) async fn index(call: Call, query: Query) -> Outcome<Response> {
    list(call, query, false).await
}

pub(super) async fn detail(call: Call, query: Query) -> Outcome<Response> {
    list(call, query, true).await
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'r> {
    Brief(Brief<'r>),
    Full(Full<'r>),
}

#[derive(Serialize)]
struct Listed<'r> {
    servers: Vec<Entry<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    servers_links: Option<Value>,
}

/// A row and its id as text, by which pages are cut.
type Item = (String, Arc<ServerRow>);

async fn list(call: Call, query: Query, detail: bool) -> Outcome<Response> {
    let rule = if detail { "servers:detail" } else { "servers:index" };
    call.must(rule)?;
    if call.version >= 75 {
        query.only(KNOWN)?;
    }
    let all_tenants = asked_for_all(&query)?;
    if all_tenants {
        call.must(&format!("{rule}:get_all_tenants"))?;
    }
    let page = Page::of(Service::Compute, &query)?;
    let filters = Filters::of(&call, &query, all_tenants)?;
    let order = Order::of(&query)?;
    let path = if detail { "servers/detail" } else { "servers" };
    call.api
        .context
        .store
        .read(|txn| {
            let mut rows = rows(&call, txn, all_tenants)?;
            rows.retain(|row| filters.hold(row));
            order.sort(&mut rows);
            let items: Vec<Item> = rows.into_iter().map(|row| (row.id.to_string(), row)).collect();
            let items = page.cut(items, |item| &item.0)?;
            let scene = Scene::new(&call, txn, true)?;
            let entry = |(_, row)| match detail {
                true => Entry::Full(scene.full(row)),
                false => Entry::Brief(scene.brief(row)),
            };
            json(&Listed {
                servers: items.iter().map(|(id, row)| entry((id, row))).collect(),
                servers_links: page.links(&call.links, path, &query, &items, |item| &item.0),
            })
        })
        .await
}

/// `all_tenants` alone, without a value, asks for all.
fn asked_for_all(query: &Query) -> Outcome<bool> {
    match query.get("all_tenants") {
        Some("") => Ok(true),
        _ => Ok(query.flag("all_tenants")?.unwrap_or(false)),
    }
}

fn rows(call: &Call, txn: &Txn, all_tenants: bool) -> Outcome<Vec<Arc<ServerRow>>> {
    let kept = &call.api.listed;
    if all_tenants {
        return Ok(txn.scan_decoded(kept)?);
    }
    Ok(txn.find_decoded(kept, "project", call.project_id()?)?)
}

/// What a server must be to be listed.
struct Filters {
    checks: Vec<Check>,
}

enum Check {
    Name(Regex),
    Address {
        pattern: Regex,
        version: u8,
    },
    Status(Vec<String>),
    /// A text of the row is this.
    Is(fn(&ServerRow) -> String, String),
    ChangedSince(UnixMicros),
    ChangedBefore(UnixMicros),
    Locked(bool),
    Tags {
        these: Vec<String>,
        all: bool,
        wanted: bool,
    },
    Nothing,
}

impl Filters {
    fn of(call: &Call, query: &Query, all_tenants: bool) -> Outcome<Self> {
        let admin = call.may("servers:allow_all_filters");
        let mut checks = Vec::new();
        let mut statuses = Vec::new();
        for (name, value) in query.pairs() {
            if ADMINS.contains(&name) && !admin {
                continue;
            }
            match name {
                "name" | "display_name" => checks.push(matching(value, Check::Name)),
                "ip" => checks.push(matching(value, in_address(4))),
                "ip6" => checks.push(matching(value, in_address(6))),
                "status" => statuses.push(value.to_ascii_uppercase()),
                "project_id" | "tenant_id" if all_tenants => {
                    checks.push(Check::Is(|row| row.project_id.clone(), value.to_owned()));
                }
                "deleted" if query.flag("deleted")? == Some(true) => checks.push(Check::Nothing),
                "tags" | "tags-any" | "not-tags" | "not-tags-any" if call.version >= 26 => {
                    checks.push(tags(name, value));
                }
                _ => checks.extend(exact(name, value)),
            }
        }
        if !statuses.is_empty() {
            checks.push(status(call, statuses)?);
        }
        if let Some(since) = query.time("changes-since")? {
            checks.push(Check::ChangedSince(since));
        }
        if call.version >= 66
            && let Some(before) = query.time("changes-before")?
        {
            checks.push(Check::ChangedBefore(before));
        }
        if call.version >= 73
            && let Some(locked) = query.flag("locked")?
        {
            checks.push(Check::Locked(locked));
        }
        Ok(Self { checks })
    }

    fn hold(&self, row: &ServerRow) -> bool {
        self.checks.iter().all(|check| check.holds(row))
    }
}

/// A filter by a text that must be the same.
fn exact(name: &str, value: &str) -> Option<Check> {
    let host = |row: &ServerRow| row.placement.as_ref().map(|p| p.host.clone()).unwrap_or_default();
    let text: fn(&ServerRow) -> String = match name {
        "uuid" => |row| row.id.to_string(),
        "flavor" => |row| row.flavor.id.clone(),
        "image" | "image_ref" => |row| row.image.map(|id| id.to_string()).unwrap_or_default(),
        "user_id" => |row| row.user_id.clone(),
        "reservation_id" => |row| row.reservation_id.clone(),
        "hostname" => |row| row.hostname.clone(),
        "key_name" => |row| row.key.as_ref().map(|key| key.name.clone()).unwrap_or_default(),
        "availability_zone" => {
            |row| row.availability_zone.clone().unwrap_or_else(|| crate::conductor::ZONE.to_owned())
        }
        "description" | "display_description" => |row| row.description.clone().unwrap_or_default(),
        "launch_index" => |row| row.launch_index.to_string(),
        "vm_state" => |row| view::vm_state(row.state).to_owned(),
        "task_state" => |row| view::state(row).task_state.unwrap_or("None").to_owned(),
        "power_state" => |row| view::state(row).power_state.to_string(),
        "host" | "node" => host,
        _ => return None,
    };
    Some(Check::Is(text, value.to_owned()))
}

/// A pattern as the database would read it; what is none is taken as it stands, and what is too large
/// matches nothing.
fn matching(text: &str, check: impl Fn(Regex) -> Check) -> Check {
    let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_MAX_BYTES).build();
    build(text).or_else(|_| build(&regex::escape(text))).map_or(Check::Nothing, check)
}

fn in_address(version: u8) -> impl Fn(Regex) -> Check {
    move |pattern| Check::Address { pattern, version }
}

fn status(call: &Call, statuses: Vec<String>) -> Outcome<Check> {
    const KNOWN: [&str; 10] = [
        "ACTIVE",
        "BUILD",
        "ERROR",
        "HARD_REBOOT",
        "REBOOT",
        "RESIZE",
        "REVERT_RESIZE",
        "SHUTOFF",
        "VERIFY_RESIZE",
        "DELETED",
    ];
    // States of nova that no server has here.
    const UNUSED: [&str; 10] = [
        "PASSWORD",
        "REBUILD",
        "MIGRATING",
        "PAUSED",
        "SUSPENDED",
        "RESCUE",
        "SOFT_DELETED",
        "SHELVED",
        "SHELVED_OFFLOADED",
        "UNKNOWN",
    ];
    if statuses.iter().any(|status| status == "DELETED") && !call.is_admin() {
        return Err(forbidden("Only administrators may list deleted instances"));
    }
    let known =
        |status: &String| KNOWN.contains(&status.as_str()) || UNUSED.contains(&status.as_str());
    if call.version >= 38 && !statuses.iter().all(known) {
        return Err(bad_request("Invalid status value"));
    }
    Ok(Check::Status(statuses))
}

fn tags(name: &str, value: &str) -> Check {
    Check::Tags {
        these: value.split(',').map(str::to_owned).collect(),
        all: !name.ends_with("-any"),
        wanted: !name.starts_with("not-"),
    }
}

impl Check {
    fn holds(&self, row: &ServerRow) -> bool {
        match self {
            Self::Name(pattern) => pattern.is_match(&row.name),
            Self::Address { pattern, version } => addresses(row)
                .filter(|address| address.is_ipv4() == (*version == 4))
                .any(|address| pattern.is_match(&address.to_string())),
            Self::Status(these) => {
                let status = view::state(row).status;
                these.iter().any(|wanted| wanted == status)
            }
            Self::Is(text, wanted) => text(row) == *wanted,
            Self::ChangedSince(since) => row.updated >= *since,
            Self::ChangedBefore(before) => row.updated <= *before,
            Self::Locked(locked) => row.locked.is_some() == *locked,
            Self::Tags { these, all, wanted } => {
                let has = |tag: &String| row.tags.contains(tag);
                let found = if *all { these.iter().all(has) } else { these.iter().any(has) };
                found == *wanted
            }
            Self::Nothing => false,
        }
    }
}

fn addresses(row: &ServerRow) -> impl Iterator<Item = IpAddr> {
    row.ports.iter().flat_map(|port| &port.fixed_ips).map(|ip| ip.address)
}

/// How a list is ordered: by these texts, descending or not.
struct Order(Vec<(Key, bool)>);

type Key = fn(&ServerRow, &ServerRow) -> Ordering;

impl Order {
    fn of(query: &Query) -> Outcome<Self> {
        let dirs: Vec<&str> = query.all("sort_dir").collect();
        let keys: Vec<&str> = query.all("sort_key").collect();
        let mut order = Vec::new();
        for (index, name) in keys.iter().enumerate() {
            let dir = dirs.get(index).or(dirs.first()).copied().unwrap_or("desc");
            let descending = match dir {
                "asc" => false,
                "desc" => true,
                other => {
                    return Err(bad_request(format!(
                        "Invalid input for query parameters sort_dir. Value: {other}. '{other}' is \
                         not one of asc, desc"
                    )));
                }
            };
            order.push((key(name)?, descending));
        }
        let descending = dirs.first().is_none_or(|dir| *dir != "asc");
        order.push((|a, b| a.created.cmp(&b.created), descending));
        order.push((|a, b| a.id.cmp(&b.id), descending));
        Ok(Self(order))
    }

    fn sort(&self, rows: &mut [Arc<ServerRow>]) {
        rows.sort_by(|a, b| {
            let mut orders = self.0.iter().map(|(key, descending)| match descending {
                true => key(b, a),
                false => key(a, b),
            });
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
    }
}

fn key(name: &str) -> Outcome<Key> {
    Ok(match name {
        "created_at" => |a, b| a.created.cmp(&b.created),
        "updated_at" => |a, b| a.updated.cmp(&b.updated),
        "launched_at" => |a, b| a.launched.cmp(&b.launched),
        "display_name" | "name" => |a, b| a.name.cmp(&b.name),
        "hostname" => |a, b| a.hostname.cmp(&b.hostname),
        "uuid" | "id" => |a, b| a.id.cmp(&b.id),
        "project_id" => |a, b| a.project_id.cmp(&b.project_id),
        "user_id" => |a, b| a.user_id.cmp(&b.user_id),
        "image_ref" => |a, b| a.image.cmp(&b.image),
        "launch_index" => |a, b| a.launch_index.cmp(&b.launch_index),
        "vm_state" => |a, b| view::vm_state(a.state).cmp(view::vm_state(b.state)),
        "task_state" => |a, b| view::state(a).task_state.cmp(&view::state(b).task_state),
        "power_state" => |a, b| view::state(a).power_state.cmp(&view::state(b).power_state),
        "display_description" => |a, b| a.description.cmp(&b.description),
        "key_name" => {
            |a, b| a.key.as_ref().map(|key| &key.name).cmp(&b.key.as_ref().map(|key| &key.name))
        }
        "host" | "node" => |a, b| {
            let host = |row: &ServerRow| row.placement.as_ref().map(|p| p.host.clone());
            host(a).cmp(&host(b))
        },
        _ => {
            let reason = "not one of the keys that servers can be sorted by";
            return Err(Service::Compute.invalid_query("sort_key", name, reason).into());
        }
    })
}
