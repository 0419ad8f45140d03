//! /os-quota-sets and /os-quota-class-sets.

use axum::{Router, extract::Path, http::StatusCode, response::Response, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::JsonBody;
use updraft_runtime::store::Txn;

use super::{
    Api,
    body::{Flag, Int, NUMBER_MAX},
    call::Call,
    servers::json as answer,
};
use crate::{
    error::{Error, Outcome, bad_request},
    groups::GroupRow,
    quota::{self, UNLIMITED},
    rows::{QuotaRow, UsageRow},
};

/// The routes of quotas.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/os-quota-sets/{project}", get(show).put(update).delete(reset))
        .route("/os-quota-sets/{project}/detail", get(detail))
        .route("/os-quota-sets/{project}/defaults", get(defaults))
        .route("/os-quota-class-sets/{class}", get(class))
}

/// Refuses a project that identity does not know.
pub(super) fn check_project(call: &Call, project: &str) -> Outcome<()> {
    if call.api.context.verifier.snapshot().projects.contains_key(project) {
        return Ok(());
    }
    Err(bad_request(format!("Project ID {project} is not a valid project.")))
}

/// What is used of each resource.
struct Used {
    usage: UsageRow,
    groups: usize,
}

impl Used {
    fn read(txn: &Txn, project: &str) -> Outcome<Self> {
        let groups = txn.find::<GroupRow>("project", project)?.len();
        Ok(Self { usage: quota::usage(txn, project)?, groups })
    }

    fn of(&self, name: &str) -> u64 {
        match name {
            "instances" => self.usage.instances,
            "cores" => self.usage.cores,
            "ram" => self.usage.ram_mib,
            "server_groups" => self.groups as u64,
            _ => 0,
        }
    }
}

/// The resources that a version knows, with their limits.
fn resources(version: u32, row: &QuotaRow) -> Vec<(&'static str, i64)> {
    let mut all = vec![
        ("instances", row.instances),
        ("cores", row.cores),
        ("ram", row.ram_mib),
        ("metadata_items", row.metadata_items),
        ("key_pairs", row.key_pairs),
        ("server_groups", row.server_groups),
        ("server_group_members", row.server_group_members),
    ];
    if version < 57 {
        // Files are not written into servers here, so that none may be.
        all.extend(
            ["injected_files", "injected_file_content_bytes", "injected_file_path_bytes"]
                .map(|name| (name, 0)),
        );
    }
    if version < 36 {
        // The network service counts these.
        all.extend(
            ["fixed_ips", "floating_ips", "security_groups", "security_group_rules"]
                .map(|name| (name, UNLIMITED)),
        );
    }
    all
}

fn view(version: u32, row: &QuotaRow, id: Option<&str>) -> Value {
    let mut view: Value = resources(version, row).into_iter().collect();
    if let Some(id) = id {
        view["id"] = json!(id);
    }
    view
}

async fn show(call: Call, Path(project): Path<String>) -> Outcome<Response> {
    call.must_in("os-quota-sets:show", &project)?;
    check_project(&call, &project)?;
    let row = call.api.context.store.read(|txn| quota::of(txn, &project)).await?;
    answer(&json!({"quota_set": view(call.version, &row, Some(&project))}))
}

async fn detail(call: Call, Path(project): Path<String>) -> Outcome<Response> {
    call.must_in("os-quota-sets:detail", &project)?;
    check_project(&call, &project)?;
    let read = |txn: &Txn| Ok::<_, Error>((quota::of(txn, &project)?, Used::read(txn, &project)?));
    let (row, used) = call.api.context.store.read(read).await?;
    let mut view = json!({"id": project});
    for (name, limit) in resources(call.version, &row) {
        view[name] = json!({"limit": limit, "in_use": used.of(name), "reserved": 0});
    }
    answer(&json!({"quota_set": view}))
}

