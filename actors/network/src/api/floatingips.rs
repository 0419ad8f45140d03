//! `/floatingips`

use serde_json::{Value, json};
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    asker::Asker,
    attribute::{Attribute, Fixed, Post, Spec},
    body::Body,
    listing::View,
    networks::Networks,
    ports::Ports,
    resource::{Resource, owned, visible},
    values::Check,
    view,
};
use crate::{
    config::Config,
    error::{NetworkError, Outcome, l3},
    ops::{
        floatingips,
        floatingips::{Association, NewFloatingIp},
        routing,
    },
    rows::{FloatingIpRow, PortRow, Standard},
    work::Work,
};

/// Floating IPs.
pub(crate) struct FloatingIps;

static SPEC: Spec = Spec {
    singular: "floatingip",
    plural: "floatingips",
    attributes: &[
        Attribute::shown("id"),
        Attribute::read_only("floating_ip_address", Check::AddressOrNull)
            .post(Post::Default(Fixed::Null))
            .guarded(),
        Attribute::read_only("subnet_id", Check::IdOrNull)
            .post(Post::Default(Fixed::Null))
            .hidden(),
        Attribute::read_only("floating_network_id", Check::Id).post(Post::Required),
        Attribute::shown("router_id"),
        Attribute::open("port_id", Check::IdOrNull, Fixed::Null).unsorted(),
        Attribute::open("fixed_ip_address", Check::AddressOrNull, Fixed::Null),
        Attribute::shown("status"),
        Attribute::shown("port_details").unsorted(),
        Attribute::open("description", Check::TextOrNull(255), Fixed::Text("")),
    ],
    veiled: &[],
};

fn details(txn: &Txn, row: &FloatingIpRow) -> Outcome<Value> {
    let port = match row.port {
        Some(id) => txn.get::<PortRow>(&id.to_string())?,
        None => None,
    };
    let shown = |port: PortRow| {
        json!({
            "name": port.name,
            "network_id": port.network,
            "mac_address": port.mac_address,
            "admin_state_up": port.admin_state_up,
            "status": port.status.as_str(),
            "device_id": port.device_id,
            "device_owner": port.device_owner,
        })
    };
    Ok(port.map_or(Value::Null, shown))
}

impl Resource for FloatingIps {
    type Row = FloatingIpRow;
    const SPEC: &'static Spec = &SPEC;

    fn get(txn: &Txn, id: &str) -> Outcome<FloatingIpRow> {
        floatingips::get(txn, id)
    }

    fn not_found(id: &str) -> NetworkError {
        l3::floating_ip_not_found(id)
    }

    fn all(txn: &Txn, asker: &Asker<'_>) -> Outcome<Vec<FloatingIpRow>> {
        Ok(match asker.is_admin {
            true => txn.scan(None, usize::MAX)?,
            false => txn.find("project", &asker.project_id)?,
        })
    }

    fn standard(row: &FloatingIpRow) -> &Standard {
        &row.standard
    }

    fn target(_: &Txn, row: &FloatingIpRow) -> Outcome<Target> {
        Ok(owned(&row.project_id))
    }

    fn view(txn: &Txn, _: &Config, row: &FloatingIpRow) -> Outcome<View> {
        let value = json!({
            "id": row.id,
            "floating_ip_address": row.address,
            "floating_network_id": row.network,
            "router_id": row.router,
            "port_id": row.port,
            "fixed_ip_address": row.fixed,
            "status": routing::state_of_floating(txn, row)?.as_str(),
            "port_details": details(txn, row)?,
        });
        Ok(view::of(value, &row.project_id, &row.standard))
    }

    fn create(work: &mut Work<'_>, asker: &Asker<'_>, body: &Body) -> Outcome<FloatingIpRow> {
        let network = body.needed("floating_network_id")?;
        visible::<Networks>(work.txn, asker, &network)?;
        let to = association(work.txn, asker, body)?;
        let new = NewFloatingIp {
            project_id: body.project_id().to_owned(),
            description: body.description().flatten(),
            network,
            subnet: body.text("subnet_id"),
            address: body.address("floating_ip_address").flatten(),
        };
        floatingips::create(work, new, &to, asker.is_admin)
    }

    fn update(
        work: &mut Work<'_>,
        asker: &Asker<'_>,
        old: &FloatingIpRow,
        body: &Body,
    ) -> Outcome<FloatingIpRow> {
        let mut new = old.clone();
        body.description().into_iter().for_each(|text| new.standard.description = text);
        let led = body.is_given("port_id") || body.is_given("fixed_ip_address");
        let mut to = association(work.txn, asker, body)?;
        if !body.is_given("port_id") {
            to.port = old.port.map(|id| id.to_string());
        }
        floatingips::update(work, old, new, led.then_some(&to), asker.is_admin)
    }

    fn delete(work: &mut Work<'_>, _: &Asker<'_>, row: &FloatingIpRow) -> Outcome<()> {
        floatingips::delete(work, row)
    }
}

/// Where a body says that a floating IP shall lead, to a port that the caller may see.
fn association(txn: &Txn, asker: &Asker<'_>, body: &Body) -> Outcome<Association> {
    let port = body.text("port_id");
    if let Some(id) = &port {
        visible::<Ports>(txn, asker, id)?;
    }
    Ok(Association { port, fixed: body.address("fixed_ip_address").flatten() })
}
