//! What operators look at: which parts of the service live where.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, Microversion, Query, time::iso_micros};
use updraft_protocol::volume::{API, NODE};
use updraft_runtime::{
    directory::{DEAD_AFTER, Heard},
    env::UnixMicros,
    rpc::Topic,
};

use super::ZONE;
use crate::{Shared, error::Error};

pub(super) async fn services(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    query: Query,
) -> Result<Json<Value>, Error> {
    shared.in_project(&auth, "volume_extension:services:index")?;
    let now = shared.context.env.wall();
    let mut services = Vec::new();
    for heard in shared.context.rpc.directory().members() {
        for (topic, binary) in [(API, "cinder-scheduler"), (NODE, "cinder-volume")] {
            if heard.member.topics.contains(&Topic::new(topic)) {
                services.push(service(&heard, binary, version, now));
            }
        }
    }
    let wanted = |name: &str, field: &Value| query.get(name).is_none_or(|text| field == text);
    services
        .retain(|service| wanted("binary", &service["binary"]) && wanted("host", &service["host"]));
    Ok(Json(json!({"services": services})))
}

fn service(heard: &Heard, binary: &str, version: Microversion, now: UnixMicros) -> Value {
    let age = Duration::from_millis(heard.age_ms);
    let up = age < DEAD_AFTER;
    let age_micros = heard.age_ms.saturating_mul(1_000);
    let mut service = json!({
        "binary": binary,
        "host": heard.member.node.to_string(),
        "zone": ZONE,
        "status": "enabled",
        "state": if up { "up" } else { "down" },
        "updated_at": iso_micros(UnixMicros(now.0.saturating_sub(age_micros))),
        "disabled_reason": null,
    });
    if version >= Microversion::new(3, 7) {
        service["cluster"] = Value::Null;
    }
    if binary == "cinder-volume" {
        service["replication_status"] = json!("disabled");
        service["active_backend_id"] = Value::Null;
        service["frozen"] = json!(false);
        if version >= Microversion::new(3, 49) {
            service["backend_state"] = json!(if up { "up" } else { "down" });
        }
    }
    service
}

pub(super) async fn zones(_auth: Auth) -> Json<Value> {
    Json(json!({"availabilityZoneInfo": [
        {"zoneName": ZONE, "zoneState": {"available": true}},
    ]}))
}

/// None are listed: each one listed would be a promise to serve it.
pub(super) async fn extensions(_auth: Auth) -> Json<Value> {
    Json(json!({"extensions": []}))
}
