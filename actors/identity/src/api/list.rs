//! Lists: filters by attribute, pages, and the links around them.

use serde_json::{Map, Value, json};
use updraft_edge::rest::{Links, Page, Query, Service, ServiceError};

/// A resource as it is answered.
pub(super) type Resource = Map<String, Value>;

/// A resource made by `json!`, with a link to itself.
pub(super) fn resource(links: &Links, path: &str, value: Value) -> Resource {
    let Value::Object(mut resource) = value else { return Resource::new() };
    resource.insert("links".to_owned(), json!({"self": links.api(path)}));
    resource
}

/// A collection: the resources that the query's filters let pass, as a page of them.
pub(super) fn collection(
    links: &Links,
    path: &str,
    name: &str,
    query: &Query,
    filters: &[&str],
    resources: Vec<Resource>,
) -> Result<Value, ServiceError> {
    let found: Vec<Resource> =
        resources.into_iter().filter(|resource| passes(query, filters, resource)).collect();
    let page = Page::of(Service::Identity, query)?;
    let all = found.len();
    let found = page.cut(found, id)?;
    let truncated = page.limit.is_some_and(|limit| found.len() == limit && limit < all);
    let next = found
        .last()
        .filter(|_| truncated)
        .map(|last| format!("{}?{}", links.api(path), query.with("marker", Some(id(last)))));
    let own = match query.with("", None) {
        text if text.is_empty() => links.api(path),
        text => format!("{}?{text}", links.api(path)),
    };
    let mut answer = json!({
        name: found,
        "links": {"self": own, "previous": null, "next": next},
    });
    if truncated {
        answer["truncated"] = json!(true);
    }
    Ok(answer)
}

fn id(resource: &Resource) -> &str {
    resource.get("id").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a resource has every attribute that the query asks for. A name may have a comparison
/// behind it, such as `name__icontains`; names that are no filters are passed over.
fn passes(query: &Query, filters: &[&str], resource: &Resource) -> bool {
    query.pairs().all(|(name, wanted)| {
        if filters.contains(&name) {
            return equals(resource.get(name), wanted);
        }
        match name.split_once("__") {
            Some((name, how)) if filters.contains(&name) => {
                compares(resource.get(name), how, wanted)
            }
            _ => true,
        }
    })
}

fn equals(value: Option<&Value>, wanted: &str) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag == is_true(wanted),
        Some(Value::String(text)) => text == wanted,
        _ => false,
    }
}

/// How a flag stands in a query: whatever is not plainly false is true.
fn is_true(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "false" | "0" | "f" | "no" | "n" | "off")
}

fn compares(value: Option<&Value>, how: &str, wanted: &str) -> bool {
    let Some(text) = value.and_then(Value::as_str) else { return false };
    match how.strip_prefix('i') {
        Some(how) => compares_text(&text.to_lowercase(), how, &wanted.to_lowercase()),
        None => compares_text(text, how, wanted),
    }
}

fn compares_text(text: &str, how: &str, wanted: &str) -> bool {
    match how {
        "contains" => text.contains(wanted),
        "startswith" => text.starts_with(wanted),
        "endswith" => text.ends_with(wanted),
        _ => true,
    }
}

/// Whether a name that needs no value stands in the query, and not as `0`.
pub(super) fn is_set(query: &Query, name: &str) -> bool {
    query.get(name).is_some_and(|value| value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> bool {
        let Value::Object(resource) =
            json!({"id": "1", "name": "Blue Sky", "enabled": true, "parent": null})
        else {
            unreachable!()
        };
        let query = Query::parse(Service::Identity, text);
        passes(&query, &["name", "enabled", "parent"], &resource)
    }

    #[test]
    fn filters_compare_as_they_are_told() {
        let table = [
            ("", true),
            ("name=Blue+Sky", true),
            ("name=blue+sky", false),
            ("name__icontains=SKY", true),
            ("name__contains=SKY", false),
            ("name__startswith=Blue&enabled=True", true),
            ("name__endswith=Blue", false),
            ("name__istartswith=blue", true),
            ("enabled=False", false),
            ("enabled=0", false),
            ("enabled", true),
            ("parent=x", false),
            ("colour=red", true),
            ("name__rhymes=x", true),
        ];
        for (text, passes) in table {
            assert_eq!(found(text), passes, "{text}");
        }
    }
}
