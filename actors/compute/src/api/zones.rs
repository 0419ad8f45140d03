//! /os-availability-zone.

use std::collections::BTreeMap;

use axum::{Router, response::Response, routing::get};
use serde_json::{Value, json};
use updraft_edge::rest::time;

use super::{
    Api,
    call::Call,
    servers::json as answer,
    services::{self, INTERNAL_ZONE, Running},
};
use crate::{conductor::ZONE, error::Outcome};

/// The routes of availability zones.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/os-availability-zone", get(index))
        .route("/os-availability-zone/detail", get(detail))
}

/// What runs, by zone.
async fn zones(call: &Call) -> Outcome<BTreeMap<String, Vec<Running>>> {
    let services = call.api.context.store.read(|txn| services::all(call, txn)).await?;
    let mut zones: BTreeMap<String, Vec<Running>> = BTreeMap::new();
    for service in services {
        zones.entry(service.zone.clone()).or_default().push(service);
    }
    zones.entry(ZONE.to_owned()).or_default();
    Ok(zones)
}

/// A zone is available when one of its hosts is taken in; one that has none yet is no less so.
fn zone(name: &str, services: &[Running], hosts: &Value) -> Value {
    let available = services.is_empty() || services.iter().any(Running::is_enabled);
    json!({"zoneName": name, "zoneState": {"available": available}, "hosts": hosts})
}

async fn index(call: Call) -> Outcome<Response> {
    call.must("os-availability-zone:list")?;
    let zones = zones(&call).await?;
    let shown = zones.iter().filter(|(name, _)| *name != INTERNAL_ZONE);
    let shown: Vec<Value> =
        shown.map(|(name, services)| zone(name, services, &Value::Null)).collect();
    answer(&json!({"availabilityZoneInfo": shown}))
}

async fn detail(call: Call) -> Outcome<Response> {
    call.must("os-availability-zone:detail")?;
    let zones = zones(&call).await?;
    let shown: Vec<Value> =
        zones.iter().map(|(name, services)| zone(name, services, &hosts(services))).collect();
    answer(&json!({"availabilityZoneInfo": shown}))
}

/// What runs on each host.
fn hosts(services: &[Running]) -> Value {
    let mut hosts = json!({});
    for service in services {
        hosts[&service.host][service.binary] = json!({
            "available": service.up,
            "active": service.is_enabled(),
            "updated_at": time::iso_micros(service.heard),
        });
    }
    hosts
}
