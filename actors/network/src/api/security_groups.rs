//! `/security-groups`

use serde_json::{Value, json};
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    asker::Asker,
    attribute::{Attribute, Fixed, Spec},
    body::Body,
    listing::View,
    resource::{Resource, owned},
    security_group_rules,
    values::Check,
    view,
};
use crate::{
    config::Config,
    error::{NetworkError, Outcome, security as refusals},
    ops::security,
    rows::{GroupRow, Standard},
    work::Work,
};

/// Security groups.
pub(crate) struct Groups;

static SPEC: Spec = Spec {
    singular: "security_group",
    plural: "security_groups",
    attributes: &[
        Attribute::shown("id"),
        Attribute::open("name", Check::GroupName, Fixed::Text("")),
        Attribute::open("stateful", Check::Flag, Fixed::Flag(true)),
        Attribute::shown("shared").unsorted(),
        Attribute::shown("security_group_rules").unsorted(),
        Attribute::open("description", Check::TextOrNull(255), Fixed::Text("")),
    ],
    veiled: &[],
};

impl Resource for Groups {
    type Row = GroupRow;
    const SPEC: &'static Spec = &SPEC;
    const ENSURES_DEFAULT_GROUP: bool = true;

    fn get(txn: &Txn, id: &str) -> Outcome<GroupRow> {
        security::get(txn, id)
    }

    fn not_found(id: &str) -> NetworkError {
        refusals::group_not_found(id)
    }

    fn all(txn: &Txn, asker: &Asker<'_>) -> Outcome<Vec<GroupRow>> {
        Ok(match asker.is_admin {
            true => txn.scan(None, usize::MAX)?,
            false => txn.find("project", &asker.project_id)?,
        })
    }

    fn standard(row: &GroupRow) -> &Standard {
        &row.standard
    }

    fn target(_: &Txn, row: &GroupRow) -> Outcome<Target> {
        Ok(owned(&row.project_id))
    }

    fn view(txn: &Txn, _: &Config, row: &GroupRow) -> Outcome<View> {
        let rules = security::rules_of(txn, row.id)?;
        let rules: Vec<Value> =
            rules.iter().map(|rule| security_group_rules::shown(rule, row).into()).collect();
        let value = json!({
            "id": row.id,
            "name": row.name,
            "stateful": row.stateful,
            "shared": false,
            "security_group_rules": rules,
        });
        Ok(view::of(value, &row.project_id, &row.standard))
    }

    fn create(work: &mut Work<'_>, _: &Asker<'_>, body: &Body) -> Outcome<GroupRow> {
        let stateful = body.flag("stateful").unwrap_or(true);
        let description = body.description().flatten();
        security::create(work, body.project_id(), body.needed("name")?, description, stateful)
    }

    fn update(
        work: &mut Work<'_>,
        _: &Asker<'_>,
        old: &GroupRow,
        body: &Body,
    ) -> Outcome<GroupRow> {
        let mut new = old.clone();
        body.text("name").into_iter().for_each(|name| new.name = name);
        body.flag("stateful").into_iter().for_each(|stateful| new.stateful = stateful);
        body.description().into_iter().for_each(|text| new.standard.description = text);
        security::update(work, old, new)
    }

    fn delete(work: &mut Work<'_>, asker: &Asker<'_>, row: &GroupRow) -> Outcome<()> {
        security::delete(work, row, asker.is_admin)
    }
}
