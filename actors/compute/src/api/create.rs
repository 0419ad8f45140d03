//! POST /servers: everything is checked first, then one transaction makes the rows.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use rand::Rng;
use serde_json::{Value, json};
use updraft_edge::rest::JsonBody;
use updraft_protocol::{
    image::ImageLocation,
    network::{NicRequest, Validated},
};
use updraft_runtime::{rpc::TraceContext, store::Txn};
use uuid::Uuid;

use super::call::Call;
use crate::{
    error::{Error, Outcome, bad_request, forbidden},
    groups::GroupRow,
    quota, reservations,
    rows::{Claim, FlavorRow, KeyPairRow, KeyRow, ServerRow},
    servers::count,
};

pub(crate) mod blocks;
pub(crate) mod body;
mod peers;
mod row;

use blocks::Blocks;
use body::{Body, Networks};
pub(crate) use peers::unreachable_service;

/// Most servers of one request: their rows must fit into one transaction.
const SERVERS_MAX: u64 = 1_000;

/// Letters of a password for the guest, and how many: those of nova, without look-alikes.
const PASSWORD_LETTERS: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const PASSWORD_CHARS: usize = 12;

/// What is found in compute's own rows.
struct Found {
    flavor: FlavorRow,
    key: Option<KeyRow>,
    group: Option<Uuid>,
}

/// All that a server's row is made of, besides its place among several.
struct Order {
    body: Body,
    found: Found,
    image: Option<ImageLocation>,
    blocks: Blocks,
    network: Validated,
    ids: Vec<Uuid>,
    reservation_id: String,
    trace: TraceContext,
}

pub(super) async fn create(call: Call, JsonBody(body): JsonBody<Body>) -> Outcome<Response> {
    body.server.check_version(call.version)?;
    call.must("servers:create")?;
    let trace = call.begin_flow("POST /servers");
    let order = order(&call, body, trace).await?;
    let made = commit(&call, &order).await?;
    call.stored(trace, "compute/server_created");
    tracing::info!(servers = made, first = ?order.ids.first(), "accepted");
    answer(&call, &order)
}

/// Checks everything that can be checked before anything is made; volumes are reserved last.
async fn order(call: &Call, body: Body, trace: TraceContext) -> Outcome<Order> {
    let counts = counts(&body)?;
    let (image_id, blocks) = blocks::read(&body.server)?;
    let nics = nics(call, &body, counts.1)?;
    check_rest(call, &body)?;
    let found = call.api.context.store.read(|txn| find(call, txn, &body)).await?;
    call.check_zero_disk(&found.flavor, image_id.is_some())?;
    let cx = call.cx(trace)?;
    let groups = body.server.security_groups.iter().map(|group| group.name.0.clone()).collect();
    let (image, network) = tokio::join!(
        async {
            match image_id {
                Some(id) => peers::image(&call.api, &cx, id, &found.flavor).await.map(Some),
                None => Ok(None),
            }
        },
        peers::networks(&call.api, &cx, nics, groups),
    );
    let (image, network) = (image?, network?);
    let env = &call.api.context.env;
    let ids: Vec<Uuid> = (0..counts.1).map(|_| env.uuid()).collect();
    let first = ids.first().copied().unwrap_or_default();
    let blocks = blocks.hold(call, &cx, first, counts.1).await?;
    let reservation_id = format!("r-{}", &env.uuid().simple().to_string()[..8]);
    Ok(Order { body, found, image, blocks, network, ids, reservation_id, trace })
}

/// How many servers at least and at most.
fn counts(body: &Body) -> Outcome<(u64, u64)> {
    let server = &body.server;
    let number = |count: i64| u64::try_from(count).unwrap_or(1);
    let min = server.min_count.map(|count| number(count.0));
    let max = server.max_count.map(|count| number(count.0)).or(min).unwrap_or(1);
    let min = min.unwrap_or(1);
    if min > max {
        return Err(bad_request("min_count must be <= max_count"));
    }
    if max > SERVERS_MAX {
        return Err(bad_request(format!("At most {SERVERS_MAX} servers are made at once.")));
    }
    Ok((min, max))
}

