//! /os-services: what runs where, and hosts taken out by an operator.

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::Response,
    routing::{get, put},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use updraft_edge::rest::{JsonBody, Query, time};
use updraft_protocol::compute::{GetServer, SelectHost};
use updraft_runtime::{env::UnixMicros, store::Txn};
use uuid::Uuid;

use super::{
    Api,
    body::{Flag, NAME_MAX_CHARS, Name, Text},
    call::Call,
    hypervisors::{id_of, is_live},
    servers::json as answer,
};
use crate::{
    error::{Error, Outcome, bad_field, bad_request, not_found},
    rows::HostRow,
};

/// The zone of what is on no compute host.
pub(super) const INTERNAL_ZONE: &str = "internal";

/// The program that a compute host is in nova.
const COMPUTE: &str = "nova-compute";

/// The version since which an operator may say that a host is down.
const FORCED_DOWN: u32 = 11;

/// The version since which services have UUIDs and are changed by them.
const UUIDS: u32 = 53;

/// The routes of services.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/os-services", get(index))
        .route("/os-services/{service}", put(update).delete(delete))
}

/// A service of any kind.
pub(super) struct Running {
    id: Uuid,
    pub(super) binary: &'static str,
    pub(super) host: String,
    pub(super) zone: String,
    disabled: Option<String>,
    forced_down: bool,
    pub(super) up: bool,
    pub(super) heard: UnixMicros,
}

impl Running {
    pub(super) fn is_enabled(&self) -> bool {
        self.disabled.is_none()
    }

    fn of_host(call: &Call, host: HostRow) -> Self {
        Self {
            up: is_live(call, &host),
            disabled: host.out_of_use(),
            forced_down: host.forced_down,
            id: host.service_id,
            binary: COMPUTE,
            host: host.name,
            zone: host.zone,
            heard: host.reported,
        }
    }
}

/// Everything that runs: schedulers and conductors by the directory, compute hosts by their rows.
pub(super) fn all(call: &Call, txn: &Txn) -> Outcome<Vec<Running>> {
    let context = &call.api.context;
    let now = context.env.wall();
    let mut all = Vec::new();
    let directory = context.rpc.directory();
    let conductors = ("nova-conductor", directory.servers_of::<GetServer>());
    let schedulers = ("nova-scheduler", directory.servers_of::<SelectHost>());
    for (binary, nodes) in [conductors, schedulers] {
        for node in nodes {
            all.push(Running {
                id: named_id(binary, node.as_str()),
                binary,
                host: node.to_string(),
                zone: INTERNAL_ZONE.to_owned(),
                disabled: None,
                forced_down: false,
                up: true,
                heard: now,
            });
        }
    }
    let hosts = txn.scan::<HostRow>(None, usize::MAX)?;
    all.extend(hosts.into_iter().map(|host| Running::of_host(call, host)));
    Ok(all)
}

