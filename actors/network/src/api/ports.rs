//! `/ports`

use serde_json::{Map, Value, json};
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    asker::Asker,
    attribute::{Attribute, Fixed, Post, Spec},
    body::Body,
    listing::View,
    resource::Resource,
    subnets::{named_network, on_network},
    values::Check,
    view,
};
use crate::{
    config::Config,
    error::{NetworkError, Outcome, bad_request, l2},
    ops::{
        networks, ports,
        ports::{NewPort, PortChange},
    },
    rows::{AddressPair, NetworkRow, PortRow, Standard, owner},
    work::Work,
};

/// Ports.
pub(crate) struct Ports;

const HOST: &str = "binding:host_id";
const PROFILE: &str = "binding:profile";
const VNIC_TYPE: &str = "binding:vnic_type";
const VIF_TYPE: &str = "binding:vif_type";
const VIF_DETAILS: &str = "binding:vif_details";

const VNIC_TYPES: &[&str] = &[
    "normal",
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "vdpa",
    "accelerator-direct",
    "accelerator-direct-physical",
    "remote-managed",
];

static SPEC: Spec = Spec {
    singular: "port",
    plural: "ports",
    attributes: &[
        Attribute::shown("id"),
        Attribute::open("name", Check::Name(255), Fixed::Text("")),
        Attribute::read_only("network_id", Check::Id).post(Post::Required),
        Attribute::open("admin_state_up", Check::Flag, Fixed::Flag(true)),
        Attribute::open("mac_address", Check::Mac, Fixed::Null).post(Post::Optional).guarded(),
        Attribute::open("fixed_ips", Check::FixedIps, Fixed::Null)
            .post(Post::Optional)
            .guarded()
            .unsorted(),
        Attribute::open("device_id", Check::Text(255), Fixed::Text("")).guarded(),
        Attribute::open("device_owner", Check::Text(255), Fixed::Text("")).guarded(),
        Attribute::shown("status"),
        Attribute::open("security_groups", Check::Ids, Fixed::Null).post(Post::Optional).unsorted(),
        Attribute::open("port_security_enabled", Check::Flag, Fixed::Null)
            .post(Post::Optional)
            .guarded(),
        Attribute::open("allowed_address_pairs", Check::AddressPairs, Fixed::List)
            .guarded()
            .unsorted(),
        Attribute::open(HOST, Check::TextOrNull(255), Fixed::Null).post(Post::Optional).guarded(),
        Attribute::open(PROFILE, Check::ObjectOrNull, Fixed::Null)
            .post(Post::Optional)
            .guarded()
            .unsorted(),
        Attribute::open(VNIC_TYPE, Check::OneOf(VNIC_TYPES), Fixed::Text("normal")).guarded(),
        Attribute::shown(VIF_TYPE).unsorted(),
        Attribute::shown(VIF_DETAILS).unsorted(),
        Attribute::open("description", Check::TextOrNull(255), Fixed::Text("")),
    ],
    veiled: &[HOST, PROFILE, VIF_TYPE, VIF_DETAILS],
};

/// Most address pairs of a port, as in neutron: every one of them is a rule on the host.
const ADDRESS_PAIRS_MAX: usize = 10;

fn address_pairs(body: &Body) -> Outcome<Option<Vec<AddressPair>>> {
    let Some(items) = body.value("allowed_address_pairs").and_then(Value::as_array) else {
        return Ok(None);
    };
    if items.len() > ADDRESS_PAIRS_MAX {
        return Err(NetworkError::new(
            crate::error::Kind::Invalid,
            "AllowedAddressPairExhausted",
            format!("The number of allowed address pair exceeds the maximum {ADDRESS_PAIRS_MAX}."),
        ));
    }
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let pair = |item: &Value| AddressPair {
        ip_address: text(item, "ip_address"),
        mac_address: text(item, "mac_address"),
    };
    Ok(Some(items.iter().map(pair).collect()))
}

fn profile(body: &Body) -> Option<Map<String, Value>> {
    body.value(PROFILE).map(|value| value.as_object().cloned().unwrap_or_default())
}

fn host(body: &Body) -> Option<Option<String>> {
    let text = body.value(HOST)?.as_str();
    Some(text.filter(|host| !host.is_empty()).map(str::to_owned))
}

fn network_of(txn: &Txn, row: &PortRow) -> Outcome<NetworkRow> {
    networks::of(txn, row.network)
}

impl Resource for Ports {
    type Row = PortRow;
    const SPEC: &'static Spec = &SPEC;

    fn get(txn: &Txn, id: &str) -> Outcome<PortRow> {
        ports::get(txn, id)
    }

    fn not_found(id: &str) -> NetworkError {
        l2::port_not_found(id)
    }

