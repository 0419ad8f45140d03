//! `GET /database`: everything that the store holds, as a backup, while the cloud runs; with `rows=PREFIX`, the rows
//! whose keys begin so, in the same form.
//!
//! It holds the keys that tokens are made with. Only administrators get it, and the log says who read what.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use updraft_edge::{
    policy::{Enforcer, own},
    rest::{Auth, Service, ServiceError},
};
use updraft_runtime::store::{Copy, Store};

use super::DATABASE_READ;
use crate::backup::{BackupError, Encoder};

#[derive(Clone)]
struct Desk {
    enforcer: Enforcer,
    store: Store,
    room: Arc<Semaphore>,
}

/// Backups read at once: each holds what it reads until its client has it, and the file grows meanwhile.
const READERS_MAX: usize = 1;

pub(super) fn routes(enforcer: Enforcer, store: Store) -> Router {
    let room = Arc::new(Semaphore::new(READERS_MAX));
    Router::new().route("/database", get(backup)).with_state(Desk { enforcer, store, room })
}

/// What is asked for.
#[derive(Deserialize)]
struct Wanted {
    /// Only rows whose keys begin so.
    rows: Option<String>,
}

async fn backup(
    State(desk): State<Desk>,
    Query(wanted): Query<Wanted>,
    auth: Auth,
) -> Result<Response, ServiceError> {
    desk.enforcer.enforce(&auth, DATABASE_READ, &own(&auth.principal))?;
    if wanted.rows.as_deref() == Some("") {
        return Err(Service::Cloud.bad_request(
            "rows is empty: say how the keys begin, or leave it away for everything",
        ));
    }
    let room = desk.room.clone().try_acquire_owned();
    let room = room.map_err(|_| Service::Cloud.unavailable("Another backup is being read."))?;
    let user = &auth.principal.user.id;
    let copy = match wanted.rows {
        Some(prefix) => {
            tracing::info!(%user, ?prefix, "rows are read");
            desk.store.copy_rows(&prefix).await
        }
        None => {
            tracing::info!(%user, "a backup is read");
            desk.store.copy().await
        }
    };
    let copy = copy.map_err(|error| Service::Cloud.store_error(&error))?;
    let (encoder, head) = Encoder::begin(copy.sequence());
    let begun = Lines { copy, encoder: Some(encoder), head: Some(head), _room: room };
    // A failure ends the connection without the last line, so that what was read is known not to be whole.
    let lines = stream::try_unfold(begun, Lines::next);
    let body = Body::from_stream(lines);
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// The lines that are still to be sent.
struct Lines {
    copy: Copy,
    encoder: Option<Encoder>,
    head: Option<String>,
    _room: OwnedSemaphorePermit,
}

impl Lines {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BackupError> {
        if let Some(head) = self.head.take() {
            return Ok(Some((head.into(), self)));
        }
        let Some(mut encoder) = self.encoder.take() else { return Ok(None) };
        match self.copy.next().await {
            Some(piece) => {
                let line = encoder.piece(&piece?)?;
                self.encoder = Some(encoder);
                Ok(Some((line.into(), self)))
            }
            None => Ok(Some((encoder.end().into(), self))),
        }
    }
}
