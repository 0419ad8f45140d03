//! `/subnets`

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::json;
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    asker::Asker,
    attribute::{Attribute, Fixed, Post, Spec},
    body::Body,
    listing::View,
    networks::Networks,
    resource::{Resource, owned, visible},
    values::Check,
    view,
};
use crate::{
    config::Config,
    error::{NetworkError, Outcome, bad_resource, l2},
    ipam::Pool,
    ops::{networks, subnets, subnets::NewSubnet},
    rows::{AddressMode, NetworkRow, Standard, SubnetRow},
    work::Work,
};

/// Subnets.
pub(crate) struct Subnets;

const MODES: &[&str] = &["dhcpv6-stateful", "dhcpv6-stateless", "slaac"];

static SPEC: Spec = Spec {
    singular: "subnet",
    plural: "subnets",
    attributes: &[
        Attribute::shown("id"),
        Attribute::open("name", Check::Name(255), Fixed::Text("")),
        Attribute::read_only("ip_version", Check::NumberOf(&[4, 6])).post(Post::Required),
        Attribute::read_only("network_id", Check::Id).post(Post::Required),
        Attribute::read_only("subnetpool_id", Check::IdOrNull).post(Post::Optional),
        Attribute::read_only("prefixlen", Check::NotNegative).post(Post::Optional).hidden(),
        Attribute::read_only("cidr", Check::Cidr).post(Post::Optional),
        Attribute::open("gateway_ip", Check::AddressOrNull, Fixed::Null).post(Post::Optional),
        Attribute::open("allocation_pools", Check::Pools, Fixed::Null)
            .post(Post::Optional)
            .unsorted(),
        Attribute::open("dns_nameservers", Check::Addresses, Fixed::List).unsorted(),
        Attribute::open("host_routes", Check::Routes, Fixed::List).unsorted(),
        Attribute::open("enable_dhcp", Check::Flag, Fixed::Flag(true)),
        Attribute::read_only("ipv6_ra_mode", Check::OneOf(MODES)).post(Post::Optional),
        Attribute::read_only("ipv6_address_mode", Check::OneOf(MODES)).post(Post::Optional),
        Attribute::shown("service_types").unsorted(),
        Attribute::open("description", Check::TextOrNull(255), Fixed::Text("")),
    ],
    veiled: &[],
};

#[derive(Deserialize)]
struct Route {
    destination: IpNet,
    nexthop: IpAddr,
}

fn routes(body: &Body) -> Outcome<Option<Vec<(IpNet, IpAddr)>>> {
    let pair = |route: Route| (route.destination, route.nexthop);
    let routes = body.typed::<Vec<Route>>("host_routes")?;
    Ok(routes.map(|routes| routes.into_iter().map(pair).collect()))
}

/// What rules may ask about something on a network.
pub(crate) fn on_network(project_id: &str, network: &NetworkRow) -> Target {
    owned(project_id)
        .with("network:project_id", network.project_id.as_str())
        .with("network:tenant_id", network.project_id.as_str())
        .with("network:shared", network.shared)
}

/// The network that a body names, if the caller may see it.
pub(crate) fn named_network(txn: &Txn, asker: &Asker<'_>, body: &Body) -> Outcome<NetworkRow> {
    Ok(visible::<Networks>(txn, asker, &body.needed("network_id")?)?.0)
}

impl Resource for Subnets {
    type Row = SubnetRow;
    const SPEC: &'static Spec = &SPEC;

    fn get(txn: &Txn, id: &str) -> Outcome<SubnetRow> {
        subnets::get(txn, id)
    }

    fn not_found(id: &str) -> NetworkError {
        l2::subnet_not_found(id)
    }

    fn all(txn: &Txn, asker: &Asker<'_>) -> Outcome<Vec<SubnetRow>> {
        if asker.is_admin {
            return Ok(txn.scan(None, usize::MAX)?);
        }
        let mut rows = txn.find::<SubnetRow>("project", &asker.project_id)?;
        for network in Networks::all(txn, asker)? {
            rows.extend(subnets::on(txn, network.id)?);
        }
        rows.sort_by_key(|row| row.id);
        rows.dedup_by_key(|row| row.id);
        Ok(rows)
    }