async fn defaults(call: Call, Path(project): Path<String>) -> Outcome<Response> {
    call.must_in("os-quota-sets:defaults", &project)?;
    check_project(&call, &project)?;
    let row = QuotaRow::default_of(&project);
    answer(&json!({"quota_set": view(call.version, &row, Some(&project))}))
}

async fn class(call: Call, Path(class): Path<String>) -> Outcome<Response> {
    call.must("os-quota-class-sets:show")?;
    let row = QuotaRow::default_of(&class);
    let mut view = view(call.version, &row, Some(&class));
    if let (Some(view), true) = (view.as_object_mut(), call.version < 50) {
        view.remove("server_groups");
        view.remove("server_group_members");
    }
    answer(&json!({"quota_class_set": view}))
}

/// A limit, or -1 for none.
type Limit = Int<UNLIMITED, NUMBER_MAX>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    quota_set: Update,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    instances: Option<Limit>,
    cores: Option<Limit>,
    ram: Option<Limit>,
    metadata_items: Option<Limit>,
    key_pairs: Option<Limit>,
    server_groups: Option<Limit>,
    server_group_members: Option<Limit>,
    force: Option<Flag>,
    /// What older versions may set too, to no effect.
    #[serde(
        rename = "injected_files",
        alias = "injected_file_content_bytes",
        alias = "injected_file_path_bytes"
    )]
    _former: Option<Limit>,
}

impl Update {
    /// What is asked for, by name.
    fn given(&self) -> impl Iterator<Item = (&'static str, i64)> {
        [
            ("instances", self.instances),
            ("cores", self.cores),
            ("ram", self.ram),
            ("metadata_items", self.metadata_items),
            ("key_pairs", self.key_pairs),
            ("server_groups", self.server_groups),
            ("server_group_members", self.server_group_members),
        ]
        .into_iter()
        .filter_map(|(name, limit)| Some((name, limit?.0)))
    }

    fn apply(&self, row: &mut QuotaRow) {
        for (name, limit) in self.given() {
            let field = match name {
                "instances" => &mut row.instances,
                "cores" => &mut row.cores,
                "ram" => &mut row.ram_mib,
                "metadata_items" => &mut row.metadata_items,
                "key_pairs" => &mut row.key_pairs,
                "server_groups" => &mut row.server_groups,
                _ => &mut row.server_group_members,
            };
            *field = limit;
        }
    }

    /// A limit below what is used is set only by force.
    fn check_used(&self, used: &Used) -> Outcome<()> {
        if self.force.is_some_and(|flag| flag.0) {
            return Ok(());
        }
        let below = |(name, limit): &(&str, i64)| {
            u64::try_from(*limit).is_ok_and(|limit| limit < used.of(name))
        };
        match self.given().find(below) {
            None => Ok(()),
            Some((name, limit)) => Err(bad_request(format!(
                "Quota limit {limit} for {name} must be greater than or equal to already used and \
                 reserved {}.",
                used.of(name)
            ))),
        }
    }
}

async fn update(
    call: Call,
    Path(project): Path<String>,
    JsonBody(body): JsonBody<Body>,
) -> Outcome<Response> {
    call.must("os-quota-sets:update")?;
    check_project(&call, &project)?;
    let change = |txn: &mut Txn| {
        let mut row = quota::of(txn, &project)?;
        body.quota_set.check_used(&Used::read(txn, &project)?)?;
        body.quota_set.apply(&mut row);
        txn.put(&row)?;
        Ok::<_, Error>(row)
    };
    let row = call.api.context.store.transact(change).await?;
    answer(&json!({"quota_set": view(call.version, &row, None)}))
}

async fn reset(call: Call, Path(project): Path<String>) -> Outcome<StatusCode> {
    call.must("os-quota-sets:delete")?;
    check_project(&call, &project)?;
    call.api.context.store.transact(|txn| txn.delete::<QuotaRow>(&project)).await?;
    Ok(StatusCode::ACCEPTED)
}
