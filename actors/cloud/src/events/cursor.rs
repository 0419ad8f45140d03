//! How far a client has come in the outboxes of all services, in one text.

use std::{collections::BTreeMap, fmt};

use updraft_edge::rest::{Service, ServiceError};
use updraft_runtime::{notify::Feed, store::Store};

use super::SERVICES;

/// A place in each outbox: `compute=12,image=7,network=30,volume=0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor(BTreeMap<&'static str, u64>);

impl Cursor {
    /// What a client has said; the end of every outbox if it has said nothing, and its beginning for `0`.
    pub(super) async fn of(said: Option<&str>, store: &Store) -> Result<Self, ServiceError> {
        match said.map(str::trim) {
            None | Some("") => Self::end(store).await,
            Some("0") => Ok(Self(SERVICES.map(|service| (service, 0)).into())),
            Some(text) => Self::parse(text).ok_or_else(|| {
                Service::Cloud.bad_request(format!(
                    "{text:?} is no place in the events: give the id of one that was sent, or 0 for all there are"
                ))
            }),
        }
    }

    async fn end(store: &Store) -> Result<Self, ServiceError> {
        // One store has one count.
        let end = Feed::new(store, SERVICES[0]).end().await;
        let end = end.map_err(|error| Service::Cloud.store_error(&error))?;
        Ok(Self(SERVICES.map(|service| (service, end)).into()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut places = BTreeMap::from(SERVICES.map(|service| (service, 0)));
        for part in text.split(',') {
            let (service, place) = part.split_once('=')?;
            *places.get_mut(service)? = place.parse().ok()?;
        }
        Some(Self(places))
    }

    pub(super) fn place(&self, service: &str) -> u64 {
        self.0.get(service).copied().unwrap_or_default()
    }

    pub(super) fn advance(&mut self, service: &'static str, place: u64) {
        self.0.insert(service, place);
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> =
            self.0.iter().map(|(service, place)| format!("{service}={place}")).collect();
        f.write_str(&places.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let text = "compute=12,image=7,network=30,volume=0";
        assert_eq!(Cursor::parse(text).unwrap().to_string(), text);
        assert_eq!(Cursor::parse("network=3").unwrap().place("network"), 3);
    }

    #[test]
    fn nonsense_is_no_cursor() {
        for text in ["compute", "compute=x", "moon=1", "compute=1,", "=1", "compute=-1"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
