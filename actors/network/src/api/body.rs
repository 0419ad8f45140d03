//! A request's body, checked against what a resource's attributes may be.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    attribute::{Post, Spec},
    values::shown,
};
use crate::{
    error::{NetworkError, Outcome, bad_request},
    ops::fixed::FixedRequest,
};

/// For whom a body is read.
pub(crate) struct Owner<'a> {
    pub(crate) project_id: &'a str,
    /// Whether things may be made for other projects.
    pub(crate) for_others: bool,
}

/// What a body says of one resource, each value in its one form.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    values: Map<String, Value>,
    given: BTreeSet<String>,
}

/// What a body for POST says: one resource, or several.
pub(crate) fn read_create(spec: &Spec, value: &Value, owner: &Owner<'_>) -> Outcome<Vec<Body>> {
    let body = object(value)?;
    let Some(items) = body.get(spec.plural) else {
        return Ok(vec![Body::create(spec, one(spec, body)?, owner)?]);
    };
    let items = items.as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| bad_request("Resources required"))?;
    let item = |item: &Value| {
        let outer = object(item)?;
        let inner = if outer.contains_key(spec.singular) { one(spec, outer)? } else { outer };
        Body::create(spec, inner, owner)
    };
    items.iter().map(item).collect()
}

/// Whether a body is about several resources.
pub(crate) fn is_bulk(spec: &Spec, value: &Value) -> bool {
    value.get(spec.plural).is_some()
}

/// What a body for PUT says.
pub(crate) fn read_update(spec: &Spec, value: &Value, owner: &Owner<'_>) -> Outcome<Body> {
    Body::update(spec, one(spec, object(value)?)?, owner)
}

fn object(value: &Value) -> Outcome<&Map<String, Value>> {
    match value {
        Value::Object(map) if !map.is_empty() => Ok(map),
        Value::Object(_) => Err(bad_request("Resource body required")),
        _ => Err(bad_request("Body contains invalid data")),
    }
}

fn one<'a>(spec: &Spec, body: &'a Map<String, Value>) -> Outcome<&'a Map<String, Value>> {
    match body.get(spec.singular) {
        Some(Value::Object(inner)) => Ok(inner),
        None | Some(Value::Null) => {
            Err(bad_request(format!("Unable to find '{}' in request body", spec.singular)))
        }
        Some(_) => Err(bad_request(format!("Object '{}' contains invalid data", spec.singular))),
    }
}

impl Body {
    fn create(spec: &Spec, given: &Map<String, Value>, owner: &Owner<'_>) -> Outcome<Self> {
        let mut body = Self::start(spec, given, owner)?;
        let project_id = body.values.remove("project_id").unwrap_or(owner.project_id.into());
        for attribute in spec.attributes {
            let name = attribute.name;
            match (&attribute.post, body.values.contains_key(name)) {
                (Post::Never, true) => {
                    return Err(bad_request(format!("Attribute '{name}' not allowed in POST")));
                }
                (Post::Required, false) => {
                    return Err(bad_request(format!(
                        "Failed to parse request. Required attribute '{name}' not specified"
                    )));
                }
                (Post::Default(default), false) => {
                    body.values.insert(name.to_owned(), default.value());
                }
                _ => {}
            }
        }
        body.convert(spec)?;
        body.values.insert("project_id".to_owned(), project_id);
        Ok(body)
    }

    fn update(spec: &Spec, given: &Map<String, Value>, owner: &Owner<'_>) -> Outcome<Self> {
        let mut body = Self::start(spec, given, owner)?;
        let fixed = spec
            .attributes
            .iter()
            .find(|attribute| !attribute.put && body.values.contains_key(attribute.name));
        let name = match fixed {
            Some(attribute) => attribute.name,
            None if body.values.contains_key("project_id") => "project_id",
            None => {
                body.convert(spec)?;
                return Ok(body);
            }
        };
        Err(bad_request(format!("Cannot update read-only attribute {name}")))
    }

    /// Takes over what is given; `tenant_id` is another name of `project_id`.
    fn start(spec: &Spec, given: &Map<String, Value>, owner: &Owner<'_>) -> Outcome<Self> {
        let mut values = given.clone();
        let tenant = values.remove("tenant_id");
        if let Some(tenant) = tenant {
            match values.get("project_id") {
                Some(project) if *project != tenant => {
                    return Err(bad_request("'project_id' and 'tenant_id' do not match"));
                }
                _ => values.insert("project_id".to_owned(), tenant),
            };
        }
        if let Some(project_id) = values.get("project_id") {
            if *project_id != owner.project_id && !owner.for_others {
                return Err(bad_request(
                    "Specifying 'project_id' other than the authenticated project in request is \
                     not allowed for the current user.",
                ));
            }
            if !project_id.is_string() {
                return Err(bad_request(format!(
                    "Invalid input for project_id. Reason: '{}' is not a valid string.",
                    shown(project_id)
                )));
            }
        }
        let unknown: Vec<&str> = values
            .keys()
            .map(String::as_str)
            .filter(|name| *name != "project_id" && spec.attribute(name).is_none())
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            return Err(bad_request(format!("Unrecognized attribute(s) '{unknown}'")));
        }
        let given = values.keys().cloned().collect();
        Ok(Self { values, given })
    }

    fn convert(&mut self, spec: &Spec) -> Outcome<()> {
        for attribute in spec.attributes {
            if let Some(value) = self.values.get_mut(attribute.name) {
                *value = attribute.check.convert(attribute.name, value)?;
            }
        }
        Ok(())
    }

    /// The value of an attribute, given or by default.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Whether the client itself gave this attribute.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// Whose the thing shall be.
    pub(crate) fn project_id(&self) -> &str {
        self.values.get("project_id").and_then(Value::as_str).unwrap_or_default()
    }

    /// A text, if there is one.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.value(name)?.as_str().map(str::to_owned)
    }

    /// A text that must be there.
    pub(crate) fn needed(&self, name: &str) -> Outcome<String> {
        self.text(name).ok_or_else(|| NetworkError::Internal(format!("{name} was not checked")))
    }

    /// A flag.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.value(name)?.as_bool()
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.as_i64()
    }

    /// The description, which may be null.
    pub(crate) fn description(&self) -> Option<Option<String>> {
        self.value("description").map(|value| value.as_str().map(str::to_owned))
    }

    /// Something that is written as text, if there is one.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        self.value(name)?.as_str()?.parse().ok()
    }

    /// An address that may be null.
    pub(crate) fn address(&self, name: &str) -> Option<Option<IpAddr>> {
        let value = self.value(name)?;
        Some(value.as_str().and_then(|text| text.parse().ok()))
    }

    /// A value of a type that reads the one form.
    pub(crate) fn typed<T: DeserializeOwned>(&self, name: &str) -> Outcome<Option<T>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let wrong = |error| NetworkError::Internal(format!("{name} was not checked: {error}"));
        serde_json::from_value(value.clone()).map(Some).map_err(wrong)
    }

    /// Addresses of a port.
    pub(crate) fn fixed_ips(&self, name: &str) -> Option<Vec<FixedRequest>> {
        self.value(name)?.as_array().map(|items| items.iter().map(fixed_request).collect())
    }
}

/// An address of a port that was checked already.
pub(crate) fn fixed_request(item: &Value) -> FixedRequest {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    FixedRequest {
        subnet: text("subnet_id").map(str::to_owned),
        address: text("ip_address").and_then(|text| text.parse().ok()),
    }
}
