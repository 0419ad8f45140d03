//! What happens in the cloud, for whoever wants to be told: OpenStack's notifications over HTTP and in Rust.
//!
//! Owns `GET /updraft/v1/events`, a stream of server-sent events (WHATWG HTML, 9.2) from the outboxes of all
//! services. Each event's id is a cursor: a client that comes back with it in `Last-Event-ID`, as browsers do by
//! themselves, goes on where it stopped. Users see what belongs to their project, administrators everything. Never
//! waits for a slow client: it reads on when the client does, and is told what it has missed.

mod cursor;
mod happened;
mod stream;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::HeaderMap,
    response::sse::{Event, Sse},
    routing::get,
};
use futures_util::Stream;
use tokio::sync::Semaphore;
use updraft_edge::{
    policy::{Enforcer, own},
    rest::{Auth, Query, Service, ServiceError},
};
use updraft_runtime::{Env, notify::Feed, store::Store};

use crate::rest::{EVENTS_LIST, EVENTS_LIST_ALL};

pub use happened::Happened;

use cursor::Cursor;
use stream::{Filter, Subscriber};

/// The services that tell something, by the names of their tables.
pub const SERVICES: [&str; 4] = ["compute", "image", "network", "volume"];

/// Streams at once on one control node: each costs some kilobytes and a question to the store now and then.
pub const SUBSCRIBERS_MAX: usize = 256;

/// The header in which a client that comes back says how far it had come.
const LAST_EVENT_ID: &str = "last-event-id";

/// The feeds of all services.
#[must_use]
pub fn feeds(store: &Store) -> Vec<(&'static str, Feed)> {
    SERVICES.map(|service| (service, Feed::new(store, service))).into()
}

#[derive(Clone)]
struct Desk {
    env: Env,
    enforcer: Enforcer,
    store: Store,
    room: Arc<Semaphore>,
}

/// `GET /events`.
pub(crate) fn routes(env: &Env, enforcer: Enforcer, store: &Store) -> Router {
    let (env, store, room) =
        (env.clone(), store.clone(), Arc::new(Semaphore::new(SUBSCRIBERS_MAX)));
    Router::new().route("/events", get(events)).with_state(Desk { env, enforcer, store, room })
}

async fn events(
    State(desk): State<Desk>,
    auth: Auth,
    query: Query,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ServiceError> {
    let target = own(&auth.principal);
    desk.enforcer.enforce(&auth, EVENTS_LIST, &target)?;
    let everything = desk.enforcer.allows(&auth, EVENTS_LIST_ALL, &target);
    let project = auth.principal.project().map(|project| project.id.clone());
    let filter = Filter::of(&query, if everything { None } else { Some(project) })?;
    let room = desk.room.clone().try_acquire_owned();
    let room = room.map_err(|_| {
        Service::Cloud.unavailable(format!("{SUBSCRIBERS_MAX} clients listen already."))
    })?;
    let said = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let said = said.or_else(|| query.get("after")).map(str::to_owned);
    let cursor = Cursor::of(said.as_deref(), &desk.store).await?;
    let subscriber = Subscriber::new(&desk.env, &desk.store, filter, cursor, room);
    Ok(Sse::new(subscriber.stream()))
}
