//! What happens in the cloud, for whoever wants to be told: OpenStack's notifications over HTTP and in Rust.
//!
//! Owns `GET /updraft/v1/events`, a stream of server-sent events (WHATWG HTML, 9.2) from the outboxes of all
//! services. Each event's id is a cursor: a client that comes back with it in `Last-Event-ID`, as browsers do by
//! themselves, goes on where it stopped. Users see what belongs to their project, administrators everything, for as
//! long as their token passes. Never waits for a slow client: it reads on when the client does, and is told what it
//! has missed.

mod cursor;
mod happened;
mod pass;
mod stream;

use std::convert::Infallible;

use axum::{
    Router,
    extract::State,
    http::HeaderMap,
    response::sse::{Event, Sse},
    routing::get,
};
use futures_util::{Stream, StreamExt};
use updraft_edge::{
    context::Context,
    listener::Ending,
    policy::Enforcer,
    rest::{Auth, Query, Service, ServiceError},
};
use updraft_runtime::{
    notify::Feed,
    shares::{Full, Shares},
    store::Store,
};

pub use happened::Happened;

use cursor::Cursor;
use pass::{Judge, Pass};
use stream::{Filter, Subscriber};

/// The services that tell something, by the names of their tables.
pub const SERVICES: [&str; 4] = ["compute", "image", "network", "volume"];

/// Streams at once on one control node: each costs some kilobytes and a question to the store now and then.
pub const SUBSCRIBERS_MAX: usize = 256;

/// Streams at once of one user on one control node: a few programs with a few streams each, and no user alone takes
/// more than an eighth of all places.
pub const SUBSCRIBERS_PER_USER_MAX: usize = 32;

/// The header in which a client that comes back says how far it had come.
const LAST_EVENT_ID: &str = "last-event-id";

/// The feeds of all services.
#[must_use]
pub fn feeds(store: &Store) -> Vec<(&'static str, Feed)> {
    SERVICES.map(|service| (service, Feed::new(store, service))).into()
}

#[derive(Clone)]
struct Desk {
    judge: Judge,
    store: Store,
    places: Shares<String>,
}

/// `GET /events`.
pub(crate) fn routes(context: &Context, enforcer: Enforcer) -> Router {
    let (env, verifier) = (context.env.clone(), context.verifier.clone());
    let judge = Judge { env, enforcer, verifier };
    let places = Shares::new(SUBSCRIBERS_MAX, SUBSCRIBERS_PER_USER_MAX);
    let desk = Desk { judge, store: context.store.clone(), places };
    Router::new().route("/events", get(events)).with_state(desk)
}

async fn events(
    State(desk): State<Desk>,
    auth: Auth,
    ending: Ending,
    query: Query,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ServiceError> {
    desk.judge.sight(&auth)?;
    let filter = Filter::of(&query)?;
    let place = desk.places.take(&auth.principal.user.id).map_err(no_place)?;
    let said = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let said = said.or_else(|| query.get("after")).map(str::to_owned);
    let cursor = Cursor::of(said.as_deref(), &desk.store).await?;
    let pass = Pass::new(&desk.judge, auth);
    let stream = Subscriber::new(&desk.judge.env, &desk.store, filter, cursor, pass).stream(place);
    Ok(Sse::new(stream.take_until(async move { ending.begun().await })))
}

fn no_place(full: Full) -> ServiceError {
    match full {
        Full::All => {
            Service::Cloud.unavailable(format!("{SUBSCRIBERS_MAX} clients listen already."))
        }
        Full::Share => Service::Cloud.too_many_requests(format!(
            "{SUBSCRIBERS_PER_USER_MAX} clients of this user listen already: end one of them."
        )),
    }
}
