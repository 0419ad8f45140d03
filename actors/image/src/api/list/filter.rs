//! What a list is narrowed down by.

use updraft_edge::rest::{Query, time};
use updraft_runtime::env::UnixMicros;

use super::member_status;
use crate::{
    error::Error,
    rows::{ImageRow, MemberStatus, Visibility},
};

/// Parameters that narrow nothing down.
const OTHERS: [&str; 6] = ["limit", "marker", "sort", "sort_key", "sort_dir", "member_status"];
/// Attributes that may be one of several.
const LISTABLE: [&str; 5] = ["id", "name", "status", "container_format", "disk_format"];

/// All filters of a query; an image must pass each.
pub(super) struct Filters {
    filters: Vec<Filter>,
    visibility: Option<Option<Visibility>>,
    pub(super) member_status: Option<MemberStatus>,
}

enum Filter {
    /// The attribute is one of these texts.
    OneOf(String, Vec<String>),
    SizeAtLeast(u64),
    SizeAtMost(u64),
    Hidden(bool),
    Tag(String),
    Time(TimeOf, Comparison, UnixMicros),
}

#[derive(Clone, Copy)]
enum TimeOf {
    Created,
    Updated,
}

#[derive(Clone, Copy)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filters {
    pub(super) fn read(query: &Query) -> Result<Self, Error> {
        let mut read =
            Self { filters: Vec::new(), visibility: None, member_status: member_status(query)? };
        let mut hidden = false;
        for (name, value) in query.pairs().filter(|(name, _)| !OTHERS.contains(name)) {
            match name {
                "visibility" => read.visibility = Some(visibility(value)?),
                "os_hidden" => hidden = flag(name, value)?,
                _ => read.filters.push(filter(name, value)?),
            }
        }
        read.filters.push(Filter::Hidden(hidden));
        Ok(read)
    }

    /// The ids asked for, if they are.
    pub(super) fn ids(&self) -> Option<&[String]> {
        self.one_of("id")
    }

    /// The one name asked for, if it is.
    pub(super) fn name(&self) -> Option<&str> {
        match self.one_of("name") {
            Some([name]) => Some(name),
            _ => None,
        }
    }

    fn one_of(&self, wanted: &str) -> Option<&[String]> {
        self.filters.iter().find_map(|filter| match filter {
            Filter::OneOf(name, values) if name == wanted => Some(values.as_slice()),
            _ => None,
        })
    }

    /// Whether the query says which visibility.
    pub(super) fn names_visibility(&self) -> bool {
        self.visibility.is_some()
    }

    /// Whether the image passes.
    pub(super) fn take(&self, row: &ImageRow) -> bool {
        let visible = match self.visibility {
            Some(Some(visibility)) => row.about.visibility == visibility,
            Some(None) | None => true,
        };
        visible && self.filters.iter().all(|filter| filter.take(row))
    }
}

fn filter(name: &str, value: &str) -> Result<Filter, Error> {
    let wrong = |words: String| Error::invalid(words);
    Ok(match name {
        "changes-since" => {
            let words = "The \"changes-since\" filter is no longer available on v2.";
            return Err(wrong(words.to_owned()));
        }
        "size_min" | "size_max" => {
            let size = value.parse().map_err(|_| {
                wrong(format!("Invalid value '{value}' for parameter '{name}': it must be an integer of 0 or more"))
            })?;
            if name == "size_min" { Filter::SizeAtLeast(size) } else { Filter::SizeAtMost(size) }
        }
        "tag" => Filter::Tag(value.trim().to_owned()),
        "protected" => Filter::OneOf(name.to_owned(), vec![flag(name, value)?.to_string()]),
        "created_at" => time_filter(TimeOf::Created, value)?,
        "updated_at" => time_filter(TimeOf::Updated, value)?,
        _ => Filter::OneOf(name.to_owned(), values(name, value)?),
    })
}

