//! Changing an image's attributes and properties by a JSON patch of one level.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
};
use serde_json::{Map, Value};
use updraft_edge::rest::{Auth, JsonBody};

use super::{parse_id, view};
use crate::{Shared, asker::Asker, attributes, error::Error, rows::ImageRow};

/// The two forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draft {
    /// `{"replace": "/name", "value": ...}`
    Four,
    /// `{"op": "replace", "path": "/name", "value": ...}`
    Ten,
}

const DRAFTS: [(&str, Draft); 2] = [
    ("application/openstack-images-v2.0-json-patch", Draft::Four),
    ("application/openstack-images-v2.1-json-patch", Draft::Ten),
];

/// Most operations in one patch: every attribute, property and tag there can be, some twice.
const CHANGES_MAX: usize = 512;

/// What is done to one attribute or property.
#[derive(Clone, Debug)]
enum Change {
    Add(String, Value, Draft),
    Replace(String, Value),
    Remove(String),
}

pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>, Error> {
    let changes = read(draft(&headers)?, &body)?;
    let asker = shared.asking(&auth);
    let now = shared.context.env.wall();
    let patched = |row: &ImageRow| {
        asker.may_on(&shared.policy, "get_image", row)?;
        let mut new = row.clone();
        for change in &changes {
            apply(&shared, &asker, &mut new, change)?;
        }
        attributes::check_counts(&new.about)?;
        if !changes.is_empty() {
            new.updated_at = now;
        }
        Ok(new)
    };
    let row = shared.repository.change(parse_id(&id)?, patched).await?;
    Ok(Json(view::image(&row)))
}

fn draft(headers: &HeaderMap) -> Result<Draft, Error> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let given = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let known = DRAFTS.iter().find(|(name, _)| given.eq_ignore_ascii_case(name));
    known.map(|(_, draft)| *draft).ok_or_else(|| {
        let names = DRAFTS.map(|(name, _)| name).join(", ");
        let words = format!("Image PATCH expects Content-Type one of: {names}");
        Error::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, words)
    })
}

fn read(draft: Draft, body: &Value) -> Result<Vec<Change>, Error> {
    let Value::Array(operations) = body else {
        return Err(Error::invalid("Request body must be a JSON array of operation objects."));
    };
    if operations.len() > CHANGES_MAX {
        let words = format!("A patch has at most {CHANGES_MAX} operations.");
        return Err(Error::too_large(words));
    }
    operations
        .iter()
        .map(|operation| match operation {
            Value::Object(operation) => read_one(draft, operation),
            _ => Err(Error::invalid("Operations must be JSON objects.")),
        })
        .collect()
}

fn read_one(draft: Draft, operation: &Map<String, Value>) -> Result<Change, Error> {
    let (kind, path) = match draft {
        Draft::Ten => operation_ten(operation)?,
        Draft::Four => operation_four(operation)?,
    };
    let name = attribute(path)?;
    if name == "locations" {
        let verb = match kind {
            "add" => "add",
            "remove" => "remove",
            _ => "update",
        };
        return Err(Error::forbidden(format!(
            "It's not allowed to {verb} locations if locations are invisible."
        )));
    }
    attributes::check_changeable(&name)?;
    if kind == "remove" {
        return Ok(Change::Remove(name));
    }
    let value = operation.get("value").cloned().ok_or_else(|| {
        Error::invalid(format!("Operation \"{kind}\" requires a member named \"value\"."))
    })?;
    Ok(if kind == "add" { Change::Add(name, value, draft) } else { Change::Replace(name, value) })
}

const KINDS: [&str; 3] = ["add", "remove", "replace"];

fn operation_ten(operation: &Map<String, Value>) -> Result<(&'static str, &Value), Error> {
    let available = KINDS.join(", ");
    let given = operation.get("op").ok_or_else(|| {
        Error::invalid(format!(
            "Unable to find `op` in JSON Schema change. It must be one of the following: {available}."
        ))
    })?;
    let kind = KINDS.into_iter().find(|kind| given.as_str() == Some(kind)).ok_or_else(|| {
        let given = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
        Error::invalid(format!(
            "Invalid operation: `{given}`. It must be one of the following: {available}."
        ))
    })?;
    let path = operation
        .get("path")
        .ok_or_else(|| Error::invalid("Unable to find 'path' in JSON Schema change"))?;
    Ok((kind, path))
}

