//! Lists: which, in what order, how many, and of each how much.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::{Map, Value, json};
use updraft_edge::rest::{Links, Query};

use super::{
    attribute::Spec,
    values::{parse_flag, shown},
};
use crate::error::{Outcome, bad_request, bad_resource, invalid_input};

/// What a query may say besides filters.
const CONTROLS: [&str; 6] = ["fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"];

/// Filters by tags; nothing has any.
const TAGS: [&str; 4] = ["tags", "tags-any", "not-tags", "not-tags-any"];

/// A resource as clients see it.
pub(crate) type View = Map<String, Value>;

/// What a query says about a list.
pub(crate) struct Listing {
    filters: BTreeMap<String, Vec<String>>,
    sorts: Vec<(String, bool)>,
    limit: Option<usize>,
    marker: Option<String>,
    reverse: bool,
    fields: Vec<String>,
}

impl Listing {
    /// Reads a query, or says what is wrong with it.
    pub(crate) fn of(spec: &Spec, query: &Query) -> Outcome<Self> {
        Ok(Self {
            filters: filters(spec, query)?,
            sorts: sorts(spec, query)?,
            limit: limit(query)?,
            marker: query.get("marker").map(str::to_owned),
            reverse: query
                .get("page_reverse")
                .is_some_and(|text| text.eq_ignore_ascii_case("true")),
            fields: fields(query),
        })
    }

    /// The project that the filters name, if they name one.
    pub(crate) fn project_id(&self) -> Option<&str> {
        let named = self.filters.get("project_id").or_else(|| self.filters.get("tenant_id"))?;
        named.first().map(String::as_str)
    }

    /// The answer to a request for a list of these; `None` if the marker is none of them.
    pub(crate) fn answer(
        &self,
        spec: &Spec,
        mut views: Vec<View>,
        query: &Query,
        links: &Links,
    ) -> Outcome<Option<Value>> {
        let mut kept = Vec::new();
        for view in views.drain(..) {
            if self.keeps(&view)? {
                kept.push(view);
            }
        }
        kept.sort_by(|one, other| self.order(one, other));
        let Some(page) = self.page(kept) else { return Ok(None) };
        let mut answer = Map::new();
        if self.limit.is_some() {
            let path = format!("/{}", spec.plural.replace('_', "-"));
            let next = self.links(&page, query, &links.api(&path));
            answer.insert(format!("{}_links", spec.plural), next);
        }
        let shown: Vec<Value> = page.into_iter().map(|view| cut(view, &self.fields)).collect();
        answer.insert(spec.plural.to_owned(), shown.into());
        Ok(Some(answer.into()))
    }

