//! /os-hypervisors: the hosts as what runs guests.

use axum::{Router, extract::Path, response::Response, routing::get};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use updraft_edge::rest::{Page, Query, Service};
use updraft_runtime::{store::Txn, transport::NodeId};
use uuid::Uuid;

use super::{Api, call::Call, servers::json as answer};
use crate::{
    error::{Outcome, bad_request, not_found},
    rows::{HostRow, ServerRow},
};

/// The version that took figures out of hypervisors, and statistics away.
const WITHOUT_FIGURES: u32 = 88;

/// The version since which ids are UUIDs.
const UUIDS: u32 = 53;

/// The routes of hypervisors.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/os-hypervisors", get(index))
        .route("/os-hypervisors/detail", get(detail))
        .route("/os-hypervisors/statistics", get(statistics))
        .route("/os-hypervisors/{hypervisor}", get(show))
        .route("/os-hypervisors/{hypervisor}/uptime", get(uptime))
}

/// An id as a version shows it: a UUID, or a number before there were any.
pub(super) fn id_of(version: u32, id: Uuid) -> Value {
    match version >= UUIDS {
        true => json!(id),
        false => json!(number_of(id)),
    }
}

/// A number that stands for a UUID; alike for two of them once in two thousand million times.
fn number_of(id: Uuid) -> u32 {
    let digest = Sha256::digest(id.as_bytes());
    let bytes = digest.first_chunk::<4>().copied().unwrap_or_default();
    u32::from_be_bytes(bytes) >> 1
}

/// Whether a host's node has been heard lately, and nobody said that it is down.
pub(super) fn is_live(call: &Call, host: &HostRow) -> bool {
    let directory = call.api.context.rpc.directory();
    !host.forced_down && NodeId::new(&host.name).is_ok_and(|node| directory.is_live(&node))
}

fn brief(call: &Call, host: &HostRow) -> Value {
    json!({
        "id": id_of(call.version, host.id),
        "hypervisor_hostname": host.name,
        "state": if is_live(call, host) { "up" } else { "down" },
        "status": if host.out_of_use().is_some() { "disabled" } else { "enabled" },
    })
}

fn full(call: &Call, txn: &Txn, host: &HostRow) -> Outcome<Value> {
    let mut view = brief(call, host);
    view["host_ip"] = json!(host_ip(call, host));
    view["hypervisor_type"] = json!(host.report.hypervisor_type);
    view["hypervisor_version"] = json!(host.report.hypervisor_version);
    view["service"] = json!({
        "id": id_of(call.version, host.service_id),
        "host": host.name,
        "disabled_reason": host.out_of_use().filter(|reason| !reason.is_empty()),
    });
    if call.version >= WITHOUT_FIGURES {
        view["uptime"] = Value::Null;
        return Ok(view);
    }
    let running = txn.find::<ServerRow>("host", &host.name)?.len();
    if let (Some(view), Value::Object(figures)) = (view.as_object_mut(), figures(host, running)) {
        view.extend(figures);
    }
    view["cpu_info"] = match call.version >= 28 {
        true => json!({"arch": host.report.architecture}),
        false => json!(json!({"arch": host.report.architecture}).to_string()),
    };
    Ok(view)
}

fn figures(host: &HostRow, running: usize) -> Value {
    let (has, used) = (&host.report, host.used(None));
    let free_disk = has.disk_gib.saturating_sub(used.disk_gib);
    json!({
        "vcpus": has.vcpus,
        "vcpus_used": used.vcpus,
        "memory_mb": has.memory_mib,
        "memory_mb_used": used.ram_mib,
        "free_ram_mb": has.memory_mib.saturating_sub(used.ram_mib),
        "local_gb": has.disk_gib,
        "local_gb_used": used.disk_gib,
        "free_disk_gb": free_disk,
        "disk_available_least": free_disk,
        "running_vms": running,
        "current_workload": 0,
    })
}

/// Where the host's node listens, as the directory knows it.
fn host_ip(call: &Call, host: &HostRow) -> String {
    let members = call.api.context.rpc.directory().members();
    let member = members.iter().find(|heard| heard.member.node.as_str() == host.name);
    member.map_or_else(|| "127.0.0.1".to_owned(), |heard| heard.member.address.ip().to_string())
}

async fn index(call: Call, query: Query) -> Outcome<Response> {
    call.must("os-hypervisors:list")?;
    list(&call, &query, "os-hypervisors", |_, host| Ok(brief(&call, host))).await
}

async fn detail(call: Call, query: Query) -> Outcome<Response> {
    call.must("os-hypervisors:list-detail")?;
    list(&call, &query, "os-hypervisors/detail", |txn, host| {
        let mut view = full(&call, txn, host)?;
        if query.flag("with_servers")?.unwrap_or(false) {
            view["servers"] = servers(txn, host)?;
        }
        Ok(view)
    })
    .await
}

