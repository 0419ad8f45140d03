//! The attributes of an image as users write them: what may be written, and what it must look like.
//!
//! Everything that is not an attribute of its own is a property, and properties are texts.

use serde_json::Value;

use crate::{
    error::Error,
    rows::{About, ImageRow, Status, Visibility},
};

/// Longest name, tag and name of a property, in characters: what the real service's columns hold.
const TEXT_MAX_CHARS: usize = 255;
/// Longest text of a property, in characters: what fits a row many times over.
const PROPERTY_MAX_CHARS: usize = 65_535;
/// Most properties of an image: the real service's default.
const PROPERTIES_MAX: usize = 128;
/// Most tags of an image: the real service's default.
const TAGS_MAX: usize = 128;
/// Largest number that the real service keeps.
const NUMBER_MAX: u64 = i32::MAX as u64;

/// What containers may be called.
pub(crate) const CONTAINER_FORMATS: [&str; 8] =
    ["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"];
/// What disks may be called.
pub(crate) const DISK_FORMATS: [&str; 11] =
    ["ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"];

/// Attributes that nobody may send, not even in a new image.
const DISALLOWED: [&str; 5] = ["direct_url", "self", "file", "schema", "stores"];
/// Attributes that the service alone writes.
const READ_ONLY: [&str; 14] = [
    "created_at",
    "updated_at",
    "status",
    "checksum",
    "size",
    "virtual_size",
    "direct_url",
    "self",
    "file",
    "schema",
    "id",
    "os_hash_algo",
    "os_hash_value",
    "stores",
];
const RESERVED: [&str; 3] = ["location", "deleted", "deleted_at"];
/// Properties that begin so are the service's own.
const RESERVED_PREFIX: &str = "os_glance";
/// Attributes that users write.
const WRITABLE: [&str; 10] = [
    "name",
    "visibility",
    "container_format",
    "disk_format",
    "min_disk",
    "min_ram",
    "protected",
    "os_hidden",
    "tags",
    "owner",
];

/// Whether this is an attribute rather than a property.
pub(crate) fn is_attribute(name: &str) -> bool {
    WRITABLE.contains(&name) || READ_ONLY.contains(&name)
}

/// Refuses attributes that may not be in a new image.
pub(crate) fn check_new(name: &str) -> Result<(), Error> {
    if DISALLOWED.contains(&name) || (READ_ONLY.contains(&name) && name != "id") {
        return Err(read_only(name));
    }
    check_name(name)
}

/// Refuses attributes that may not be changed.
pub(crate) fn check_changeable(name: &str) -> Result<(), Error> {
    if READ_ONLY.contains(&name) { Err(read_only(name)) } else { check_name(name) }
}

fn read_only(name: &str) -> Error {
    Error::forbidden(format!("Attribute '{name}' is read-only."))
}

fn check_name(name: &str) -> Result<(), Error> {
    if RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX) {
        return Err(Error::forbidden(format!("Attribute '{name}' is reserved.")));
    }
    if name.chars().count() > TEXT_MAX_CHARS {
        let words = "Custom property should not be greater than 255 characters.";
        return Err(Error::invalid(words));
    }
    Ok(())
}

/// Writes one attribute or property. The owner is not written here: not everybody may.
pub(crate) fn set(about: &mut About, name: &str, value: &Value) -> Result<(), Error> {
    match name {
        "name" => about.name = text_or_null(name, value)?,
        "visibility" => about.visibility = visibility(value)?,
        "container_format" => {
            about.container_format = one_of(name, value, &CONTAINER_FORMATS)?;
        }
        "disk_format" => about.disk_format = one_of(name, value, &DISK_FORMATS)?,
        "min_disk" => about.min_disk_gib = number(name, value)?,
        "min_ram" => about.min_ram_mib = number(name, value)?,
        "protected" => about.protected = flag(name, value)?,
        "os_hidden" => about.os_hidden = flag(name, value)?,
        "tags" => {
            let Value::Array(tags) = value else { return Err(wrong_type(name, value, "array")) };
            about.tags = tags.iter().map(|tag| text(name, tag)).collect::<Result<_, _>>()?;
        }
        _ => {
            let text = value.as_str().ok_or_else(|| wrong_type(name, value, "string"))?;
            if text.chars().count() > PROPERTY_MAX_CHARS {
                return Err(mismatch(name, value, "is too long"));
            }
            about.properties.insert(name.to_owned(), text.to_owned());
        }
    }
    Ok(())
}

/// Refuses more tags or properties than an image may have.
pub(crate) fn check_counts(about: &About) -> Result<(), Error> {
    let limits = [
        ("tags", about.tags.len(), TAGS_MAX),
        ("properties", about.properties.len(), PROPERTIES_MAX),
    ];
    for (what, attempted, maximum) in limits {
        if attempted > maximum {
            return Err(Error::too_large(format!(
                "The limit has been exceeded on the number of allowed image {what}. Attempted: \
                 {attempted}, Maximum: {maximum}"
            )));
        }
    }
    Ok(())
}