/// `in:a,b` means one of several, where a value in double quotes may hold a comma.
fn values(name: &str, value: &str) -> Result<Vec<String>, Error> {
    let Some(list) = value.strip_prefix("in:").filter(|_| LISTABLE.contains(&name)) else {
        return Ok(vec![value.strip_prefix("eq:").unwrap_or(value).to_owned()]);
    };
    let mut values = vec![String::new()];
    let mut quoted = false;
    for c in list.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(String::new()),
            c => values.iter_mut().last().into_iter().for_each(|last| last.push(c)),
        }
    }
    if quoted {
        let words = format!("Invalid filter value {list}. The quote is not closed.");
        return Err(Error::invalid(words));
    }
    Ok(values)
}

fn visibility(value: &str) -> Result<Option<Visibility>, Error> {
    if value == "all" {
        return Ok(None);
    }
    let known = Visibility::parse(value).map(Some);
    known.ok_or_else(|| Error::invalid(format!("Invalid visibility value: {value}")))
}

fn flag(name: &str, value: &str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid(format!(
            "Invalid value '{value}' for '{name}' filter. Valid values are 'true' or 'false'."
        ))),
    }
}

fn time_filter(of: TimeOf, value: &str) -> Result<Filter, Error> {
    const OPERATORS: [(&str, Comparison); 6] = [
        ("gte:", Comparison::GreaterOrEqual),
        ("gt:", Comparison::Greater),
        ("lte:", Comparison::LessOrEqual),
        ("lt:", Comparison::Less),
        ("neq:", Comparison::NotEqual),
        ("eq:", Comparison::Equal),
    ];
    let operator = OPERATORS
        .into_iter()
        .find_map(|(prefix, comparison)| value.strip_prefix(prefix).map(|rest| (comparison, rest)));
    let (comparison, text) = operator.unwrap_or((Comparison::Equal, value));
    match time::parse(text) {
        Some(time) => Ok(Filter::Time(of, comparison, time)),
        None => Err(Error::invalid(format!("Time value {text} is not in ISO 8601 format."))),
    }
}

impl Filter {
    fn take(&self, row: &ImageRow) -> bool {
        let size_bytes = row.content.as_ref().map(|content| content.size_bytes);
        match self {
            Self::OneOf(name, values) => {
                attribute(row, name).is_some_and(|text| values.contains(&text))
            }
            Self::SizeAtLeast(least) => size_bytes.is_some_and(|size| size >= *least),
            Self::SizeAtMost(most) => size_bytes.is_some_and(|size| size <= *most),
            Self::Hidden(hidden) => row.about.os_hidden == *hidden,
            Self::Tag(tag) => row.about.tags.contains(tag),
            Self::Time(of, comparison, wanted) => {
                let time = match of {
                    TimeOf::Created => row.created_at,
                    TimeOf::Updated => row.updated_at,
                };
                // Clients know whole seconds alone.
                comparison.holds(time.secs(), wanted.secs())
            }
        }
    }
}

impl Comparison {
    fn holds(self, a: u64, b: u64) -> bool {
        match self {
            Self::Equal => a == b,
            Self::NotEqual => a != b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
        }
    }
}

/// An attribute or property as a query spells it.
fn attribute(row: &ImageRow, name: &str) -> Option<String> {
    let about = &row.about;
    let content = row.content.as_ref();
    match name {
        "id" => Some(row.id.to_string()),
        "name" => about.name.clone(),
        "status" => Some(row.status.as_str().to_owned()),
        "owner" => row.owner.clone(),
        "container_format" => about.container_format.clone(),
        "disk_format" => about.disk_format.clone(),
        "protected" => Some(about.protected.to_string()),
        "min_disk" => Some(about.min_disk_gib.to_string()),
        "min_ram" => Some(about.min_ram_mib.to_string()),
        "size" => content.map(|content| content.size_bytes.to_string()),
        "checksum" => content.map(|content| content.md5.clone()),
        "os_hash_value" => content.map(|content| content.sha512.clone()),
        "os_hash_algo" => content.map(|_| "sha512".to_owned()),
        property => about.properties.get(property).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_values_are_told_apart_by_commas_outside_of_quotes() {
        assert_eq!(values("name", "in:a,\"b,c\",d").expect("a list"), ["a", "b,c", "d"]);
        assert_eq!(values("os_type", "in:a,b").expect("a text"), ["in:a,b"]);
        assert!(values("name", "in:\"a").is_err());
    }
}
