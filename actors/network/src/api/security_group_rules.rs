//! `/security-group-rules`

use serde_json::json;
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    asker::Asker,
    attribute::{Attribute, Fixed, Post, Spec},
    body::Body,
    listing::View,
    resource::{Resource, owned, visible},
    security_groups::Groups,
    values::Check,
    view,
};
use crate::{
    config::Config,
    error::{Kind, NetworkError, Outcome, security as refusals},
    ops::{rules, rules::NewRule, security},
    rows::{Direction, EtherType, GroupRow, RuleRow, Standard},
    work::Work,
};

/// Rules of security groups.
pub(crate) struct Rules;

static SPEC: Spec = Spec {
    singular: "security_group_rule",
    plural: "security_group_rules",
    attributes: &[
        Attribute::shown("id"),
        Attribute::read_only("security_group_id", Check::Text(36)).post(Post::Required),
        given("remote_group_id", Check::TextOrNull(255)),
        given("remote_address_group_id", Check::IdOrNull),
        Attribute::read_only("direction", Check::OneOf(&["ingress", "egress"]))
            .post(Post::Required),
        given("protocol", Check::Protocol),
        given("port_range_min", Check::RulePort),
        given("port_range_max", Check::RulePort),
        Attribute::read_only("ethertype", Check::EtherType)
            .post(Post::Default(Fixed::Text("IPv4"))),
        given("remote_ip_prefix", Check::Prefix),
        Attribute::shown("normalized_cidr"),
        Attribute::shown("belongs_to_default_sg"),
        Attribute::read_only("description", Check::TextOrNull(255))
            .post(Post::Default(Fixed::Text(""))),
    ],
    veiled: &[],
};

const fn given(name: &'static str, check: Check) -> Attribute {
    Attribute::read_only(name, check).post(Post::Default(Fixed::Null))
}

/// A rule of a group as clients see it.
pub(crate) fn shown(row: &RuleRow, group: &GroupRow) -> View {
    let value = json!({
        "id": row.id,
        "security_group_id": row.group,
        "remote_group_id": row.remote_group,
        "remote_address_group_id": null,
        "direction": row.direction.as_str(),
        "protocol": row.protocol,
        "port_range_min": row.port_range_min,
        "port_range_max": row.port_range_max,
        "ethertype": row.ethertype.as_str(),
        "remote_ip_prefix": row.remote_ip_prefix,
        "normalized_cidr": row.remote_ip_prefix.map(|prefix| prefix.trunc()),
        "belongs_to_default_sg": group.is_default,
    });
    let mut view = view::of(value, &row.project_id, &row.standard);
    view.remove("tags");
    view
}

fn group_of(txn: &Txn, row: &RuleRow) -> Outcome<GroupRow> {
    security::get(txn, &row.group.to_string())
}

fn on_group(project_id: &str, group: &GroupRow) -> Target {
    owned(project_id)
        .with("security_group:project_id", group.project_id.as_str())
        .with("security_group:tenant_id", group.project_id.as_str())
}

fn named_group(txn: &Txn, asker: &Asker<'_>, body: &Body) -> Outcome<GroupRow> {
    Ok(visible::<Groups>(txn, asker, &body.needed("security_group_id")?)?.0)
}

fn new_rule(body: &Body) -> Outcome<NewRule> {
    if let Some(id) = body.text("remote_address_group_id") {
        return Err(NetworkError::new(
            Kind::NotFound,
            "AddressGroupNotFound",
            format!("Address group {id} could not be found."),
        ));
    }
    let ingress = body.text("direction").as_deref() == Some("ingress");
    let v6 = body.text("ethertype").as_deref() == Some("IPv6");
    let port = |name: &str| body.number(name).and_then(|number| u16::try_from(number).ok());
    Ok(NewRule {
        project_id: body.project_id().to_owned(),
        description: body.description().flatten(),
        direction: if ingress { Direction::Ingress } else { Direction::Egress },
        ethertype: if v6 { EtherType::V6 } else { EtherType::V4 },
        protocol: body.text("protocol"),
        port_range_min: port("port_range_min"),
        port_range_max: port("port_range_max"),
        remote_ip_prefix: body.parsed("remote_ip_prefix"),
        remote_group: body.text("remote_group_id"),
    })
}

impl Resource for Rules {
    type Row = RuleRow;
    const SPEC: &'static Spec = &SPEC;
    const CHANGES: bool = false;

    fn get(txn: &Txn, id: &str) -> Outcome<RuleRow> {
        rules::get(txn, id)
    }

    fn not_found(id: &str) -> NetworkError {
        refusals::rule_not_found(id)
    }

    fn all(txn: &Txn, asker: &Asker<'_>) -> Outcome<Vec<RuleRow>> {
        if asker.is_admin {
            return Ok(txn.scan(None, usize::MAX)?);
        }
        let mut rows = Vec::new();
        for group in txn.find::<GroupRow>("project", &asker.project_id)? {
            rows.extend(security::rules_of(txn, group.id)?);
        }
        Ok(rows)
    }

    fn standard(row: &RuleRow) -> &Standard {
        &row.standard
    }

    fn target(txn: &Txn, row: &RuleRow) -> Outcome<Target> {
        Ok(on_group(&row.project_id, &group_of(txn, row)?))
    }

    fn new_target(txn: &Txn, asker: &Asker<'_>, body: &Body) -> Outcome<Target> {
        Ok(on_group(body.project_id(), &named_group(txn, asker, body)?))
    }

    fn view(txn: &Txn, _: &Config, row: &RuleRow) -> Outcome<View> {
        Ok(shown(row, &group_of(txn, row)?))
    }

    fn create(work: &mut Work<'_>, asker: &Asker<'_>, body: &Body) -> Outcome<RuleRow> {
        let made = Self::create_all(work, asker, std::slice::from_ref(body))?;
        let none = || NetworkError::Internal("a rule was not made".to_owned());
        made.into_iter().next().ok_or_else(none)
    }

    fn create_all(
        work: &mut Work<'_>,
        asker: &Asker<'_>,
        bodies: &[Body],
    ) -> Outcome<Vec<RuleRow>> {
        let Some(first) = bodies.first() else { return Ok(Vec::new()) };
        let group = named_group(work.txn, asker, first)?;
        let id = group.id.to_string();
        if bodies.iter().any(|body| body.text("security_group_id").as_deref() != Some(&*id)) {
            return Err(refusals::not_single_group());
        }
        let wanted = bodies.iter().map(new_rule).collect::<Outcome<Vec<NewRule>>>()?;
        rules::create(work, &group, wanted)
    }

    fn update(_: &mut Work<'_>, _: &Asker<'_>, old: &RuleRow, _: &Body) -> Outcome<RuleRow> {
        Ok(old.clone())
    }

    fn delete(work: &mut Work<'_>, _: &Asker<'_>, row: &RuleRow) -> Outcome<()> {
        rules::delete(work, row)
    }
}
