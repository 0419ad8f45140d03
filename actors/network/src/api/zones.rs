//! `/availability_zones`

use std::collections::BTreeSet;

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, Links, Query};

use super::{
    App,
    attribute::{Attribute, Spec},
    listing::{Listing, View},
    resource::owned,
};
use crate::{error::NetworkError, rows::AgentRow};

static SPEC: Spec = Spec {
    singular: "availability_zone",
    plural: "availability_zones",
    attributes: &[
        Attribute::shown("name"),
        Attribute::shown("resource"),
        Attribute::shown("state"),
    ],
    veiled: &[],
};

/// The routes of availability zones.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/availability_zones", get(list))
}

/// A zone is there for what its agents serve. Routers act on rows alone, so they are where networks are.
async fn list(
    State(app): State<App>,
    auth: Auth,
    query: Query,
    links: Links,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    asker.must("get_availability_zone", &owned(&asker.project_id))?;
    let listing = Listing::of(&SPEC, &query)?;
    let agents = app.core.read(|txn| Ok(txn.scan::<AgentRow>(None, usize::MAX)?)).await?;
    let usable: BTreeSet<bool> = agents.iter().map(|agent| agent.admin_state_up).collect();
    let state = if usable.contains(&true) { "available" } else { "unavailable" };
    let zone = |resource: &str| {
        let zone = json!({
            "name": app.core.config.availability_zone,
            "resource": resource,
            "state": state,
        });
        match zone {
            Value::Object(view) => view,
            _ => View::new(),
        }
    };
    let views = match agents.is_empty() {
        true => Vec::new(),
        false => ["network", "router"].into_iter().map(zone).collect(),
    };
    let answer = listing.answer(&SPEC, views, &query, &links)?;
    Ok(Json(answer.unwrap_or_else(|| json!({"availability_zones": []}))))
}
