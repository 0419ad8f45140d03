//! `/routers`, and adding and removing a router's interfaces.

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::put,
};
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody};
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    App,
    asker::Asker,
    attribute::{Attribute, Fixed, Post, Spec},
    body::{Body, fixed_request},
    listing::View,
    ports::Ports,
    resource::{Resource, owned, visible},
    subnets::Subnets,
    values::Check,
    view,
};
use crate::{
    config::Config,
    error::{NetworkError, Outcome, bad_resource, l3},
    ops::{
        interfaces,
        interfaces::Interface,
        ports, routers,
        routers::{GatewayRequest, NewRouter},
        routing,
    },
    rows::{Route, RouterRow, Standard},
    work::Work,
};

/// Routers.
pub(crate) struct Routers;

const GATEWAY: &str = "external_gateway_info";

static SPEC: Spec = Spec {
    singular: "router",
    plural: "routers",
    attributes: &[
        Attribute::shown("id"),
        Attribute::open("name", Check::Name(255), Fixed::Text("")),
        Attribute::open("admin_state_up", Check::Flag, Fixed::Flag(true)),
        Attribute::shown("status"),
        Attribute::open(GATEWAY, Check::Gateway, Fixed::Null).guarded().unsorted(),
        Attribute::open("routes", Check::Routes, Fixed::List).post(Post::Never).unsorted(),
        Attribute::shown("availability_zones").unsorted(),
        Attribute::open("availability_zone_hints", Check::Texts, Fixed::List).no_put().unsorted(),
        Attribute::open("description", Check::TextOrNull(255), Fixed::Text("")),
    ],
    veiled: &[],
};

fn gateway(body: &Body) -> Option<Option<GatewayRequest>> {
    let value = body.value(GATEWAY)?;
    let request = |network: &str| GatewayRequest {
        network: network.to_owned(),
        enable_snat: value["enable_snat"].as_bool(),
        external_fixed_ips: value["external_fixed_ips"]
            .as_array()
            .map(|items| items.iter().map(fixed_request).collect())
            .unwrap_or_default(),
    };
    Some(value["network_id"].as_str().map(request))
}

impl Resource for Routers {
    type Row = RouterRow;
    const SPEC: &'static Spec = &SPEC;

    fn get(txn: &Txn, id: &str) -> Outcome<RouterRow> {
        routers::get(txn, id)
    }

    fn not_found(id: &str) -> NetworkError {
        l3::router_not_found(id)
    }

    fn all(txn: &Txn, asker: &Asker<'_>) -> Outcome<Vec<RouterRow>> {
        let mut rows: Vec<RouterRow> = match asker.is_admin {
            true => txn.scan(None, usize::MAX)?,
            false => txn.find("project", &asker.project_id)?,
        };
        rows.retain(RouterRow::is_present);
        Ok(rows)
    }

    fn standard(row: &RouterRow) -> &Standard {
        &row.standard
    }

    fn target(_: &Txn, row: &RouterRow) -> Outcome<Target> {
        Ok(owned(&row.project_id))
    }

    fn view(txn: &Txn, config: &Config, row: &RouterRow) -> Outcome<View> {
        let gateway = match &row.gateway {
            Some(way) => {
                let port = ports::get(txn, &way.port.to_string())?;
                let fixed_ips = port.fixed_ips.iter();
                json!({
                    "network_id": way.network,
                    "enable_snat": way.enable_snat,
                    "external_fixed_ips": fixed_ips
                        .map(|one| json!({"subnet_id": one.subnet, "ip_address": one.address}))
                        .collect::<Vec<_>>(),
                })
            }
            None => Value::Null,
        };
        let placed = row.gateway.is_some() || !routers::ports_of(txn, row.id)?.is_empty();
        let zones = placed.then_some(&config.availability_zone);
        let value = json!({
            "id": row.id,
            "name": row.name,
            "admin_state_up": row.admin_state_up,
            "status": routing::state_of(txn, row)?.as_str(),
            GATEWAY: gateway,
            "routes": row.routes,
            "availability_zones": zones.into_iter().collect::<Vec<_>>(),
            "availability_zone_hints": row.availability_zone_hints,
        });
        Ok(view::of(value, &row.project_id, &row.standard))
    }

    fn create(work: &mut Work<'_>, asker: &Asker<'_>, body: &Body) -> Outcome<RouterRow> {
        let gateway = gateway(body).flatten();
        check_gateway_visible(work.txn, asker, gateway.as_ref())?;
        let new = NewRouter {
            project_id: body.project_id().to_owned(),
            name: body.needed("name")?,
            description: body.description().flatten(),
            admin_state_up: body.flag("admin_state_up").unwrap_or(true),
            availability_zone_hints: body.typed("availability_zone_hints")?.unwrap_or_default(),
        };
        routers::create(work, new, gateway.as_ref())
    }