/// The interfaces asked for, before the network service has looked at them.
fn nics(call: &Call, body: &Body, count: u64) -> Outcome<Vec<NicRequest>> {
    let nic = |index: usize, network, port, fixed_ip| NicRequest {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        network,
        port,
        fixed_ip,
    };
    let these = match &body.server.networks {
        Some(Networks::None) => return Ok(Vec::new()),
        Some(Networks::Auto) | None => return Ok(vec![nic(0, None, None, None)]),
        Some(Networks::These(these)) if these.is_empty() => {
            return Ok(vec![nic(0, None, None, None)]);
        }
        Some(Networks::These(these)) => these,
    };
    call.must("servers:create:attach_network")?;
    for network in these {
        if network.uuid.is_none() && network.port.is_none() {
            return Err(bad_request(
                "Bad networks format: network uuid is not in proper format (None)",
            ));
        }
        if count > 1 && network.port.is_some() {
            return Err(bad_request(
                "Failed to launch instances: Unable to launch multiple instances with a single \
                 configured port ID. Please launch your instance one by one with different ports.",
            ));
        }
        if count > 1 && network.fixed_ip.is_some() {
            return Err(bad_request(
                "Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is \
                 specified.",
            ));
        }
        if network.port.is_some() && network.fixed_ip.is_some() {
            return Err(bad_request(
                "Specified Fixed IP cannot be used with a port: the port has its own addresses.",
            ));
        }
    }
    let numbered = these.iter().enumerate();
    Ok(numbered.map(|(i, network)| nic(i, network.uuid, network.port, network.fixed_ip)).collect())
}

/// What needs neither a row nor another service.
fn check_rest(call: &Call, body: &Body) -> Outcome<()> {
    use base64::Engine as _;
    let server = &body.server;
    if let Some(data) = &server.user_data {
        let decoded = base64::engine::general_purpose::STANDARD.decode(&data.0);
        if decoded.is_err() {
            return Err(crate::error::bad_field("user_data", "***", "it is not a 'base64'"));
        }
    }
    if server.host.is_some() || server.hypervisor_hostname.is_some() {
        call.must("servers:create:forced_host")?;
        return Err(bad_request("Servers cannot be bound to a host when they are made."));
    }
    if server.personality.as_ref().is_some_and(|files| !files.is_empty()) {
        return Err(bad_request(
            "Files cannot be written into a server; its user data can say them.",
        ));
    }
    if server.trusted_image_certificates.as_ref().is_some_and(|all| !all.is_empty()) {
        return Err(bad_request(
            "Image signatures are not checked: no certificate can be trusted.",
        ));
    }
    Ok(())
}

/// Looks for what the body names in compute's own rows.
fn find(call: &Call, txn: &Txn, body: &Body) -> Outcome<Found> {
    let server = &body.server;
    let flavor = txn.get::<FlavorRow>(&server.flavor.0)?;
    let seen =
        |row: &FlavorRow| row.visible_to(call.auth.principal.project_id()) || call.is_admin();
    let flavor = flavor
        .filter(seen)
        .ok_or_else(|| bad_request(format!("Flavor {} could not be found.", server.flavor.0)))?;
    let key = server.key_name.as_ref().map(|name| find_key(call, txn, &name.0)).transpose()?;
    if let Some(zone) = &server.availability_zone {
        check_zone(txn, &zone.0)?;
    }
    let group = find_group(call, txn, body)?;
    quota::metadata_items(txn, call.project_id()?, server.metadata.0.len())?;
    Ok(Found { flavor, key, group })
}

fn find_key(call: &Call, txn: &Txn, name: &str) -> Outcome<KeyRow> {
    let row = txn.get::<KeyPairRow>(&KeyPairRow::key_of(call.user_id(), name))?;
    let words = || {
        let user = call.user_id();
        format!("Invalid key_name provided. Keypair {name} not found for user {user}")
    };
    let row = row.ok_or_else(|| bad_request(words()))?;
    Ok(KeyRow { name: row.name, public_key: row.public_key })
}

/// A zone exists if a host is in it; `zone:host` is for administrators, and not offered.
fn check_zone(txn: &Txn, zone: &str) -> Outcome<()> {
    let hosts = txn.scan::<crate::rows::HostRow>(None, usize::MAX)?;
    let known = zone == crate::conductor::ZONE || hosts.iter().any(|host| host.zone == zone);
    if known {
        Ok(())
    } else {
        Err(bad_request(format!("The requested availability zone is not available: {zone}")))
    }
}

fn find_group(call: &Call, txn: &Txn, body: &Body) -> Outcome<Option<Uuid>> {
    let hint = body.hints.as_ref().and_then(|hints| hints.get("group"));
    let Some(hint) = hint.filter(|hint| !hint.is_null()) else { return Ok(None) };
    let id = hint.as_str().and_then(|text| Uuid::try_parse(text).ok());
    let id = id.ok_or_else(|| {
        crate::error::bad_field(
            "os:scheduler_hints.group",
            hint,
            &format!("{hint} is not a 'uuid'"),
        )
    })?;
    let row = txn.get::<GroupRow>(&id.to_string())?.filter(|row| call.sees(&row.project_id));
    match row {
        Some(row) => Ok(Some(row.id)),
        None => Err(bad_request(format!("Instance group {id} could not be found."))),
    }
}