fn servers(txn: &Txn, host: &HostRow) -> Outcome<Value> {
    let rows = txn.find::<ServerRow>("host", &host.name)?;
    let server = |row: &ServerRow| json!({"uuid": row.id, "name": row.name});
    Ok(rows.iter().map(server).collect())
}

async fn list(
    call: &Call,
    query: &Query,
    path: &str,
    view: impl Fn(&Txn, &HostRow) -> Outcome<Value>,
) -> Outcome<Response> {
    let pattern = query.get("hypervisor_hostname_pattern").filter(|_| call.version >= UUIDS);
    call.api
        .context
        .store
        .read(|txn| {
            let mut hosts = txn.scan::<HostRow>(None, usize::MAX)?;
            if let Some(pattern) = pattern {
                hosts.retain(|host| host.name.contains(pattern));
                if hosts.is_empty() {
                    let words = format!("No hypervisor matching '{pattern}' could be found.");
                    return Err(not_found(words));
                }
            }
            let mut links = None;
            if call.version >= 33 && pattern.is_none() {
                let page = Page::of(Service::Compute, query)?;
                let items: Vec<_> = hosts.into_iter().map(|h| (h.id.to_string(), h)).collect();
                let items = page.cut(items, |item| &item.0)?;
                links = page.links(&call.links, path, query, &items, |item| &item.0);
                hosts = items.into_iter().map(|(_, host)| host).collect();
            }
            let views: Outcome<Vec<Value>> = hosts.iter().map(|host| view(txn, host)).collect();
            let mut body = json!({"hypervisors": views?});
            if let Some(links) = links {
                body["hypervisors_links"] = links;
            }
            answer(&body)
        })
        .await
}

/// The host of this id, as the version writes it.
fn find(call: &Call, txn: &Txn, id: &str) -> Outcome<HostRow> {
    let hosts = txn.scan::<HostRow>(None, usize::MAX)?;
    if call.version >= UUIDS && Uuid::try_parse(id).is_err() {
        return Err(bad_request(format!("Invalid uuid {id}")));
    }
    let same = |host: &HostRow| match call.version >= UUIDS {
        true => host.id.to_string() == id,
        false => number_of(host.id).to_string() == id,
    };
    let found = hosts.into_iter().find(same);
    found.ok_or_else(|| not_found(format!("Hypervisor with ID '{id}' could not be found.")))
}

async fn show(call: Call, query: Query, Path(id): Path<String>) -> Outcome<Response> {
    call.must("os-hypervisors:show")?;
    call.api
        .context
        .store
        .read(|txn| {
            let host = find(&call, txn, &id)?;
            let mut view = full(&call, txn, &host)?;
            if query.flag("with_servers")?.unwrap_or(false) {
                view["servers"] = servers(txn, &host)?;
            }
            answer(&json!({"hypervisor": view}))
        })
        .await
}

async fn uptime(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    call.until(WITHOUT_FIGURES - 1)?;
    call.must("os-hypervisors:uptime")?;
    call.api.context.store.read(|txn| find(&call, txn, &id)).await?;
    let message = "Virt driver does not implement uptime function.";
    Err(Service::Compute.not_implemented(message).into())
}

async fn statistics(call: Call) -> Outcome<Response> {
    call.until(WITHOUT_FIGURES - 1)?;
    call.must("os-hypervisors:statistics")?;
    call.api
        .context
        .store
        .read(|txn| {
            let hosts = txn.scan::<HostRow>(None, usize::MAX)?;
            let servers: usize = hosts.iter().map(|host| host.claims.len()).sum();
            let sum = |of: &dyn Fn(&HostRow) -> u64| hosts.iter().map(of).sum::<u64>();
            let memory = sum(&|host| host.report.memory_mib);
            let memory_used = sum(&|host| host.used(None).ram_mib);
            let disk = sum(&|host| host.report.disk_gib);
            let disk_used = sum(&|host| host.used(None).disk_gib);
            answer(&json!({"hypervisor_statistics": {
                "count": hosts.len(),
                "vcpus": sum(&|host| host.report.vcpus.into()),
                "vcpus_used": sum(&|host| host.used(None).vcpus),
                "memory_mb": memory,
                "memory_mb_used": memory_used,
                "free_ram_mb": memory.saturating_sub(memory_used),
                "local_gb": disk,
                "local_gb_used": disk_used,
                "free_disk_gb": disk.saturating_sub(disk_used),
                "disk_available_least": disk.saturating_sub(disk_used),
                "running_vms": servers,
                "current_workload": 0,
            }}))
        })
        .await
}