    fn all(txn: &Txn, asker: &Asker<'_>) -> Outcome<Vec<PortRow>> {
        let mut rows: Vec<PortRow> = if asker.is_admin {
            txn.scan(None, usize::MAX)?
        } else {
            let mut rows = txn.find::<PortRow>("project", &asker.project_id)?;
            for network in txn.find::<NetworkRow>("project", &asker.project_id)? {
                rows.extend(ports::on(txn, network.id)?);
            }
            rows
        };
        rows.retain(PortRow::is_present);
        rows.sort_by_key(|row| row.id);
        rows.dedup_by_key(|row| row.id);
        Ok(rows)
    }

    fn standard(row: &PortRow) -> &Standard {
        &row.standard
    }

    fn target(txn: &Txn, row: &PortRow) -> Outcome<Target> {
        let target = on_network(&row.project_id, &network_of(txn, row)?);
        Ok(target.with("network_device", row.is_infrastructure()))
    }

    fn new_target(txn: &Txn, asker: &Asker<'_>, body: &Body) -> Outcome<Target> {
        let target = on_network(body.project_id(), &named_network(txn, asker, body)?);
        Ok(target.with("network_device", false))
    }

    fn changed_target(target: Target, body: &Body) -> Target {
        match body.text("device_owner") {
            Some(owner) => target.with("network_device", owner.starts_with(owner::NETWORK_PREFIX)),
            None => target,
        }
    }

    fn view(_: &Txn, _: &Config, row: &PortRow) -> Outcome<View> {
        let bound = row.host.is_some();
        let details = json!({"port_filter": true, "connectivity": "l2"});
        let fixed_ips = row.fixed_ips.iter();
        let value = json!({
            "id": row.id,
            "name": row.name,
            "network_id": row.network,
            "admin_state_up": row.admin_state_up,
            "mac_address": row.mac_address,
            "fixed_ips": fixed_ips
                .map(|fixed| json!({"subnet_id": fixed.subnet, "ip_address": fixed.address}))
                .collect::<Vec<_>>(),
            "device_id": row.device_id,
            "device_owner": row.device_owner,
            "status": row.status.as_str(),
            "security_groups": row.security_groups,
            "port_security_enabled": row.port_security_enabled,
            "allowed_address_pairs": row.allowed_address_pairs,
            HOST: row.host.as_deref().unwrap_or_default(),
            PROFILE: row.profile,
            VNIC_TYPE: row.vnic_type,
            VIF_TYPE: if bound { "bridge" } else { "unbound" },
            VIF_DETAILS: if bound { details } else { json!({}) },
        });
        Ok(view::of(value, &row.project_id, &row.standard))
    }

    fn create(work: &mut Work<'_>, asker: &Asker<'_>, body: &Body) -> Outcome<PortRow> {
        let network = named_network(work.txn, asker, body)?;
        let new = NewPort {
            name: body.needed("name")?,
            description: body.description().flatten(),
            mac_address: body.text("mac_address"),
            fixed_ips: body.fixed_ips("fixed_ips"),
            admin_state_up: body.flag("admin_state_up").unwrap_or(true),
            device_id: body.needed("device_id")?,
            device_owner: body.needed("device_owner")?,
            security_groups: body.typed("security_groups")?,
            port_security_enabled: body.flag("port_security_enabled"),
            allowed_address_pairs: address_pairs(body)?.unwrap_or_default(),
            vnic_type: body.needed(VNIC_TYPE)?,
            profile: profile(body).unwrap_or_default(),
            host: host(body).flatten(),
            ..NewPort::of(body.project_id())
        };
        ports::create(work, &network, new)
    }

    fn update(work: &mut Work<'_>, _: &Asker<'_>, old: &PortRow, body: &Body) -> Outcome<PortRow> {
        if old.nic.is_some() && host(body).is_some_and(|host| host != old.host) {
            // Where a server is, is for the compute service to say.
            return Err(bad_request("The host of a server's port cannot be changed"));
        }
        let change = PortChange {
            name: body.text("name"),
            description: body.description(),
            admin_state_up: body.flag("admin_state_up"),
            mac_address: body.text("mac_address"),
            fixed_ips: body.fixed_ips("fixed_ips"),
            device_id: body.text("device_id"),
            device_owner: body.text("device_owner"),
            security_groups: body.typed("security_groups")?,
            port_security_enabled: body.flag("port_security_enabled"),
            allowed_address_pairs: address_pairs(body)?,
            vnic_type: body.text(VNIC_TYPE),
            profile: profile(body),
            host: host(body),
        };
        ports::update(work, old, change)
    }

    fn delete(work: &mut Work<'_>, _: &Asker<'_>, row: &PortRow) -> Outcome<()> {
        ports::delete(work, row)
    }
}
