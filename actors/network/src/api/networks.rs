//! `/networks`

use serde_json::json;
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    asker::Asker,
    attribute::{Attribute, Fixed, Post, Spec},
    body::Body,
    listing::View,
    resource::{Resource, owned},
    values::Check,
    view,
};
use crate::{
    config::Config,
    error::{NetworkError, Outcome, invalid_input, l2},
    ops::{
        networks,
        networks::{NewNetwork, SegmentRequest},
        subnets,
    },
    rows::{NetworkRow, Standard, SubnetRow},
    work::Work,
};

/// Networks.
pub(crate) struct Networks;

const TYPE: &str = "provider:network_type";
const PHYSICAL: &str = "provider:physical_network";
const SEGMENTATION: &str = "provider:segmentation_id";

static SPEC: Spec = Spec {
    singular: "network",
    plural: "networks",
    attributes: &[
        Attribute::shown("id"),
        Attribute::open("name", Check::Name(255), Fixed::Text("")),
        Attribute::shown("subnets").unsorted(),
        Attribute::open("admin_state_up", Check::Flag, Fixed::Flag(true)),
        Attribute::shown("status"),
        Attribute::open("shared", Check::Flag, Fixed::Flag(false)).guarded().unsorted(),
        Attribute::open("router:external", Check::Flag, Fixed::Flag(false)).guarded().unsorted(),
        Attribute::open(TYPE, Check::Text(32), Fixed::Null).post(Post::Optional).guarded(),
        Attribute::open(PHYSICAL, Check::Text(64), Fixed::Null).post(Post::Optional).guarded(),
        Attribute::open(SEGMENTATION, Check::Number, Fixed::Null).post(Post::Optional).guarded(),
        Attribute::open("mtu", Check::NotNegative, Fixed::Number(0)),
        Attribute::open("port_security_enabled", Check::Flag, Fixed::Flag(true)).guarded(),
        Attribute::shown("availability_zones").unsorted(),
        Attribute::open("availability_zone_hints", Check::Texts, Fixed::List).no_put(),
        Attribute::shown("ipv4_address_scope"),
        Attribute::shown("ipv6_address_scope"),
        Attribute::open("description", Check::TextOrNull(255), Fixed::Text("")),
    ],
    veiled: &[TYPE, PHYSICAL, SEGMENTATION],
};

impl Resource for Networks {
    type Row = NetworkRow;
    const SPEC: &'static Spec = &SPEC;

    fn get(txn: &Txn, id: &str) -> Outcome<NetworkRow> {
        networks::get(txn, id)
    }

    fn not_found(id: &str) -> NetworkError {
        l2::network_not_found(id)
    }

    fn all(txn: &Txn, asker: &Asker<'_>) -> Outcome<Vec<NetworkRow>> {
        if asker.is_admin {
            return Ok(txn.scan(None, usize::MAX)?);
        }
        let mut rows = txn.find::<NetworkRow>("project", &asker.project_id)?;
        let public = txn.find::<NetworkRow>("public", "yes")?;
        rows.extend(public.into_iter().filter(|row| row.project_id != asker.project_id));
        Ok(rows)
    }

    fn standard(row: &NetworkRow) -> &Standard {
        &row.standard
    }

    fn target(_: &Txn, row: &NetworkRow) -> Outcome<Target> {
        Ok(owned(&row.project_id)
            .with("network:shared", row.shared)
            .with("router:external", row.external))
    }

    fn view(txn: &Txn, config: &Config, row: &NetworkRow) -> Outcome<View> {
        let subnets = subnets::on(txn, row.id)?;
        let served = subnets.iter().any(SubnetRow::is_served);
        let zones = served.then_some(&config.availability_zone);
        let value = json!({
            "id": row.id,
            "name": row.name,
            "subnets": subnets.iter().map(|subnet| subnet.id).collect::<Vec<_>>(),
            "admin_state_up": row.admin_state_up,
            "status": "ACTIVE",
            "shared": row.shared,
            "router:external": row.external,
            TYPE: row.segment.network_type.as_str(),
            PHYSICAL: row.segment.physical_network,
            SEGMENTATION: row.segment.segmentation_id,
            "mtu": row.mtu,
            "port_security_enabled": row.port_security_enabled,
            "availability_zones": zones.into_iter().collect::<Vec<_>>(),
            "availability_zone_hints": row.availability_zone_hints,
            "ipv4_address_scope": null,
            "ipv6_address_scope": null,
        });
        Ok(view::of(value, &row.project_id, &row.standard))
    }

    fn create(work: &mut Work<'_>, _: &Asker<'_>, body: &Body) -> Outcome<NetworkRow> {
        let given = [TYPE, PHYSICAL, SEGMENTATION].iter().any(|name| body.is_given(name));
        let segment = given.then(|| SegmentRequest {
            network_type: body.text(TYPE),
            physical_network: body.text(PHYSICAL),
            segmentation_id: body.number(SEGMENTATION),
        });
        let new = NewNetwork {
            project_id: body.project_id().to_owned(),
            name: body.needed("name")?,
            description: body.description().flatten(),
            admin_state_up: body.flag("admin_state_up").unwrap_or(true),
            shared: body.flag("shared").unwrap_or(false),
            external: body.flag("router:external").unwrap_or(false),
            mtu: mtu(body)?,
            segment,
            port_security_enabled: body.flag("port_security_enabled").unwrap_or(true),
            availability_zone_hints: body.typed("availability_zone_hints")?.unwrap_or_default(),
        };
        networks::create(work, new)
    }

    fn update(
        work: &mut Work<'_>,
        _: &Asker<'_>,
        old: &NetworkRow,
        body: &Body,
    ) -> Outcome<NetworkRow> {
        if [TYPE, PHYSICAL, SEGMENTATION].iter().any(|name| body.is_given(name)) {
            return Err(invalid_input("Plugin does not support updating provider attributes"));
        }
        let mut new = old.clone();
        body.text("name").into_iter().for_each(|name| new.name = name);
        body.description().into_iter().for_each(|text| new.standard.description = text);
        body.flag("admin_state_up").into_iter().for_each(|up| new.admin_state_up = up);
        body.flag("shared").into_iter().for_each(|shared| new.shared = shared);
        body.flag("router:external").into_iter().for_each(|external| new.external = external);
        body.flag("port_security_enabled")
            .into_iter()
            .for_each(|enabled| new.port_security_enabled = enabled);
        mtu(body)?.into_iter().for_each(|mtu| new.mtu = mtu);
        networks::update(work, old, new)
    }

    fn delete(work: &mut Work<'_>, _: &Asker<'_>, row: &NetworkRow) -> Outcome<()> {
        networks::delete(work, row)
    }
}

fn mtu(body: &Body) -> Outcome<Option<u32>> {
    let Some(mtu) = body.number("mtu").filter(|mtu| *mtu > 0) else { return Ok(None) };
    let too_big = |_| invalid_input(format_args!("Requested MTU is too big: {mtu}"));
    u32::try_from(mtu).map(Some).map_err(too_big)
}
