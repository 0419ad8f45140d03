//! What subscribers are told of networks and ports: neutron's notifications, a dictionary of the resource.
//!
//! Pure. A change is told when it is made, so its start and its end are told at once.

use serde_json::{Map, Value, json};
use updraft_runtime::notify::Notice;
use uuid::Uuid;

use super::{NetworkRow, PortRow};

/// Who says so.
const PUBLISHER: &str = "network.neutron-server";

/// What has happened between these states of a port. One that shall not be is gone for its users.
pub(super) fn of_port(old: Option<&PortRow>, new: Option<&PortRow>) -> Vec<Notice> {
    let there = |row: Option<&PortRow>| row.is_some_and(PortRow::is_present);
    match (there(old), there(new), old, new) {
        (false, true, _, Some(new)) => told("port", "create", port(new), new.id, &new.project_id),
        (true, false, Some(old), _) => told("port", "delete", port(old), old.id, &old.project_id),
        (true, true, Some(old), Some(new)) if port(old) != port(new) => {
            told("port", "update", port(new), new.id, &new.project_id)
        }
        _ => Vec::new(),
    }
}

/// The same of a network.
pub(super) fn of_network(old: Option<&NetworkRow>, new: Option<&NetworkRow>) -> Vec<Notice> {
    let tell =
        |what, row: &NetworkRow| told("network", what, network(row), row.id, &row.project_id);
    match (old, new) {
        (None, Some(new)) => tell("create", new),
        (Some(old), None) => tell("delete", old),
        (Some(old), Some(new)) if network(old) != network(new) => tell("update", new),
        _ => Vec::new(),
    }
}

fn told(resource: &str, what: &str, dictionary: Value, id: Uuid, project: &str) -> Vec<Notice> {
    let mut payload = Map::new();
    payload.insert(resource.to_owned(), dictionary);
    payload.insert(format!("{resource}_id"), json!(id));
    let notice = |when: &str| Notice {
        event: format!("{resource}.{what}.{when}"),
        object: id.to_string(),
        project: Some(project.to_owned()).filter(|project| !project.is_empty()),
        publisher: PUBLISHER.to_owned(),
        payload: Value::Object(payload.clone()),
    };
    ["start", "end"].map(notice).into()
}

fn port(row: &PortRow) -> Value {
    let fixed_ips = row.fixed_ips.iter();
    let fixed_ips =
        fixed_ips.map(|fixed| json!({ "subnet_id": fixed.subnet, "ip_address": fixed.address }));
    json!({
        "id": row.id,
        "name": row.name,
        "network_id": row.network,
        "project_id": row.project_id,
        "tenant_id": row.project_id,
        "mac_address": row.mac_address,
        "fixed_ips": fixed_ips.collect::<Vec<_>>(),
        "admin_state_up": row.admin_state_up,
        "status": row.status.as_str(),
        "device_id": row.device_id,
        "device_owner": row.device_owner,
        "security_groups": row.security_groups,
        "port_security_enabled": row.port_security_enabled,
        "binding:host_id": row.host.as_deref().unwrap_or_default(),
        "binding:vnic_type": row.vnic_type,
    })
}

fn network(row: &NetworkRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "project_id": row.project_id,
        "tenant_id": row.project_id,
        "admin_state_up": row.admin_state_up,
        "shared": row.shared,
        "router:external": row.external,
        "mtu": row.mtu,
        "port_security_enabled": row.port_security_enabled,
        "status": "ACTIVE",
    })
}