fn operation_four(operation: &Map<String, Value>) -> Result<(&'static str, &Value), Error> {
    let mut found = KINDS.into_iter().filter_map(|kind| Some((kind, operation.get(kind)?)));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::invalid(
            "Operation objects must contain exactly one member named \"add\", \"remove\", or \
             \"replace\".",
        )),
        (Some(_), Some(_)) => Err(Error::invalid(
            "Operation objects must contain only one member named \"add\", \"remove\", or \
             \"replace\".",
        )),
    }
}

/// The attribute that a pointer of one level names.
fn attribute(pointer: &Value) -> Result<String, Error> {
    let Some(pointer) = pointer.as_str() else {
        return Err(Error::invalid(format!("Pointer `{pointer}` is not a string.")));
    };
    let wrong = |what: &str| Err(Error::invalid(format!("Pointer `{pointer}` {what}.")));
    let Some(rest) = pointer.strip_prefix('/') else {
        return wrong("does not start with \"/\"");
    };
    if rest.trim() == "/" || rest.trim().is_empty() {
        return wrong("does not contains valid token");
    }
    if rest.ends_with('/') {
        return wrong("end with \"/\"");
    }
    let escapes = rest.split('~').skip(1);
    if escapes.into_iter().any(|after| !after.starts_with(['0', '1'])) {
        return wrong("contains \"~\" not part of a recognized escape sequence");
    }
    let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~").trim().to_owned();
    let parts: Vec<String> = rest.split('/').map(unescape).collect();
    if parts.iter().any(String::is_empty) {
        return wrong("contains adjacent \"/\"");
    }
    match parts.as_slice() {
        [one] => Ok(one.clone()),
        [first, ..] if first == "locations" => Ok(first.clone()),
        several => Err(Error::invalid(format!(
            "Invalid JSON pointer for this resource: '/{}'",
            several.join("/")
        ))),
    }
}

fn apply(shared: &Shared, asker: &Asker, row: &mut ImageRow, change: &Change) -> Result<(), Error> {
    asker.may_on(&shared.policy, "modify_image", row)?;
    match change {
        Change::Add(name, value, draft) => {
            let present = attributes::is_attribute(name) || row.about.properties.contains_key(name);
            if present && *draft == Draft::Four {
                return Err(Error::conflict(format!("Property {name} already present.")));
            }
            write(shared, asker, row, name, value)
        }
        Change::Replace(name, value) => {
            if !attributes::is_attribute(name) && !row.about.properties.contains_key(name) {
                return Err(Error::conflict(format!("Property {name} does not exist.")));
            }
            write(shared, asker, row, name, value)
        }
        Change::Remove(name) if attributes::is_attribute(name) => {
            Err(Error::forbidden(format!("Property {name} may not be removed.")))
        }
        Change::Remove(name) => match row.about.properties.remove(name) {
            Some(_) => Ok(()),
            None => Err(Error::conflict(format!("Property {name} does not exist."))),
        },
    }
}

fn write(
    shared: &Shared,
    asker: &Asker,
    row: &mut ImageRow,
    name: &str,
    value: &Value,
) -> Result<(), Error> {
    match name {
        "owner" if !asker.is_admin() => {
            return Err(Error::forbidden("Owner can't be updated by non admin."));
        }
        "owner" => {
            row.owner = attributes::text_or_null(name, value)?;
            return Ok(());
        }
        "visibility" => {
            let wanted = attributes::visibility(value)?;
            asker.may_publish(&shared.policy, row, wanted)?;
        }
        _ => attributes::check_format_change(row, name)?,
    }
    attributes::set(&mut row.about, name, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_name_one_attribute_with_its_escapes() {
        for (pointer, name) in [("/name", "name"), ("/a~1b", "a/b"), ("/a~0b", "a~b")] {
            assert_eq!(attribute(&json!(pointer)).expect(pointer), name);
        }
    }

    #[test]
    fn pointers_that_name_none_are_refused() {
        for pointer in ["name", "/", "//", "/a/", "/a//b", "/a~2", "/a~", "/a/b"] {
            assert!(attribute(&json!(pointer)).is_err(), "{pointer}");
        }
    }

    #[test]
    fn both_drafts_are_read() {
        let ten = json!([{"op": "replace", "path": "/name", "value": "a"}]);
        assert!(matches!(read(Draft::Ten, &ten).as_deref(), Ok([Change::Replace(..)])));
        let four = json!([{"remove": "/x"}, {"add": "/y", "value": "1"}]);
        let read_four = read(Draft::Four, &four);
        assert!(matches!(read_four.as_deref(), Ok([Change::Remove(_), Change::Add(..)])));
        assert!(read(Draft::Four, &ten).is_err());
        assert!(read(Draft::Ten, &json!([{"op": "move", "path": "/a"}])).is_err());
    }
}
