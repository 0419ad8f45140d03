//! What subscribers are told of an image: glance's notifications, a dictionary of the image.
//!
//! Pure: the difference between two states of a row says what has happened.

use serde_json::{Value, json};
use updraft_edge::rest::time::iso_secs_z;
use updraft_runtime::notify::Notice;

use super::{ImageRow, Status};

/// Who says so.
const PUBLISHER: &str = "image.glance-api";

/// What has happened between these states of an image. One that was deleted is gone for its users, whatever is still
/// to be erased.
pub(super) fn of(old: Option<&ImageRow>, new: Option<&ImageRow>) -> Vec<Notice> {
    let there = |row: Option<&ImageRow>| row.is_some_and(|row| row.deleted_at.is_none());
    match (there(old), there(new), old, new) {
        (false, true, _, Some(new)) => vec![notice("create", new)],
        (true, false, Some(old), _) => vec![notice("delete", new.unwrap_or(old))],
        (true, true, Some(old), Some(new)) => changes(old, new),
        _ => Vec::new(),
    }
}

fn changes(old: &ImageRow, new: &ImageRow) -> Vec<Notice> {
    let uploaded = old.content.is_none() && new.content.is_some();
    let activated = old.status != Status::Active && new.status == Status::Active;
    let mut events = Vec::new();
    events.extend(uploaded.then_some("upload"));
    events.extend(activated.then_some("activate"));
    if events.is_empty() && payload(old) != payload(new) {
        events.push("update");
    }
    events.into_iter().map(|event| notice(event, new)).collect()
}

fn notice(event: &str, row: &ImageRow) -> Notice {
    Notice {
        event: format!("image.{event}"),
        object: row.id.to_string(),
        project: row.owner.clone(),
        publisher: PUBLISHER.to_owned(),
        payload: payload(row),
    }
}

fn payload(row: &ImageRow) -> Value {
    let about = &row.about;
    let content = row.content.as_ref().filter(|_| row.status.shows_content());
    json!({
        "id": row.id,
        "name": about.name,
        "status": if row.deleted_at.is_some() { "deleted" } else { row.status.as_str() },
        "owner": row.owner,
        "visibility": about.visibility.as_str(),
        "protected": about.protected,
        "disk_format": about.disk_format,
        "container_format": about.container_format,
        "min_disk": about.min_disk_gib,
        "min_ram": about.min_ram_mib,
        "size": content.map(|content| content.size_bytes),
        "checksum": content.map(|content| &content.md5),
        "properties": about.properties,
        "tags": about.tags,
        "created_at": iso_secs_z(row.created_at),
        "updated_at": iso_secs_z(row.updated_at),
    })
}
