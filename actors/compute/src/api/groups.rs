//! /os-server-groups.

use axum::{Router, extract::Path, http::StatusCode, response::Response, routing::get};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use updraft_edge::rest::{JsonBody, Page, Query, Service};
use updraft_runtime::store::Txn;
use uuid::Uuid;

use super::{Api, body::Name, call::Call, servers::json as answer};
use crate::{
    error::{Error, Outcome, bad_field, not_found},
    groups::GroupRow,
    quota,
    rows::ServerRow,
    scheduler::GroupPolicy,
};

/// The routes of server groups.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/os-server-groups", get(index).post(create))
        .route("/os-server-groups/{group}", get(show).delete(delete))
}

fn view(call: &Call, txn: &Txn, row: &GroupRow) -> Outcome<Value> {
    let members = txn.find::<ServerRow>("group", &row.id.to_string())?;
    let members: Vec<Uuid> = members.iter().map(|member| member.id).collect();
    let mut view = json!({"id": row.id, "name": row.name, "members": members});
    if call.version < 64 {
        view["policies"] = json!([row.policy]);
        view["metadata"] = json!({});
    } else {
        view["policy"] = json!(row.policy);
        view["rules"] = match row.policy {
            GroupPolicy::AntiAffinity => json!({"max_server_per_host": 1}),
            _ => json!({}),
        };
    }
    if call.version >= 13 {
        view["project_id"] = json!(row.project_id);
        view["user_id"] = json!(row.user_id);
    }
    Ok(view)
}

async fn index(call: Call, query: Query) -> Outcome<Response> {
    call.must("os-server-groups:index")?;
    if call.version >= 75 {
        query.only(&["all_projects", "limit", "offset"])?;
    }
    let page = Page::of(Service::Compute, &query)?;
    let all =
        query.get("all_projects").is_some() && call.may("os-server-groups:index:all_projects");
    call.api
        .context
        .store
        .read(|txn| {
            let rows = match all {
                true => txn.scan::<GroupRow>(None, usize::MAX)?,
                false => txn.find::<GroupRow>("project", call.project_id()?)?,
            };
            let shown = rows.iter().skip(page.offset).take(page.limit.unwrap_or(usize::MAX));
            let groups: Outcome<Vec<Value>> = shown.map(|row| view(&call, txn, row)).collect();
            answer(&json!({"server_groups": groups?}))
        })
        .await
}

/// The group of this id, if the caller may do this with it.
fn find(call: &Call, txn: &Txn, id: &str, rule: &str) -> Outcome<GroupRow> {
    let row = match Uuid::try_parse(id) {
        Ok(id) => txn.get::<GroupRow>(&id.to_string())?,
        Err(_) => None,
    };
    let row = row.filter(|row| call.sees(&row.project_id));
    let row = row.ok_or_else(|| not_found(format!("Instance group {id} could not be found.")))?;
    call.must_in(rule, &row.project_id)?;
    Ok(row)
}

async fn show(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    call.api
        .context
        .store
        .read(|txn| {
            let row = find(&call, txn, &id, "os-server-groups:show")?;
            answer(&json!({"server_group": view(&call, txn, &row)?}))
        })
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    server_group: Create,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: Name,
    policies: Option<Vec<GroupPolicy>>,
    policy: Option<GroupPolicy>,
    rules: Option<Map<String, Value>>,
}

impl Create {
    /// The policy, which each version says in its own way.
    fn policy(&self, version: u32) -> Outcome<GroupPolicy> {
        let wrong = |reason: &str| bad_field("server_group", "an object", reason);
        let policy = match (version >= 64, self.policy, self.policies.as_deref()) {
            (true, Some(policy), None) => policy,
            (true, _, Some(_)) => return Err(wrong(&unexpected("policies"))),
            (true, None, None) => return Err(wrong("'policy' is a required property")),
            (false, None, Some([policy])) => *policy,
            (false, None, Some(_)) => {
                return Err(bad_field("policies", "an array", "it must have exactly one policy"));
            }
            (false, Some(_), _) => return Err(wrong(&unexpected("policy"))),
            (false, None, None) => return Err(wrong("'policies' is a required property")),
        };
        let soft = matches!(policy, GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity);
        if soft && version < 15 {
            return Err(wrong("the policy is not one of ['anti-affinity', 'affinity']"));
        }
        self.check_rules(version, policy)?;
        Ok(policy)
    }

    /// A host has one server of an anti-affinity group, and no other number can be asked for.
    fn check_rules(&self, version: u32, policy: GroupPolicy) -> Outcome<()> {
        let Some(rules) = &self.rules else { return Ok(()) };
        if version < 64 {
            return Err(bad_field("server_group", "an object", &unexpected("rules")));
        }
        let one = |(name, value): (&String, &Value)| {
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            name == "max_server_per_host" && number == Some(1)
        };
        if rules.iter().all(one) && (rules.is_empty() || policy == GroupPolicy::AntiAffinity) {
            return Ok(());
        }
        let reason = "only max_server_per_host of 1 is supported, for the policy anti-affinity";
        Err(bad_field("server_group.rules", "an object", reason))
    }
}

fn unexpected(name: &str) -> String {
    format!("Additional properties are not allowed ('{name}' was unexpected)")
}

async fn create(call: Call, JsonBody(body): JsonBody<Body>) -> Outcome<Response> {
    call.must("os-server-groups:create")?;
    let row = GroupRow {
        id: call.api.context.env.uuid(),
        policy: body.server_group.policy(call.version)?,
        name: body.server_group.name.0,
        project_id: call.project_id()?.to_owned(),
        user_id: call.user_id().to_owned(),
    };
    let insert = |txn: &mut Txn| {
        let have = txn.find::<GroupRow>("project", &row.project_id)?.len();
        let allowed = quota::of(txn, &row.project_id)?.server_groups;
        quota::one_more(have, allowed, "Quota exceeded, too many server groups.")?;
        txn.insert(&row)?;
        view(&call, txn, &row)
    };
    let view = call.api.context.store.transact(insert).await?;
    answer(&json!({"server_group": view}))
}

/// Deletes a group; its servers stay, and are in none.
async fn delete(call: Call, Path(id): Path<String>) -> Outcome<StatusCode> {
    let delete = |txn: &mut Txn| {
        let row = find(&call, txn, &id, "os-server-groups:delete")?;
        let key = row.id.to_string();
        for member in txn.find::<ServerRow>("group", &key)? {
            txn.put(&ServerRow { group: None, ..member })?;
        }
        txn.delete::<GroupRow>(&key)?;
        Ok::<_, Error>(())
    };
    call.api.context.store.transact(delete).await?;
    Ok(StatusCode::NO_CONTENT)
}
