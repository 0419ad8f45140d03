//! Lists in pages, with each service's limits, defaults and links.

use serde_json::{Value, json};

use super::{error::ServiceError, links::Links, query::Query, service::Service};

/// Most entries of one page, where a service has a limit.
pub const PAGE_MAX: usize = 1_000;

/// Entries of a page of images when the client does not say.
pub const IMAGE_PAGE_DEFAULT: usize = 25;

/// Which part of a list a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    service: Service,
    /// Most entries to answer; `None` is all of them.
    pub limit: Option<usize>,
    /// Id of the entry that the page follows, or precedes if it is reversed.
    pub marker: Option<String>,
    /// How many entries to pass over first.
    pub offset: usize,
    /// Whether the page is the one before the marker.
    pub reverse: bool,
}

impl Page {
    /// The page that a query asks of a service.
    pub fn of(service: Service, query: &Query) -> Result<Self, ServiceError> {
        let asked = limit(service, query)?;
        let limit = match service {
            Service::Compute | Service::Volume => Some(asked.unwrap_or(PAGE_MAX).min(PAGE_MAX)),
            Service::Image => Some(asked.unwrap_or(IMAGE_PAGE_DEFAULT).min(PAGE_MAX)),
            Service::Network => asked.filter(|limit| *limit > 0),
            Service::Identity | Service::Cloud => asked,
        };
        Ok(Self {
            service,
            limit,
            marker: query.get("marker").map(str::to_owned),
            offset: match service {
                Service::Compute | Service::Volume => query.number("offset")?.unwrap_or(0),
                _ => 0,
            },
            reverse: service == Service::Network && query.flag("page_reverse")?.unwrap_or(false),
        })
    }

    /// The entries of this page out of all of them, which are in their order.
    pub fn cut<T>(
        &self,
        mut items: Vec<T>,
        id: impl Fn(&T) -> &str,
    ) -> Result<Vec<T>, ServiceError> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let marker = match &self.marker {
            None => None,
            Some(marker) => Some(
                items
                    .iter()
                    .position(|item| id(item) == marker)
                    .ok_or_else(|| self.no_such_marker(marker))?,
            ),
        };
        if self.reverse {
            items.truncate(marker.unwrap_or(items.len()));
            let surplus = items.len().saturating_sub(limit);
            items.drain(..surplus);
            return Ok(items);
        }
        let skipped = marker.map_or(0, |at| at + 1).saturating_add(self.offset).min(items.len());
        items.drain(..skipped);
        items.truncate(limit);
        Ok(items)
    }

    fn no_such_marker(&self, marker: &str) -> ServiceError {
        let message = format!("Marker {marker} could not be found.");
        match self.service {
            Service::Compute => self.service.bad_request(format!("marker [{marker}] not found")),
            Service::Volume => self.service.not_found(message),
            _ => self.service.bad_request(message),
        }
    }

    /// The value of `COLLECTION_links`; `None` where the service leaves it out. `path` is the
    /// collection's, below the API: `servers/detail`.
    #[must_use]
    pub fn links<T>(
        &self,
        links: &Links,
        path: &str,
        query: &Query,
        items: &[T],
        id: impl Fn(&T) -> &str,
    ) -> Option<Value> {
        let limit = self.limit?;
        let full = items.len() >= limit;
        let address = |text: String| format!("{}?{text}", links.api(path));
        let next = || {
            let marker = items.last().map(&id);
            json!({"rel": "next", "href": address(query.with("marker", marker))})
        };
        if self.service != Service::Network {
            return (full && !items.is_empty()).then(|| json!([next()]));
        }
        let mut all = Vec::new();
        if full || self.reverse {
            let forward = Query::parse(self.service, &query.with("page_reverse", None));
            let marker = items.last().map(&id);
            all.push(json!({"rel": "next", "href": address(forward.with("marker", marker))}));
        }
        if full || !self.reverse {
            let back = Query::parse(self.service, &query.with("page_reverse", Some("True")));
            let marker = items.first().map(&id);
            all.push(json!({"rel": "previous", "href": address(back.with("marker", marker))}));
        }
        Some(Value::Array(all))
    }

    /// `first`, and `next` if there may be more, as the image service answers them.
    #[must_use]
    pub fn image_links<T>(
        &self,
        path: &str,
        query: &Query,
        items: &[T],
        id: impl Fn(&T) -> &str,
    ) -> (String, Option<String>) {
        let address = |text: String| match text.as_str() {
            "" => path.to_owned(),
            text => format!("{path}?{text}"),
        };
        let full = self.limit.is_some_and(|limit| items.len() >= limit);
        let last = items.last().filter(|_| full);
        let next = last.map(|item| address(query.with("marker", Some(id(item)))));
        (address(query.with("marker", None)), next)
    }
}

/// The limit that was asked for, refused in the service's words if it is none.
fn limit(service: Service, query: &Query) -> Result<Option<usize>, ServiceError> {
    let Some(text) = query.get("limit") else { return Ok(None) };
    if let Ok(limit) = text.trim().parse::<u64>() {
        return Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX)));
    }
    let negative = text.trim().parse::<i128>().is_ok();
    Err(match service {
        Service::Image | Service::Volume if negative => {
            service.bad_request("limit param must be positive")
        }
        Service::Image | Service::Volume => service.bad_request("limit param must be an integer"),
        Service::Network => service
            .bad_request(format!(
                "Bad limit request: Limit must be an integer 0 or greater and not '{}'.",
                text.escape_debug()
            ))
            .kind("BadRequest"),
        _ => service.invalid_query("limit", text, "not an integer of 0 or more"),
    })
}
