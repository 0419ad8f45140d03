//! What subscribers are told of a volume: cinder's notifications, its usage payload.
//!
//! Pure: the difference between two states of a row says what has happened.

use serde_json::{Value, json};
use updraft_edge::rest::time::iso_micros;
use updraft_runtime::notify::Notice;

use super::{VolumeRow, VolumeStatus};

/// What has happened between these states of a volume.
pub(super) fn of(old: Option<&VolumeRow>, new: Option<&VolumeRow>) -> Vec<Notice> {
    match (old, new) {
        (None, Some(new)) => vec![notice("create.start", new)],
        (Some(old), None) => vec![notice("delete.end", old)],
        (Some(old), Some(new)) if old.status() != new.status() => {
            let events = between(old.status(), new.status());
            events.iter().map(|event| notice(event, new)).collect()
        }
        (Some(old), Some(new)) if payload(old) != payload(new) => vec![notice("update.end", new)],
        _ => Vec::new(),
    }
}

/// What a change of the status means. Reserving is the first half of attaching, which ends when the guest sees it.
fn between(old: VolumeStatus, new: VolumeStatus) -> Vec<&'static str> {
    use VolumeStatus::{
        Attaching, Available, Creating, Deleting, Detaching, Downloading, ErrorExtending,
        Extending, InUse, Reserved,
    };
    match (old, new) {
        (Creating | Downloading, Available) => vec!["create.end"],
        (Creating, Downloading) => Vec::new(),
        (Available, Reserved) => vec!["attach.start"],
        (_, InUse) => vec!["attach.end"],
        (Reserved, Attaching) => Vec::new(),
        (InUse | Reserved | Attaching, Available) => vec!["detach.start", "detach.end"],
        (InUse | Reserved | Attaching, Detaching) => vec!["detach.start"],
        (Detaching, Available) => vec!["detach.end"],
        (_, Extending) => vec!["resize.start"],
        (Extending, Available | ErrorExtending) => vec!["resize.end"],
        (_, Deleting) => vec!["delete.start"],
        _ => vec!["update.end"],
    }
}

fn notice(event: &str, row: &VolumeRow) -> Notice {
    let host = row.file.host.as_deref().unwrap_or("cinder-api");
    Notice {
        event: format!("volume.{event}"),
        object: row.id.to_string(),
        project: Some(row.project.clone()),
        publisher: format!("volume.{host}"),
        payload: payload(row),
    }
}

fn payload(row: &VolumeRow) -> Value {
    let attachments = row.attachment.iter().map(|attachment| {
        json!({
            "id": attachment.id,
            "instance_uuid": attachment.server,
            "attached_host": attachment.host,
            "attach_status": attachment.state.as_str(),
            "mountpoint": attachment.device,
        })
    });
    json!({
        "volume_id": row.id,
        "tenant_id": row.project,
        "user_id": row.user,
        "display_name": row.name,
        "availability_zone": row.availability_zone,
        "host": row.file.host,
        "size": row.size_gib(),
        "status": row.status().as_str(),
        "metadata": row.metadata,
        "created_at": iso_micros(row.created_at),
        "volume_attachment": attachments.collect::<Vec<_>>(),
    })
}
