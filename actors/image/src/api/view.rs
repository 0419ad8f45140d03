//! An image as clients see it.

use serde_json::{Value, json};
use updraft_edge::rest::time::iso_secs_z;

use crate::rows::{ImageRow, Member};

/// An image: its properties beside its attributes, in one flat object.
pub(super) fn image(row: &ImageRow) -> Value {
    let content = row.content.as_ref().filter(|_| row.status.shows_content());
    let about = &row.about;
    let itself = format!("/v2/images/{}", row.id);
    let mut view = json!({
        "id": row.id,
        "name": about.name,
        "status": row.status.as_str(),
        "visibility": about.visibility.as_str(),
        "protected": about.protected,
        "os_hidden": about.os_hidden,
        "owner": row.owner,
        "container_format": about.container_format,
        "disk_format": about.disk_format,
        "min_disk": about.min_disk_gib,
        "min_ram": about.min_ram_mib,
        "size": row.content.as_ref().map(|content| content.size_bytes),
        "virtual_size": content.and_then(|content| content.virtual_size_bytes),
        "checksum": content.map(|content| &content.md5),
        "os_hash_algo": content.map(|_| "sha512"),
        "os_hash_value": content.map(|content| &content.sha512),
        "tags": about.tags,
        "created_at": iso_secs_z(row.created_at),
        "updated_at": iso_secs_z(row.updated_at),
        "self": itself,
        "file": format!("{itself}/file"),
        "schema": "/v2/schemas/image",
    });
    for (name, value) in &about.properties {
        // A property never has an attribute's name.
        view[name] = Value::from(value.as_str());
    }
    view
}

/// A member of an image.
pub(super) fn member(row: &ImageRow, project: &str, member: &Member) -> Value {
    json!({
        "image_id": row.id,
        "member_id": project,
        "status": member.status.as_str(),
        "created_at": iso_secs_z(member.created_at),
        "updated_at": iso_secs_z(member.updated_at),
        "schema": "/v2/schemas/member",
    })
}
