//! The REST API of images, v2.

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post, put},
};
use serde_json::Value;
use updraft_edge::rest::{Auth, Edge, EdgeConfig, Microversion, Service, VersionRange};
use uuid::Uuid;

use crate::{Shared, asker::Asker, error::Error, rows::ImageRow};

mod data;
mod images;
mod import;
mod list;
mod members;
mod patch;
mod schemas;
mod tags;
mod view;

/// What this service implements, counted as the real one counts its features: up to hidden images and
/// multihash, without several stores.
const VERSIONS: VersionRange = VersionRange::new(Microversion::new(2, 0), Microversion::new(2, 9));

/// All routes, behind the edge.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let context = &shared.context;
    let config = EdgeConfig::new(
        Service::Image,
        context.env.clone(),
        context.verifier.clone(),
        shared.policy.clone(),
        VERSIONS,
    );
    Edge::new(config).mount(Router::new(), routes().with_state(shared.clone()))
}

fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/images", get(list::index).post(images::create))
        .route("/images/{image}", get(images::show).patch(patch::update).delete(images::delete))
        .route("/images/{image}/file", get(data::download).put(data::upload))
        .route("/images/{image}/stage", put(data::stage))
        .route("/images/{image}/import", post(import::import))
        .route("/images/{image}/actions/deactivate", post(images::deactivate))
        .route("/images/{image}/actions/reactivate", post(images::reactivate))
        .route("/images/{image}/tags/{tag}", put(tags::add).delete(tags::remove))
        .route("/images/{image}/members", get(members::index).post(members::create))
        .route(
            "/images/{image}/members/{member}",
            get(members::show).put(members::update).delete(members::delete),
        )
        .route("/info/import", get(import::methods))
        .route("/info/stores", get(import::stores))
        .merge(schemas::routes())
}

impl Shared {
    fn asking(&self, auth: &Auth) -> Asker {
        Asker::new(&auth.principal, auth.service.as_deref(), &self.policy)
    }

    /// The image of this id, if the asker may do this with it.
    async fn image_for(&self, asker: &Asker, id: &str, rule: &str) -> Result<ImageRow, Error> {
        let row = self.repository.get(parse_id(id)?).await?;
        let row = row.ok_or_else(|| Error::NotFound(id.to_owned()))?;
        asker.may_on(&self.policy, rule, &row)?;
        Ok(row)
    }
}

/// An id from a path. What is no id is the id of nothing: clients try names first.
fn parse_id(id: &str) -> Result<Uuid, Error> {
    id.parse().map_err(|_| Error::NotFound(id.to_owned()))
}

/// A body that must be an object.
fn object(body: Value) -> Result<serde_json::Map<String, Value>, Error> {
    match body {
        Value::Object(members) => Ok(members),
        _ => Err(Error::invalid("Unexpected body type. Expected list/dict.")),
    }
}
