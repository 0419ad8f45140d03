//! /limits: what a project may, and what it has.

use axum::{Router, response::Response, routing::get};
use serde_json::{Value, json};
use updraft_edge::rest::Query;
use updraft_runtime::store::Txn;

use super::{Api, call::Call, servers::json as answer};
use crate::{
    error::Outcome,
    groups::GroupRow,
    quota::{self, UNLIMITED},
    rows::{QuotaRow, UsageRow},
};

/// The routes of limits.
pub(super) fn routes() -> Router<Api> {
    Router::new().route("/limits", get(show))
}

async fn show(call: Call, query: Query) -> Outcome<Response> {
    call.must("limits")?;
    let project = match query.get("tenant_id") {
        Some(other) => {
            call.must("limits:other_project")?;
            other
        }
        None => call.project_id()?,
    };
    let read = |txn: &Txn| {
        let groups = txn.find::<GroupRow>("project", project)?.len();
        Ok::<_, crate::error::Error>((
            quota::of(txn, project)?,
            quota::usage(txn, project)?,
            groups,
        ))
    };
    let (quota, usage, groups) = call.api.context.store.read(read).await?;
    let absolute = absolute(call.version, &quota, &usage, groups);
    answer(&json!({"limits": {"rate": [], "absolute": absolute}}))
}

fn absolute(version: u32, quota: &QuotaRow, usage: &UsageRow, groups: usize) -> Value {
    let mut limits = json!({
        "maxTotalInstances": quota.instances,
        "maxTotalCores": quota.cores,
        "maxTotalRAMSize": quota.ram_mib,
        "maxTotalKeypairs": quota.key_pairs,
        "maxServerMeta": quota.metadata_items,
        "maxServerGroups": quota.server_groups,
        "maxServerGroupMembers": quota.server_group_members,
        "totalInstancesUsed": usage.instances,
        "totalCoresUsed": usage.cores,
        "totalRAMUsed": usage.ram_mib,
        "totalServerGroupsUsed": groups,
    });
    // What was once compute's, or could once be done; the network service counts its own now.
    if version < 36 {
        for name in ["maxSecurityGroups", "maxSecurityGroupRules", "maxTotalFloatingIps"] {
            limits[name] = json!(UNLIMITED);
        }
        for name in ["totalSecurityGroupsUsed", "totalFloatingIpsUsed"] {
            limits[name] = json!(0);
        }
    }
    if version < 39 {
        limits["maxImageMeta"] = json!(quota.metadata_items);
    }
    if version < 57 {
        limits["maxPersonality"] = json!(0);
        limits["maxPersonalitySize"] = json!(0);
    }
    limits
}
