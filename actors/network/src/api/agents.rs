//! `/agents`

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Query, time::iso_secs_z};
use updraft_runtime::{env::UnixMicros, store::Txn};

use super::{
    App,
    attribute::{Attribute, Fixed, Spec},
    body, listing,
    listing::{Listing, View},
    resource::owned,
    values::Check,
};
use crate::{
    agents::{Pulse, note_what_runs, pulse},
    error::{NetworkError, Outcome, l2},
    rows::{AgentKind, AgentRow, DhcpRow, PortRow, RouterRow, TunnelRow, parse_id},
    work::Work,
};

static SPEC: Spec = Spec {
    singular: "agent",
    plural: "agents",
    attributes: &[
        Attribute::shown("id"),
        Attribute::shown("agent_type"),
        Attribute::shown("binary"),
        Attribute::shown("topic"),
        Attribute::shown("host"),
        Attribute::open("admin_state_up", Check::Flag, Fixed::Flag(true)),
        Attribute::shown("alive"),
        Attribute::shown("availability_zone"),
        Attribute::open("description", Check::TextOrNull(255), Fixed::Null),
    ],
    veiled: &[],
};

/// The routes of agents.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/agents", get(list))
        .route("/agents/{id}", get(show).put(update).delete(delete))
}

fn get_row(txn: &Txn, id: &str) -> Outcome<AgentRow> {
    let row = match parse_id(id) {
        Some(_) => txn.get::<AgentRow>(id)?,
        None => None,
    };
    row.ok_or_else(|| l2::agent_not_found(id))
}

/// `2026-01-01 00:00:00`, as agents alone have it.
fn spaced(time: UnixMicros) -> String {
    iso_secs_z(time).replace('T', " ").trim_end_matches('Z').to_owned()
}

/// How much each host has, where its tunnels are reached and what it reaches, counted once for all agents of an answer.
#[derive(Default)]
struct Loads {
    devices: BTreeMap<String, usize>,
    networks: BTreeMap<String, usize>,
    routers: BTreeMap<String, usize>,
    ends: BTreeMap<String, TunnelRow>,
}

impl Loads {
    fn of(txn: &Txn) -> Outcome<Self> {
        let mut loads = Self::default();
        for port in txn.scan::<PortRow>(None, usize::MAX)? {
            for host in port.bindings.into_keys() {
                *loads.devices.entry(host).or_default() += 1;
            }
        }
        for served in txn.scan::<DhcpRow>(None, usize::MAX)? {
            if !served.leases.is_empty() {
                *loads.networks.entry(served.host).or_default() += 1;
            }
        }
        for router in txn.scan::<RouterRow>(None, usize::MAX)? {
            for host in router.placements.into_keys() {
                *loads.routers.entry(host).or_default() += 1;
            }
        }
        for end in txn.scan::<TunnelRow>(None, usize::MAX)? {
            loads.ends.insert(end.host.clone(), end);
        }
        Ok(loads)
    }

    fn configurations(&self, row: &AgentRow) -> Value {
        let count = |of: &BTreeMap<String, usize>| of.get(&row.host).copied().unwrap_or_default();
        match row.kind {
            AgentKind::L2 => {
                let end = self.ends.get(&row.host);
                json!({
                    "devices": count(&self.devices),
                    "routers": count(&self.routers),
                    "physical_networks": end.map(|end| &end.physical_networks),
                    "tunnel_types": ["vxlan"],
                    "tunneling_ip": end.map(|end| end.address),
                })
            }
            AgentKind::Dhcp => json!({"networks": count(&self.networks)}),
        }
    }
}

impl App {
    fn agent_view(&self, loads: &Loads, row: &AgentRow) -> View {
        let Pulse { alive, heard } = pulse(&self.context.rpc, &self.core.env, row);
        let value = json!({
            "id": row.id,
            "agent_type": row.kind.agent_type(),
            "binary": row.kind.binary(),
            "topic": row.kind.topic(),
            "host": row.host,
            "admin_state_up": row.admin_state_up,
            "alive": alive,
            "created_at": spaced(row.created_at),
            "started_at": spaced(row.started_at),
            "heartbeat_timestamp": spaced(heard),
            "availability_zone": self.core.config.availability_zone,
            "description": row.description,
            "resources_synced": null,
            "configurations": loads.configurations(row),
        });
        match value {
            Value::Object(view) => view,
            _ => View::new(),
        }
    }
}

async fn list(
    State(app): State<App>,
    auth: Auth,
    query: Query,
    links: Links,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    let listing = Listing::of(&SPEC, &query)?;
    let target = owned(&asker.project_id);
    // Whoever may see no agent sees an empty list, as in neutron.
    let may = asker.may("get_agent", &target);
    let views = app
        .core
        .read(|txn| {
            let rows = if may { txn.scan::<AgentRow>(None, usize::MAX)? } else { Vec::new() };
            let loads = Loads::of(txn)?;
            Ok(rows.iter().map(|row| app.agent_view(&loads, row)).collect::<Vec<View>>())
        })
        .await?;
    let marker = query.get("marker").unwrap_or_default();
    let answer = listing.answer(&SPEC, views, &query, &links)?;
    answer.map(Json).ok_or_else(|| l2::agent_not_found(marker))
}

async fn show(
    State(app): State<App>,
    auth: Auth,
    query: Query,
    Path(id): Path<String>,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    if !asker.may("get_agent", &owned(&asker.project_id)) {
        return Err(crate::error::hidden());
    }
    let view =
        app.core.read(|txn| Ok(app.agent_view(&Loads::of(txn)?, &get_row(txn, &id)?))).await?;
    Ok(Json(json!({"agent": listing::cut(view, &listing::fields(&query))})))
}

async fn update(
    State(app): State<App>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(value): JsonBody<Value>,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    if !asker.may("update_agent", &owned(&asker.project_id)) {
        return Err(crate::error::hidden());
    }
    let body = body::read_update(&SPEC, &value, &asker.owner())?;
    let change = |work: &mut Work<'_>| {
        let mut row = get_row(work.txn, &id)?;
        body.flag("admin_state_up").into_iter().for_each(|up| row.admin_state_up = up);
        body.description().into_iter().for_each(|text| row.description = text);
        work.txn.put(&row)?;
        Ok(app.agent_view(&Loads::of(work.txn)?, &row))
    };
    let view = app.core.transact(app.trace(&auth, "PUT agents"), change).await?;
    Ok(Json(json!({ "agent": view })))
}

/// An agent that does not run is forgotten until it does; one that runs is there again at once, as if new.
async fn delete(
    State(app): State<App>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<StatusCode, NetworkError> {
    let asker = app.asker(&auth);
    if !asker.may("delete_agent", &owned(&asker.project_id)) {
        return Err(crate::error::hidden());
    }
    let remove = |work: &mut Work<'_>| {
        let row = get_row(work.txn, &id)?;
        work.txn.delete::<AgentRow>(&row.id.to_string())?;
        note_what_runs(work, &app.context.rpc, &row)
    };
    app.core.transact(app.trace(&auth, "DELETE agents"), remove).await?;
    Ok(StatusCode::NO_CONTENT)
}
