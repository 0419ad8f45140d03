//! How many a project has, and may have.

use std::collections::BTreeMap;

use updraft_runtime::store::{Record, StoreError, Txn};

use crate::{
    config::Config,
    error::{Outcome, over_quota},
    rows::{
        FloatingIpRow, GroupRow, NetworkRow, PortRow, QuotaRow, Resource, RouterRow, RuleRow,
        SubnetRow,
    },
    work::Work,
};

/// A project's limits, all of them.
pub(crate) fn limits(
    txn: &Txn,
    config: &Config,
    project_id: &str,
) -> Result<BTreeMap<Resource, i64>, StoreError> {
    let own = txn.get::<QuotaRow>(project_id)?.map(|row| row.limits).unwrap_or_default();
    let limit = |resource: Resource| {
        own.get(&resource).copied().unwrap_or_else(|| config.default_limit(resource))
    };
    Ok(Resource::ALL.into_iter().map(|resource| (resource, limit(resource))).collect())
}

/// How many of this a project has; not more than `most` are counted.
pub(crate) fn used(
    txn: &Txn,
    project_id: &str,
    resource: Resource,
    most: usize,
) -> Result<usize, StoreError> {
    let table = match resource {
        Resource::Network => NetworkRow::TABLE,
        Resource::Subnet => SubnetRow::TABLE,
        Resource::Port => PortRow::TABLE,
        Resource::SecurityGroup => GroupRow::TABLE,
        Resource::SecurityGroupRule => RuleRow::TABLE,
        Resource::Router => RouterRow::TABLE,
        Resource::FloatingIp => FloatingIpRow::TABLE,
    };
    // The entries of the index tell the number without a look at the rows.
    Ok(txn.scan_raw(&format!("{table}~project/{project_id}/"), None, most)?.len())
}

/// Refuses if the project may not have so many more.
pub(crate) fn check(
    work: &Work<'_>,
    project_id: &str,
    resource: Resource,
    more: usize,
) -> Outcome<()> {
    let own = work.txn.get::<QuotaRow>(project_id)?;
    let limit = own
        .and_then(|row| row.limits.get(&resource).copied())
        .unwrap_or_else(|| work.config.default_limit(resource));
    let Ok(limit) = usize::try_from(limit) else { return Ok(()) };
    let used = used(work.txn, project_id, resource, limit.saturating_add(1))?;
    if used.saturating_add(more) > limit {
        return Err(over_quota(&[resource.as_str()]));
    }
    Ok(())
}