/// Refuses a new format for an image that has bytes already, or takes them in.
pub(crate) fn check_format_change(row: &ImageRow, name: &str) -> Result<(), Error> {
    if matches!(name, "container_format" | "disk_format") && row.status != Status::Queued {
        let words = format!("Attribute {name} can be only replaced for a queued image.");
        return Err(Error::forbidden(words));
    }
    Ok(())
}

/// A visibility, or a no that names the four there are.
pub(crate) fn visibility(value: &Value) -> Result<Visibility, Error> {
    let text = value.as_str().ok_or_else(|| wrong_type("visibility", value, "string"))?;
    let names = Visibility::ALL.map(Visibility::as_str);
    Visibility::parse(text).ok_or_else(|| not_one_of("visibility", value, &names, false))
}

/// An owner's id.
pub(crate) fn text_or_null(name: &str, value: &Value) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(_) => text(name, value).map(Some),
        _ => Err(wrong_type(name, value, "null', 'string")),
    }
}

/// A text that fits.
pub(crate) fn text(name: &str, value: &Value) -> Result<String, Error> {
    let text = value.as_str().ok_or_else(|| wrong_type(name, value, "string"))?;
    if text.chars().count() > TEXT_MAX_CHARS {
        return Err(mismatch(name, value, "is too long"));
    }
    Ok(text.to_owned())
}

fn one_of(name: &str, value: &Value, allowed: &[&str]) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if allowed.contains(&text.as_str()) => Ok(Some(text.clone())),
        _ => Err(not_one_of(name, value, allowed, true)),
    }
}

fn number(name: &str, value: &Value) -> Result<u64, Error> {
    if value.as_i64().is_some_and(|number| number < 0) {
        return Err(Error::invalid(format!(
            "Invalid value '{value}' for parameter '{name}': Cannot be a negative value"
        )));
    }
    let number = value.as_u64().ok_or_else(|| wrong_type(name, value, "integer"))?;
    if number > NUMBER_MAX {
        let words = format!("'{name}' value out of range, must not exceed {NUMBER_MAX}.");
        return Err(Error::invalid(words));
    }
    Ok(number)
}

fn flag(name: &str, value: &Value) -> Result<bool, Error> {
    value.as_bool().ok_or_else(|| wrong_type(name, value, "boolean"))
}

fn wrong_type(name: &str, value: &Value, wanted: &str) -> Error {
    mismatch(name, value, &format!("is not of type '{wanted}'"))
}

fn not_one_of(name: &str, value: &Value, allowed: &[&str], nullable: bool) -> Error {
    let null = nullable.then(|| "None".to_owned());
    let names: Vec<_> =
        null.into_iter().chain(allowed.iter().map(|name| format!("'{name}'"))).collect();
    mismatch(name, value, &format!("is not one of [{}]", names.join(", ")))
}

/// Most characters of a wrong value that an error repeats.
const SHOWN_MAX_CHARS: usize = 120;

pub(crate) fn mismatch(name: &str, value: &Value, what: &str) -> Error {
    let shown: String = spelled(value).chars().take(SHOWN_MAX_CHARS).collect();
    Error::invalid(format!(
        "Provided object does not match schema 'image': {shown} {what}\n\nOn instance['{name}']:\n    {shown}"
    ))
}

/// A value in the spelling that the real service's errors have.
fn spelled(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(name: &str, value: &Value) -> String {
        set(&mut About::default(), name, value).expect_err("taken").to_string()
    }

    #[test]
    fn a_wrong_type_is_refused_and_the_field_is_named() {
        for (name, value) in [
            ("name", json!(5)),
            ("min_disk", json!("many")),
            ("protected", json!("yes")),
            ("tags", json!("one")),
            ("anything", json!(5)),
            ("disk_format", json!(true)),
        ] {
            let words = words(name, &value);
            assert!(words.contains(&format!("instance['{name}']")), "{words}");
        }
    }

    #[test]
    fn numbers_have_their_bounds() {
        assert!(words("min_ram", &json!(-1)).contains("Cannot be a negative value"));
        assert!(words("min_disk", &json!(1_u64 << 40)).contains("must not exceed 2147483647"));
    }

    #[test]
    fn what_the_service_writes_cannot_be_written() {
        let status = check_changeable("status").expect_err("taken").to_string();
        assert_eq!(status, "Attribute 'status' is read-only.");
        assert_eq!(
            check_new("deleted").expect_err("taken").to_string(),
            "Attribute 'deleted' is reserved."
        );
        assert!(check_new("os_glance_failed_import").is_err());
        assert!(check_new("id").is_ok() && check_changeable("id").is_err());
    }
}
