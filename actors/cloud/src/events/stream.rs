//! One client's stream: from the outboxes, as the client reads.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::sse::Event;
use futures_util::{Stream, future::select_all, stream};
use serde_json::{Value, json};
use updraft_edge::rest::{Query, Service, ServiceError, time::iso_micros_z};
use updraft_runtime::{
    Env,
    notify::{Feed, Page, Published},
    shares::Place,
    store::{Store, StoreError},
};
use uuid::Uuid;

use super::{
    SERVICES,
    cursor::Cursor,
    feeds,
    pass::{Pass, Sight},
};

/// How long a stream is silent at most: a comment keeps what lies between from cutting it, and who may listen no more
/// is cut off.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Notices read at once.
const PAGE: usize = 100;

/// The pause after the store could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// What of all that happens a client wants.
pub(super) struct Filter {
    services: Vec<&'static str>,
    /// How the event's name begins.
    begins: String,
    object: Option<String>,
}

impl Filter {
    pub(super) fn of(query: &Query) -> Result<Self, ServiceError> {
        let wanted = query.get("services");
        let services = wanted.map_or_else(|| Ok(SERVICES.to_vec()), named)?;
        let begins = query.get("events").unwrap_or_default().to_owned();
        Ok(Self { services, begins, object: query.get("object").map(str::to_owned) })
    }

    fn wants(&self, notice: &Published) -> bool {
        notice.event.starts_with(&self.begins)
            && self.object.as_ref().is_none_or(|object| notice.object == *object)
    }
}

impl Sight {
    fn reaches(&self, notice: &Published) -> bool {
        match self {
            Self::Everything => true,
            Self::Project(project) => project.is_some() && notice.project == *project,
        }
    }

    /// The notice as its reader may see it: where things run is for administrators, as over the services' APIs.
    fn shown(&self, notice: &Published) -> Published {
        let mut shown = notice.clone();
        if *self != Self::Everything {
            let (kind, _) =
                shown.publisher.split_once([':', '.']).unwrap_or((&shown.publisher, ""));
            shown.publisher = kind.to_owned();
            without_hosts(&mut shown.payload);
        }
        shown
    }
}

/// What of a payload says on which host something is.
const HOSTS: [&str; 4] = ["host", "node", "binding:host_id", "attached_host"];

fn without_hosts(payload: &mut Value) {
    match payload {
        Value::Object(fields) => {
            fields.retain(|name, _| !HOSTS.contains(&name.as_str()));
            fields.values_mut().for_each(without_hosts);
        }
        Value::Array(items) => items.iter_mut().for_each(without_hosts),
        _ => {}
    }
}

/// The services that a list names.
fn named(list: &str) -> Result<Vec<&'static str>, ServiceError> {
    let find = |name: &str| {
        let known = SERVICES.into_iter().find(|service| *service == name);
        known.ok_or_else(|| {
            let known = SERVICES.join(", ");
            Service::Cloud.bad_request(format!("{name:?} tells no events; these do: {known}"))
        })
    };
    list.split(',').map(find).collect()
}

/// A client that listens.
pub(super) struct Subscriber {
    env: Env,
    feeds: Vec<(&'static str, Feed)>,
    filter: Filter,
    cursor: Cursor,
    ready: VecDeque<Event>,
    pass: Pass,
}

impl Subscriber {
    pub(super) fn new(
        env: &Env,
        store: &Store,
        filter: Filter,
        cursor: Cursor,
        pass: Pass,
    ) -> Self {
        let wanted = |(service, _): &(&'static str, Feed)| filter.services.contains(service);
        let feeds = feeds(store).into_iter().filter(wanted).collect();
        let ready = VecDeque::new();
        let mut new = Self { env: env.clone(), feeds, filter, cursor, ready, pass };
        new.ready.push_back(new.word("what happens is told from here on"));
        new
    }

    /// What it hears, as long as it may; the place is free again afterwards.
    pub(super) fn stream(
        self,
        place: Place<String>,
    ) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold((self, place), |(mut subscriber, place)| async move {
            let event = subscriber.next().await?;
            Some((Ok(event), (subscriber, place)))
        })
    }

    /// A word that is no event, with the place reached: who is cut off behind it goes on there.
    fn word(&self, words: &str) -> Event {
        Event::default().id(self.cursor.to_string()).comment(words)
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            let news = if self.ready.is_empty() { Some(self.news().await) } else { None };
            // By what holds now, not by what held when it was waited for, or lay ready while the client did not read.
            let sight = self.pass.sight()?;
            match news {
                None => {}
                Some(Ok(Some((service, page)))) => self.take(service, page, &sight),
                Some(Ok(None)) => self.ready.push_back(self.word("nothing happens")),
                Some(Err(error)) => {
                    tracing::debug!(%error, "events are not read now");
                    self.env.sleep(PAUSE).await;
                }
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
        }
    }

    /// The next page of whichever service has one first.
    async fn news(&self) -> Result<Option<(&'static str, Page)>, StoreError> {
        let waits = self.feeds.iter().map(|(service, feed)| {
            let after = self.cursor.place(service);
            Box::pin(async move { (*service, feed.wait(after, PAGE, KEEP_ALIVE).await) })
        });
        let ((service, page), ..) = select_all(waits).await;
        let page = page?;
        Ok((page.missed || !page.notices.is_empty()).then_some((service, page)))
    }

    fn take(&mut self, service: &'static str, page: Page, sight: &Sight) {
        if page.missed {
            let data = json!({ "service": service }).to_string();
            self.ready.push_back(Event::default().event("missed").data(data));
        }
        for notice in page.notices {
            self.cursor.advance(service, notice.sequence);
            if self.filter.wants(&notice) && sight.reaches(&notice) {
                let data = versioned(service, &sight.shown(&notice)).to_string();
                let event = Event::default().id(self.cursor.to_string());
                self.ready.push_back(event.event(&notice.event).data(data));
            }
        }
        // When nothing of a long page was wanted, the next one is read at once.
        self.cursor.advance(service, page.next);
    }
}

/// A notice as OpenStack puts it on the bus.
fn versioned(service: &str, notice: &Published) -> Value {
    let priority = if notice.event.ends_with(".error") { "ERROR" } else { "INFO" };
    json!({
        "event_type": notice.event,
        "priority": priority,
        "publisher_id": notice.publisher,
        "message_id": message_id(service, notice.sequence),
        "timestamp": iso_micros_z(notice.at),
        "payload": notice.payload,
    })
}

/// The same for the same notice, however often it is told.
fn message_id(service: &str, sequence: u64) -> Uuid {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().zip(service.bytes().take(8)) {
        *byte = letter;
    }
    bytes[8..].copy_from_slice(&sequence.to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
