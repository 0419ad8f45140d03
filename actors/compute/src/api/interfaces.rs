//! /servers/{id}/os-interface and /servers/{id}/ips: a server's ports and addresses, as last heard.

use axum::{Router, extract::Path, response::Response, routing::get};
use serde::Serialize;
use serde_json::json;
use updraft_edge::rest::Service;
use updraft_protocol::network::PortInfo;
use uuid::Uuid;

use super::{Api, call::Call, server_view::addresses, servers::json as answer};
use crate::error::{Outcome, not_found};

/// The routes of ports and addresses of a server.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/servers/{server}/os-interface", get(index).post(unsupported))
        .route("/servers/{server}/os-interface/{port}", get(show).delete(unsupported_one))
        .route("/servers/{server}/ips", get(ips))
        .route("/servers/{server}/ips/{network}", get(ips_of))
}

/// A port as its server's users see it.
#[derive(Serialize)]
struct View<'r> {
    net_id: Uuid,
    port_id: Uuid,
    mac_addr: &'r str,
    port_state: &'static str,
    fixed_ips: Vec<Ip>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Option<&'r str>>,
}

#[derive(Serialize)]
struct Ip {
    ip_address: std::net::IpAddr,
    subnet_id: Uuid,
}

fn view<'r>(call: &Call, port: &'r PortInfo) -> View<'r> {
    let ip = |ip: &updraft_protocol::network::FixedIp| Ip {
        ip_address: ip.address,
        subnet_id: ip.subnet,
    };
    View {
        net_id: port.network,
        port_id: port.port,
        mac_addr: &port.mac_address,
        port_state: if port.up { "ACTIVE" } else { "DOWN" },
        fixed_ips: port.fixed_ips.iter().map(ip).collect(),
        tag: (call.version >= 70).then_some(None),
    }
}

async fn index(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    let row = call.read_server(&id, "os-attach-interfaces:list").await?;
    let ports: Vec<_> = row.ports.iter().map(|port| view(&call, port)).collect();
    answer(&json!({"interfaceAttachments": ports}))
}

async fn show(call: Call, Path((id, port)): Path<(String, String)>) -> Outcome<Response> {
    let row = call.read_server(&id, "os-attach-interfaces:show").await?;
    let found = row.ports.iter().find(|known| known.port.to_string() == port);
    let found = found.ok_or_else(|| not_found(format!("Port id {port} could not be found.")))?;
    answer(&json!({"interfaceAttachment": view(&call, found)}))
}

/// A server keeps the ports that it was made with.
async fn unsupported(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    call.read_server(&id, "os-attach-interfaces:create").await?;
    let message = "The requested functionality is not supported.";
    Err(Service::Compute.not_implemented(message).into())
}

async fn unsupported_one(call: Call, Path((id, _)): Path<(String, String)>) -> Outcome<Response> {
    unsupported(call, Path(id)).await
}

/// An address without what only a server's own document adds.
#[derive(Serialize)]
struct Plain {
    version: u8,
    addr: std::net::IpAddr,
}

fn plain(all: Vec<super::server_view::Address<'_>>) -> Vec<Plain> {
    all.into_iter().map(|address| Plain { version: address.version, addr: address.addr }).collect()
}

async fn ips(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    let row = call.read_server(&id, "ips:index").await?;
    let networks: std::collections::BTreeMap<_, _> =
        addresses(&row.ports).into_iter().map(|(name, all)| (name, plain(all))).collect();
    answer(&json!({"addresses": networks}))
}

async fn ips_of(call: Call, Path((id, network)): Path<(String, String)>) -> Outcome<Response> {
    let row = call.read_server(&id, "ips:show").await?;
    let found = addresses(&row.ports).remove(network.as_str());
    let found = found.ok_or_else(|| not_found("Instance is not a member of specified network"))?;
    answer(&json!({network: plain(found)}))
}