    fn update(
        work: &mut Work<'_>,
        asker: &Asker<'_>,
        old: &RouterRow,
        body: &Body,
    ) -> Outcome<RouterRow> {
        let gateway = gateway(body);
        check_gateway_visible(work.txn, asker, gateway.as_ref().and_then(Option::as_ref))?;
        let mut new = old.clone();
        body.text("name").into_iter().for_each(|name| new.name = name);
        body.description().into_iter().for_each(|text| new.standard.description = text);
        body.flag("admin_state_up").into_iter().for_each(|up| new.admin_state_up = up);
        body.typed::<Vec<Route>>("routes")?.into_iter().for_each(|routes| new.routes = routes);
        routers::update(work, old, new, gateway)
    }

    fn delete(work: &mut Work<'_>, _: &Asker<'_>, row: &RouterRow) -> Outcome<()> {
        routers::delete(work, row)
    }
}

/// Refuses a way out over a network that the caller does not know of.
fn check_gateway_visible(
    txn: &Txn,
    asker: &Asker<'_>,
    gateway: Option<&GatewayRequest>,
) -> Outcome<()> {
    match gateway {
        Some(wanted) => visible::<super::networks::Networks>(txn, asker, &wanted.network).map(drop),
        None => Ok(()),
    }
}

/// The routes of a router's interfaces.
pub(crate) fn interface_routes() -> Router<App> {
    Router::new()
        .route("/routers/{id}/add_router_interface", put(add))
        .route("/routers/{id}/remove_router_interface", put(remove))
}

/// What a client says of an interface.
struct InterfaceRequest {
    port: Option<String>,
    subnet: Option<String>,
}

fn interface_request(value: &Value) -> Outcome<InterfaceRequest> {
    let read = |key: &str| match value.get(key) {
        None => Ok(None),
        Some(given) => match given.as_str().filter(|id| uuid::Uuid::try_parse(id).is_ok()) {
            Some(id) => Ok(Some(id.to_owned())),
            None => Err(bad_resource(
                "router",
                format!("'{}' is not a valid UUID", super::values::shown(given)),
            )),
        },
    };
    let request = InterfaceRequest { port: read("port_id")?, subnet: read("subnet_id")? };
    if request.port.is_none() && request.subnet.is_none() {
        return Err(bad_resource("router", "Either subnet_id or port_id must be specified"));
    }
    Ok(request)
}

async fn add(
    State(app): State<App>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(value): JsonBody<Value>,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    let add = |work: &mut Work<'_>| {
        let (router, target) = visible::<Routers>(work.txn, &asker, &id)?;
        asker.must("add_router_interface", &target)?;
        let request = interface_request(&value)?;
        let added = match (&request.port, &request.subnet) {
            (Some(_), Some(_)) => {
                return Err(bad_resource("router", "Cannot specify both subnet-id and port-id"));
            }
            (Some(port), None) => {
                let (port, _) = visible::<Ports>(work.txn, &asker, port)?;
                interfaces::add_port(work, &router, &port)?
            }
            (None, subnet) => {
                let subnet = subnet.as_deref().unwrap_or_default();
                let (subnet, _) = visible::<Subnets>(work.txn, &asker, subnet)?;
                if subnet.project_id != asker.project_id && !asker.is_admin {
                    let reason = format!(
                        "Cannot add interface to router because subnet {} is not owned by project \
                         making the request",
                        subnet.id
                    );
                    return Err(bad_resource("router", reason));
                }
                interfaces::add_subnet(work, &router, subnet)?
            }
        };
        Ok(answer(&router, &added))
    };
    let trace = app.trace(&auth, "PUT routers/add_router_interface");
    app.core.transact(trace, add).await.map(Json)
}

async fn remove(
    State(app): State<App>,
    auth: Auth,
    Path(id): Path<String>,
    JsonBody(value): JsonBody<Value>,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    let remove = |work: &mut Work<'_>| {
        let (router, target) = visible::<Routers>(work.txn, &asker, &id)?;
        asker.must("remove_router_interface", &target)?;
        let request = interface_request(&value)?;
        let (port, subnet) = (request.port.as_deref(), request.subnet.as_deref());
        let removed = interfaces::remove(work, &router, port, subnet)?;
        Ok(answer(&router, &removed))
    };
    let trace = app.trace(&auth, "PUT routers/remove_router_interface");
    app.core.transact(trace, remove).await.map(Json)
}

fn answer(router: &RouterRow, interface: &Interface) -> Value {
    let subnets: Vec<_> = interface.subnets.iter().map(|subnet| subnet.id).collect();
    json!({
        "id": router.id,
        "tenant_id": interface.port.project_id,
        "project_id": interface.port.project_id,
        "port_id": interface.port.id,
        "network_id": interface.port.network,
        "subnet_id": subnets.last(),
        "subnet_ids": subnets,
        "tags": [],
    })
}