    fn standard(row: &SubnetRow) -> &Standard {
        &row.standard
    }

    fn target(txn: &Txn, row: &SubnetRow) -> Outcome<Target> {
        Ok(on_network(&row.project_id, &networks::of(txn, row.network)?))
    }

    fn new_target(txn: &Txn, asker: &Asker<'_>, body: &Body) -> Outcome<Target> {
        Ok(on_network(body.project_id(), &named_network(txn, asker, body)?))
    }

    fn view(_: &Txn, _: &Config, row: &SubnetRow) -> Outcome<View> {
        let route = |(destination, nexthop): &(IpNet, IpAddr)| json!({"destination": destination, "nexthop": nexthop});
        let value = json!({
            "id": row.id,
            "name": row.name,
            "ip_version": row.ip_version(),
            "network_id": row.network,
            "subnetpool_id": null,
            "cidr": row.cidr,
            "gateway_ip": row.gateway,
            "allocation_pools": row.pools,
            "dns_nameservers": row.dns_servers,
            "host_routes": row.host_routes.iter().map(route).collect::<Vec<_>>(),
            "enable_dhcp": row.enable_dhcp,
            "ipv6_ra_mode": row.ipv6_ra_mode,
            "ipv6_address_mode": row.ipv6_address_mode,
            "service_types": [],
        });
        Ok(view::of(value, &row.project_id, &row.standard))
    }

    fn create(work: &mut Work<'_>, asker: &Asker<'_>, body: &Body) -> Outcome<SubnetRow> {
        let network = named_network(work.txn, asker, body)?;
        if body.is_given("cidr") && body.is_given("prefixlen") {
            let reason = "cidr and prefixlen must not be supplied together";
            return Err(bad_resource("subnets", reason));
        }
        if let Some(pool) = body.text("subnetpool_id") {
            return Err(NetworkError::new(
                crate::error::Kind::NotFound,
                "SubnetPoolNotFound",
                format!("Subnet pool {pool} could not be found."),
            ));
        }
        let Some(cidr) = body.parsed::<IpNet>("cidr") else {
            let reason = "a subnetpool must be specified in the absence of a cidr";
            return Err(bad_resource("subnets", reason));
        };
        let new = NewSubnet {
            project_id: body.project_id().to_owned(),
            name: body.needed("name")?,
            description: body.description().flatten(),
            ip_version: if body.number("ip_version") == Some(6) { 6 } else { 4 },
            cidr,
            gateway: body.address("gateway_ip"),
            pools: body.typed::<Vec<Pool>>("allocation_pools")?,
            enable_dhcp: body.flag("enable_dhcp").unwrap_or(true),
            dns_servers: body.typed("dns_nameservers")?.unwrap_or_default(),
            host_routes: routes(body)?.unwrap_or_default(),
            ipv6_ra_mode: body.text("ipv6_ra_mode").as_deref().and_then(AddressMode::parse),
            ipv6_address_mode: body
                .text("ipv6_address_mode")
                .as_deref()
                .and_then(AddressMode::parse),
        };
        subnets::create(work, &network, new)
    }

    fn update(
        work: &mut Work<'_>,
        _: &Asker<'_>,
        old: &SubnetRow,
        body: &Body,
    ) -> Outcome<SubnetRow> {
        let mut new = old.clone();
        body.text("name").into_iter().for_each(|name| new.name = name);
        body.description().into_iter().for_each(|text| new.standard.description = text);
        body.address("gateway_ip").into_iter().for_each(|gateway| new.gateway = gateway);
        body.flag("enable_dhcp").into_iter().for_each(|enabled| new.enable_dhcp = enabled);
        body.typed("allocation_pools")?.into_iter().for_each(|pools| new.pools = pools);
        body.typed("dns_nameservers")?.into_iter().for_each(|servers| new.dns_servers = servers);
        routes(body)?.into_iter().for_each(|routes| new.host_routes = routes);
        subnets::update(work, old, new)
    }

    fn delete(work: &mut Work<'_>, _: &Asker<'_>, row: &SubnetRow) -> Outcome<()> {
        subnets::delete(work, row)
    }
}