/// An id that is always the same for the same program on the same node.
fn named_id(binary: &str, node: &str) -> Uuid {
    let digest = Sha256::digest(format!("{binary}@{node}"));
    let bytes = digest.first_chunk::<16>().copied().unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn view(call: &Call, service: &Running) -> Value {
    let mut view = json!({
        "id": id_of(call.version, service.id),
        "binary": service.binary,
        "host": service.host,
        "zone": service.zone,
        "status": if service.is_enabled() { "enabled" } else { "disabled" },
        "state": if service.up { "up" } else { "down" },
        "updated_at": time::iso_micros(service.heard),
        "disabled_reason": service.disabled.as_deref().filter(|reason| !reason.is_empty()),
    });
    if call.version >= FORCED_DOWN {
        view["forced_down"] = json!(service.forced_down);
    }
    view
}

async fn index(call: Call, query: Query) -> Outcome<Response> {
    call.must("os-services:list")?;
    let mut services = call.api.context.store.read(|txn| all(&call, txn)).await?;
    if let Some(host) = query.get("host") {
        services.retain(|service| service.host == host);
    }
    if let Some(binary) = query.get("binary") {
        services.retain(|service| service.binary == binary);
    }
    let views: Vec<Value> = services.iter().map(|service| view(&call, service)).collect();
    answer(&json!({"services": views}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    status: Option<Status>,
    disabled_reason: Option<Text<1, NAME_MAX_CHARS>>,
    forced_down: Option<Flag>,
    /// How older versions name the service.
    host: Option<Name>,
    binary: Option<Name>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Enabled,
    Disabled,
}

/// PUT /os-services/{id}; before 2.53 the path names what to do, and the body the service.
async fn update(
    call: Call,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<Update>,
) -> Outcome<Response> {
    call.must("os-services:update")?;
    let row = match call.version >= UUIDS {
        true => update_by_id(&call, &name, &body).await?,
        false => return update_by_name(&call, &name, &body).await,
    };
    answer(&json!({"service": view(&call, &Running::of_host(&call, row))}))
}

async fn update_by_id(call: &Call, id: &str, body: &Update) -> Outcome<HostRow> {
    let id = Uuid::try_parse(id).map_err(|_| bad_request(format!("Invalid uuid {id}")))?;
    let disabled = match (body.status, &body.disabled_reason) {
        (Some(Status::Enabled), None) => Some(None),
        (Some(Status::Disabled), reason) => Some(Some(reason_of(reason.as_ref()))),
        (Some(Status::Enabled), Some(_)) => {
            let words = "Specifying 'disabled_reason' when status is 'enabled' is invalid.";
            return Err(bad_request(words));
        }
        (None, Some(_)) => {
            return Err(bad_request("'disabled_reason' can only be given with status 'disabled'."));
        }
        (None, None) if body.forced_down.is_some() => None,
        (None, None) => {
            return Err(bad_request(
                "No updates were requested. Fields 'status' or 'forced_down' should be specified.",
            ));
        }
    };
    let change = |txn: &mut Txn| {
        let hosts = txn.scan::<HostRow>(None, usize::MAX)?;
        let Some(mut host) = hosts.into_iter().find(|host| host.service_id == id) else {
            return Err(no_service(call, txn, id)?);
        };
        let before = host.clone();
        if let Some(disabled) = &disabled {
            host.disabled.clone_from(disabled);
        }
        host.forced_down = body.forced_down.map_or(host.forced_down, |flag| flag.0);
        if host != before {
            txn.put(&host)?;
        }
        Ok(host)
    };
    call.api.context.store.transact(change).await
}

/// Why there is no compute host of this id: it is another service, or none.
fn no_service(call: &Call, txn: &Txn, id: Uuid) -> Outcome<Error> {
    let other = all(call, txn)?.into_iter().find(|service| service.id == id);
    Ok(match other {
        Some(service) => bad_request(format!(
            "Updating a {} service is not supported. Only nova-compute services can be updated.",
            service.binary
        )),
        None => not_found(format!("Service {id} could not be found.")),
    })
}

fn reason_of(reason: Option<&Text<1, NAME_MAX_CHARS>>) -> String {
    reason.map(|text| text.0.clone()).unwrap_or_default()
}

async fn update_by_name(call: &Call, action: &str, body: &Update) -> Outcome<Response> {
    let (Some(Text(host)), Some(Text(binary))) = (&body.host, &body.binary) else {
        return Err(bad_field("body", "an object", "'host' and 'binary' are required properties"));
    };
    if action == "force-down" {
        return force_down(call, (host, binary), body).await;
    }
    let disabled = match (action, &body.disabled_reason) {
        ("enable", _) => None,
        ("disable", _) => Some(String::new()),
        ("disable-log-reason", Some(reason)) => Some(reason.0.clone()),
        ("disable-log-reason", None) => return Err(bad_request("Missing disabled reason field")),
        _ => return Err(not_found("Unknown action")),
    };
    change_named(call, (host, binary), |row| row.disabled.clone_from(&disabled)).await?;
    let mut service = json!({
        "host": host,
        "binary": binary,
        "status": if disabled.is_some() { "disabled" } else { "enabled" },
    });
    if action == "disable-log-reason" {
        service["disabled_reason"] = json!(disabled);
    }
    answer(&json!({"service": service}))
}

/// Changes the compute host of this name.
async fn change_named(
    call: &Call,
    (host, binary): (&str, &str),
    change: impl Fn(&mut HostRow),
) -> Outcome<()> {
    let change = |txn: &mut Txn| {
        let found = txn.get::<HostRow>(host)?.filter(|_| binary == COMPUTE);
        let mut row =
            found.ok_or_else(|| not_found(format!("Host '{host}' is not mapped to any cell")))?;
        change(&mut row);
        Ok::<_, Error>(txn.put(&row)?)
    };
    call.api.context.store.transact(change).await
}

/// PUT /os-services/force-down: what an operator says of a host before 2.53.
async fn force_down(call: &Call, (host, binary): (&str, &str), body: &Update) -> Outcome<Response> {
    call.since(FORCED_DOWN)?;
    let Some(Flag(forced_down)) = body.forced_down else {
        return Err(bad_field("body", "an object", "'forced_down' is a required property"));
    };
    change_named(call, (host, binary), |row| row.forced_down = forced_down).await?;
    answer(&json!({"service": {"host": host, "binary": binary, "forced_down": forced_down}}))
}

/// A compute host that has no server may be forgotten; one that runs is known again, as if new, when it next reports.
async fn delete(call: Call, Path(id): Path<String>) -> Outcome<StatusCode> {
    call.must("os-services:delete")?;
    let id = Uuid::try_parse(&id).map_err(|_| bad_request(format!("Invalid uuid {id}")))?;
    let delete = |txn: &mut Txn| {
        let hosts = txn.scan::<HostRow>(None, usize::MAX)?;
        let Some(host) = hosts.into_iter().find(|host| host.service_id == id) else {
            return Err(no_service(&call, txn, id)?);
        };
        if !host.claims.is_empty() {
            return Err(crate::error::conflict(
                "Unable to delete compute service that is hosting instances. Migrate or delete the \
                 instances first.",
            ));
        }
        txn.delete::<HostRow>(&host.name)?;
        Ok(())
    };
    call.api.context.store.transact(delete).await?;
    Ok(StatusCode::NO_CONTENT)
}
