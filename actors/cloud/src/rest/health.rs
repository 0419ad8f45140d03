//! `GET /health`: whether this control node can serve what needs the store. For balancers, so that nobody is asked for a
//! token.

use axum::{Router, extract::State, routing::get};
use updraft_edge::rest::{Service, ServiceError};
use updraft_runtime::store::{Store, StoreError};

/// What is answered when it can.
const WELL: &str = "OK\n";

pub(super) fn routes(store: Store) -> Router {
    Router::new().route("/health", get(health)).with_state(store)
}

async fn health(State(store): State<Store>) -> Result<&'static str, ServiceError> {
    let asked = store.read(|_| Ok::<_, StoreError>(())).await;
    asked.map(|()| WELL).map_err(|error| Service::Cloud.store_error(&error))
}