/// Makes the rows, or lets go of what was reserved for them. Says how many were made.
async fn commit(call: &Call, order: &Order) -> Outcome<usize> {
    let store = &call.api.context.store;
    let made = store.transact(|txn| insert(call, order, txn)).await;
    let Err(error) = made else { return made };
    // This also settles a commit of unknown outcome: what is let go of is not given any more.
    reservations::let_go(store, &order.blocks.attachments()).await;
    if error.is_unknown()
        && let Some(made) = already_made(call, order).await
    {
        return Ok(made);
    }
    Err(error)
}

/// How many rows of the request are there, though nobody said so.
async fn already_made(call: &Call, order: &Order) -> Option<usize> {
    let count = |txn: &Txn| {
        let mut made = 0;
        for id in &order.ids {
            made += usize::from(txn.get::<ServerRow>(&id.to_string())?.is_some());
        }
        Ok::<_, Error>(made)
    };
    call.api.context.store.read(count).await.ok().filter(|made| *made > 0)
}

fn insert(call: &Call, order: &Order, txn: &mut Txn) -> Outcome<usize> {
    let now = call.api.context.env.wall();
    let project_id = call.project_id()?;
    let claim = Claim::of(&order.found.flavor.spec);
    let made = quota::servers(txn, project_id, claim, counts(&order.body)?)?;
    let made = usize::try_from(made).unwrap_or(usize::MAX).min(order.ids.len());
    if let Some(group) = order.found.group {
        check_group(txn, project_id, group, made)?;
    }
    for attachment in order.blocks.attachments() {
        if !reservations::take(txn, attachment)? {
            return Err(bad_request("A volume's reservation ended before the server was made."));
        }
    }
    for index in 0..made {
        let row = row::of(call, order, index, made, now);
        txn.insert(&row)?;
        count(txn, &row, 1)?;
        if let Some(action) = &row.action {
            crate::actions::begin(txn, &row, action, &row.user_id, now)?;
        }
    }
    Ok(made)
}

/// The group is still there, and has room.
fn check_group(txn: &Txn, project_id: &str, group: Uuid, more: usize) -> Outcome<()> {
    let key = group.to_string();
    if txn.get::<GroupRow>(&key)?.is_none() {
        return Err(bad_request(format!("Instance group {group} could not be found.")));
    }
    let have = txn.find::<ServerRow>("group", &key)?.len();
    let allowed = quota::of(txn, project_id)?.server_group_members;
    if allowed > quota::UNLIMITED && have + more > usize::try_from(allowed).unwrap_or(0) {
        return Err(forbidden("Quota exceeded, too many servers in group"));
    }
    Ok(())
}

fn answer(call: &Call, order: &Order) -> Outcome<Response> {
    let server = &order.body.server;
    if server.return_reservation_id.is_some_and(|flag| flag.0) {
        let body = Json(json!({"reservation_id": order.reservation_id}));
        return Ok((StatusCode::ACCEPTED, body).into_response());
    }
    let id = order.ids.first().copied().unwrap_or_default();
    let path = format!("servers/{id}");
    let password = server.admin_pass.as_ref().map(|given| given.0.clone());
    let groups: Vec<Value> = match server.security_groups.as_slice() {
        [] => vec![json!({"name": "default"})],
        these => these.iter().map(|group| json!({"name": group.name.0})).collect(),
    };
    let body = json!({"server": {
        "id": id,
        "links": call.links.resource(&path),
        "OS-DCF:diskConfig": server.disk_config.map_or("MANUAL", body::DiskConfig::as_str),
        "security_groups": groups,
        "adminPass": password.unwrap_or_else(|| self::password(call)),
    }});
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Ok(at) = HeaderValue::from_str(&call.links.api(&path)) {
        response.headers_mut().insert(header::LOCATION, at);
    }
    Ok(response)
}

pub(super) fn password(call: &Call) -> String {
    let mut rng = call.api.context.env.rng("admin-password");
    let letter = |_| {
        let index = rng.random_range(0..PASSWORD_LETTERS.len());
        char::from(PASSWORD_LETTERS.get(index).copied().unwrap_or(b'x'))
    };
    (0..PASSWORD_CHARS).map(letter).collect()
}
