//! What subscribers are told of a server: nova's versioned notifications.
//!
//! Pure: the difference between two states of a row says what has happened. The names are those of nova's
//! `notification_samples`; the payload is an `InstancePayload`, with the fault where there is one.

use serde_json::{Value, json};
use updraft_edge::rest::time::{iso_micros, iso_secs_z};
use updraft_runtime::notify::Notice;

use super::{ActionKind, ServerRow, VmState};
use crate::view;

/// Version of the payload that is told; nova's own of the 2023.1 release.
const PAYLOAD_VERSION: &str = "1.8";

/// What has happened between these states of a server.
pub(super) fn of(old: Option<&ServerRow>, new: Option<&ServerRow>) -> Vec<Notice> {
    match (old, new) {
        (None, Some(new)) => vec![notice("create.start", new)],
        (Some(old), None) => vec![notice("delete.end", old)],
        (Some(old), Some(new)) => changes(old, new),
        (None, None) => Vec::new(),
    }
}

fn changes(old: &ServerRow, new: &ServerRow) -> Vec<Notice> {
    let mut events = Vec::new();
    let kind = |row: &ServerRow| row.action.as_ref().map(|action| action.kind);
    let (before, after) = (kind(old), kind(new));
    if before != after {
        // Its end is told when the row goes.
        if let Some(ended) = before.filter(|kind| *kind != ActionKind::Delete) {
            events.push(format!("{}.{}", name_of(ended), how_ended(old, new)));
        }
        events.extend(after.map(|begun| format!("{}.start", name_of(begun))));
    } else if before.is_none() && stopped_by_itself(old, new) {
        events.push("power_off.end".to_owned());
    }
    if old.locked.is_some() != new.locked.is_some() {
        events.push(if new.locked.is_some() { "lock" } else { "unlock" }.to_owned());
    }
    if seen(old) != seen(new) {
        events.push("update".to_owned());
    }
    events.iter().map(|event| notice(event, new)).collect()
}

/// A guest that runs no longer, although nobody asked for that.
fn stopped_by_itself(old: &ServerRow, new: &ServerRow) -> bool {
    old.state == VmState::Active && new.state == VmState::Stopped
}

fn how_ended(old: &ServerRow, new: &ServerRow) -> &'static str {
    let failed = new.fault.is_some() && (new.fault != old.fault || new.state == VmState::Error);
    let taken_back = old.migration.as_ref().is_some_and(|migration| migration.failure.is_some());
    let failed = failed || taken_back;
    if failed { "error" } else { "end" }
}

/// What of a row users see change; the steps of a build among it.
fn seen(row: &ServerRow) -> (view::State, &str, Option<&str>) {
    let host = row.placement.as_ref().map(|placement| placement.host.as_str());
    (view::state(row), &row.name, host)
}

fn name_of(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Create => "create",
        ActionKind::Stop => "power_off",
        ActionKind::Start => "power_on",
        ActionKind::SoftReboot | ActionKind::HardReboot => "reboot",
        // Nova tells both by one name.
        ActionKind::Resize | ActionKind::Migrate => "resize",
        ActionKind::RevertResize => "resize_revert",
        ActionKind::Evacuate => "evacuate",
        ActionKind::AttachVolume => "volume_attach",
        ActionKind::DetachVolume => "volume_detach",
        ActionKind::Delete => "delete",
    }
}

fn notice(event: &str, row: &ServerRow) -> Notice {
    let name = match event.split_once('.') {
        Some(("create", _)) => "InstanceCreatePayload",
        Some(_) => "InstanceActionPayload",
        None if event == "update" => "InstanceUpdatePayload",
        None => "InstanceActionPayload",
    };
    let publisher = match &row.placement {
        Some(placement) => format!("nova-compute:{}", placement.host),
        None => "nova-conductor".to_owned(),
    };
    Notice {
        event: format!("instance.{event}"),
        object: row.id.to_string(),
        project: Some(row.project_id.clone()),
        publisher,
        payload: object(name, &data(row)),
    }
}

fn object(name: &str, data: &Value) -> Value {
    json!({
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": PAYLOAD_VERSION,
        "nova_object.data": data,
    })
}

fn data(row: &ServerRow) -> Value {
    let state = view::state(row);
    let host = row.placement.as_ref().map(|placement| placement.host.as_str());
    let addresses = row.ports.iter().flat_map(|port| {
        port.fixed_ips.iter().map(move |fixed| {
            object(
                "IpPayload",
                &json!({
                    "label": port.network_name,
                    "mac": port.mac_address,
                    "meta": {},
                    "port_uuid": port.port,
                    "version": if fixed.address.is_ipv4() { 4 } else { 6 },
                    "address": fixed.address,
                    "device_name": port.device,
                }),
            )
        })
    });
    let fault = row.fault.as_ref().map(|fault| {
        object(
            "ExceptionPayload",
            &json!({ "exception_message": fault.message, "exception": "Fault" }),
        )
    });
    json!({
        "uuid": row.id,
        "tenant_id": row.project_id,
        "user_id": row.user_id,
        "display_name": row.name,
        "display_description": row.description,
        "host_name": row.hostname,
        "host": host,
        "node": host,
        "state": state.vm_state,
        "task_state": state.task_state,
        "power_state": power_name(state.power_state),
        "availability_zone": row.availability_zone,
        "flavor": flavor(row),
        "image_uuid": row.image,
        "key_name": row.key.as_ref().map(|key| &key.name),
        "ip_addresses": addresses.collect::<Vec<_>>(),
        "metadata": row.metadata,
        "locked": row.locked.is_some(),
        "locked_reason": row.locked.as_ref().and_then(|lock| lock.reason.as_ref()),
        "created_at": iso_secs_z(row.created),
        "launched_at": row.launched.map(iso_micros),
        "updated_at": iso_secs_z(row.updated),
        "reservation_id": row.reservation_id,
        "request_id": row.action.as_ref().map(|action| &action.request_id),
        "fault": fault,
    })
}

fn flavor(row: &ServerRow) -> Value {
    let flavor = &row.flavor;
    object(
        "FlavorPayload",
        &json!({
            "flavorid": flavor.id,
            "name": flavor.name,
            "vcpus": flavor.vcpus,
            "memory_mb": flavor.ram_mib,
            "root_gb": flavor.disk_gib,
            "ephemeral_gb": flavor.ephemeral_gib,
            "swap": flavor.swap_mib,
            "extra_specs": flavor.extra_specs,
        }),
    )
}

/// Nova's word for its number.
fn power_name(state: u8) -> &'static str {
    match state {
        1 => "running",
        3 => "paused",
        4 => "shutdown",
        6 => "crashed",
        _ => "pending",
    }
}