    fn keeps(&self, view: &View) -> Outcome<bool> {
        for (name, wanted) in &self.filters {
            let kept = match view.get(name) {
                _ if TAGS.contains(&name.as_str()) => name.starts_with("not"),
                Some(Value::Array(fixed)) if name == "fixed_ips" => any_fixed(fixed, wanted),
                Some(Value::Array(items)) => items.iter().any(|item| wanted.contains(&shown(item))),
                Some(Value::Bool(flag)) => any_flag(name, *flag, wanted)?,
                Some(value) => wanted.contains(&shown(value)),
                None => false,
            };
            if !kept {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn order(&self, one: &View, other: &View) -> Ordering {
        let by = |name: &str| compare(one.get(name), other.get(name));
        let sorted = self.sorts.iter().map(
            |(name, ascending)| {
                if *ascending { by(name) } else { by(name).reverse() }
            },
        );
        sorted.fold(Ordering::Equal, Ordering::then).then_with(|| by("id"))
    }

    fn page(&self, mut views: Vec<View>) -> Option<Vec<View>> {
        let Some(limit) = self.limit else { return Some(views) };
        let at = match &self.marker {
            Some(marker) => Some(views.iter().position(|view| view["id"] == marker.as_str())?),
            None => None,
        };
        if self.reverse {
            let end = at.unwrap_or(views.len());
            views.truncate(end);
            return Some(views.split_off(end.saturating_sub(limit)));
        }
        let mut page = views.split_off(at.map_or(0, |at| at + 1));
        page.truncate(limit);
        Some(page)
    }

    fn links(&self, page: &[View], query: &Query, address: &str) -> Value {
        let full = page.len() >= self.limit.unwrap_or_default();
        let link = |rel: &str, end: Option<&View>, reverse: bool| {
            let marker = end.and_then(|view| view["id"].as_str());
            let text = query.with("page_reverse", reverse.then_some("True"));
            let text = Query::parse(updraft_edge::rest::Service::Network, &text);
            json!({"rel": rel, "href": format!("{address}?{}", text.with("marker", marker))})
        };
        let mut links = Vec::new();
        if full || self.reverse {
            links.push(link("next", page.last(), false));
        }
        if full || !self.reverse {
            links.push(link("previous", page.first(), true));
        }
        links.into()
    }
}

/// The attributes that a query asks for; all if none is named.
pub(crate) fn fields(query: &Query) -> Vec<String> {
    query.all("fields").filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The part of a view that was asked for.
pub(crate) fn cut(mut view: View, fields: &[String]) -> Value {
    if !fields.is_empty() {
        view.retain(|name, _| fields.iter().any(|field| field == name));
    }
    view.into()
}

fn filters(spec: &Spec, query: &Query) -> Outcome<BTreeMap<String, Vec<String>>> {
    let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (name, value) in query.pairs() {
        if CONTROLS.contains(&name) {
            continue;
        }
        if !spec.filters(name) && !TAGS.contains(&name) {
            unknown.push(format!("'{name}'"));
        } else if !value.is_empty() {
            filters.entry(name.to_owned()).or_default().push(value.to_owned());
        }
    }
    if unknown.is_empty() {
        return Ok(filters);
    }
    let unknown = unknown.join(", ");
    Err(bad_request(format!("[{unknown}] is invalid attribute for filtering")))
}

fn sorts(spec: &Spec, query: &Query) -> Outcome<Vec<(String, bool)>> {
    let said = |name| query.all(name).filter(|text| !text.is_empty()).collect::<Vec<_>>();
    let (keys, directions) = (said("sort_key"), said("sort_dir"));
    if keys.len() != directions.len() {
        return Err(bad_request("The number of sort_keys and sort_dirs must be same"));
    }
    let wrong = |texts: Vec<&str>| {
        let texts: Vec<String> = texts.iter().map(|text| format!("'{text}'")).collect();
        format!("[{}]", texts.join(", "))
    };
    let unknown: Vec<&str> = keys.iter().copied().filter(|key| !spec.sorts(key)).collect();
    if !unknown.is_empty() {
        let unknown = wrong(unknown);
        return Err(bad_request(format!("{unknown} is invalid attribute for sort_keys")));
    }
    let odd: Vec<&str> =
        directions.iter().copied().filter(|text| !["asc", "desc"].contains(text)).collect();
    if !odd.is_empty() {
        return Err(bad_request(format!(
            "{} is invalid value for sort_dirs, valid value is 'asc' and 'desc'",
            wrong(odd)
        )));
    }
    Ok(keys.iter().zip(directions).map(|(key, way)| ((*key).to_owned(), way == "asc")).collect())
}

fn limit(query: &Query) -> Outcome<Option<usize>> {
    let Some(text) = query.get("limit") else { return Ok(None) };
    match text.parse::<usize>() {
        Ok(0) => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(_) => Err(bad_resource(
            "limit",
            format_args!("Limit must be an integer 0 or greater and not '{text}'"),
        )),
    }
}

fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => one.as_i64().cmp(&other.as_i64()),
        (Some(one), Some(other)) => shown(one).cmp(&shown(other)),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

fn any_flag(name: &str, flag: bool, wanted: &[String]) -> Outcome<bool> {
    let mut any = false;
    for text in wanted {
        let meant = parse_flag(text);
        let meant = meant.ok_or_else(|| {
            invalid_input(format_args!("{name}: '{text}' cannot be converted to boolean"))
        })?;
        any |= meant == flag;
    }
    Ok(any)
}

/// Whether one of a port's addresses has, of every key that is asked for, one of the values.
fn any_fixed(fixed_ips: &[Value], wanted: &[String]) -> bool {
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for text in wanted {
        let (key, value) = text.split_once('=').unwrap_or(("ip_address", text));
        by_key.entry(key).or_default().push(value);
    }
    by_key.iter().all(|(key, values)| {
        let part = key.strip_suffix("_substr");
        fixed_ips.iter().any(|fixed| {
            let has = fixed.get(part.unwrap_or(key)).and_then(Value::as_str).unwrap_or_default();
            values
                .iter()
                .any(|value| if part.is_some() { has.contains(value) } else { has == *value })
        })
    })
}
