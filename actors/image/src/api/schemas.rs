//! What images and members look like, as JSON schemas for clients to read.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use updraft_edge::rest::Auth;

use crate::{
    Shared,
    attributes::{CONTAINER_FORMATS, DISK_FORMATS},
};

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/schemas/image", get(|_: Auth| async { Json(image()) }))
        .route("/schemas/images", get(|_: Auth| async { Json(list("images", &image())) }))
        .route("/schemas/member", get(|_: Auth| async { Json(member()) }))
        .route("/schemas/members", get(|_: Auth| async { Json(list("members", &member())) }))
}

fn image() -> Value {
    json!({
        "name": "image",
        "properties": image_properties(),
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

fn image_properties() -> Value {
    let read_only =
        |kind: Value, about: &str| json!({"type": kind, "readOnly": true, "description": about});
    let mut properties = json!({
        "id": {
            "type": "string",
            "description": "An identifier for the image",
            "pattern": "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$",
        },
        "name": {"type": ["null", "string"], "description": "The image's name", "maxLength": 255},
        "visibility": {
            "type": "string",
            "description": "Who may see the image",
            "enum": ["community", "public", "private", "shared"],
        },
        "protected": {"type": "boolean", "description": "Whether the image cannot be deleted"},
        "os_hidden": {"type": "boolean", "description": "Whether lists leave the image out"},
        "owner": {"type": ["null", "string"], "description": "The owning project", "maxLength": 255},
        "container_format": {
            "type": ["null", "string"],
            "description": "Format of the container",
            "enum": nullable(&CONTAINER_FORMATS),
        },
        "disk_format": {
            "type": ["null", "string"],
            "description": "Format of the disk",
            "enum": nullable(&DISK_FORMATS),
        },
        "min_ram": {"type": "integer", "description": "Least memory to boot the image, in MiB"},
        "min_disk": {"type": "integer", "description": "Least root disk to boot the image, in GiB"},
        "tags": {
            "type": "array",
            "description": "Texts to find the image by",
            "items": {"type": "string", "maxLength": 255},
        },
        "status": {
            "type": "string",
            "readOnly": true,
            "description": "How far the image is",
            "enum": [
                "queued", "saving", "active", "killed", "deleted", "uploading", "importing",
                "pending_delete", "deactivated",
            ],
        },
    });
    for (name, kind, about) in [
        ("checksum", json!(["null", "string"]), "MD5 of the image's bytes"),
        ("os_hash_algo", json!(["null", "string"]), "What os_hash_value was computed by"),
        ("os_hash_value", json!(["null", "string"]), "Hash of the image's bytes"),
        ("size", json!(["null", "integer"]), "Length of the image in bytes"),
        ("virtual_size", json!(["null", "integer"]), "What a guest sees, in bytes"),
        ("created_at", json!("string"), "When the image was made"),
        ("updated_at", json!("string"), "When the image was last changed"),
        ("self", json!("string"), "Where the image is"),
        ("file", json!("string"), "Where the image's bytes are"),
        ("schema", json!("string"), "Where the image's schema is"),
    ] {
        properties[name] = read_only(kind, about);
    }
    properties
}

fn nullable(names: &[&str]) -> Vec<Value> {
    std::iter::once(Value::Null).chain(names.iter().map(|name| Value::from(*name))).collect()
}

fn member() -> Value {
    json!({
        "name": "member",
        "properties": {
            "image_id": {"type": "string", "description": "The image"},
            "member_id": {"type": "string", "description": "The project it is shared with"},
            "status": {
                "type": "string",
                "description": "Whether the member wants the image in its lists",
                "enum": ["pending", "accepted", "rejected"],
            },
            "created_at": {"type": "string", "description": "When the image was shared"},
            "updated_at": {"type": "string", "description": "When the status was last changed"},
            "schema": {"readOnly": true, "type": "string"},
        },
        "additionalProperties": false,
    })
}

fn list(name: &str, item: &Value) -> Value {
    json!({
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}
