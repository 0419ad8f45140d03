//! Moving a server to another host with its disk: ask, then confirm or revert, as after a resize.

use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use updraft_edge::rest::{Service, from_value};
use updraft_runtime::store::Txn;

use super::{
    actions::accepted,
    body::Name,
    call::Call,
    change::{self, Verb},
};
use crate::{
    error::{Outcome, bad_field, bad_request, conflict},
    plan,
    rows::{ActionKind, HostRow, Resize, ResizePhase, ServerRow},
    scheduler::{Refusal, reasons},
};

/// The version since which a host may be named.
const HOST: u32 = 56;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    migrate: Option<Argument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    host: Option<Name>,
}

pub(super) async fn migrate(call: &Call, id: &str, body: &Value) -> Outcome<Response> {
    let argument = from_value::<Body>(Service::Compute, body)?.migrate;
    if argument.is_some() && call.version < HOST {
        let reason = "Additional properties are not allowed ('migrate' takes null)";
        return Err(bad_field("migrate", "an object", reason));
    }
    let to = argument.and_then(|argument| argument.host).map(|host| host.0);
    let allowed = |txn: &Txn| -> Outcome<Option<String>> {
        let row = change::allowed(call, txn, id, Verb::Migrate)?;
        check_target(call, txn, &row, to.as_deref())?;
        let next = leaving(&row, to.clone())?;
        Ok(refused(call, txn, &next)?.map(|refusals| no_host(&refusals)))
    };
    if let Some(words) = call.api.context.store.read(allowed).await? {
        return Err(bad_request(words));
    }
    let trace = call.begin_flow("POST /servers/{id}/action");
    let act = |_: &mut Txn, row: &mut ServerRow| {
        *row = leaving(row, to.clone())?;
        Ok(())
    };
    change::begin(call, id, Verb::Migrate, ActionKind::Migrate, trace, act).await?;
    Ok(accepted())
}

fn check_target(call: &Call, txn: &Txn, row: &ServerRow, to: Option<&str>) -> Outcome<()> {
    let Some(to) = to else { return Ok(()) };
    call.must_in("os-migrate-server:migrate:host", &row.project_id)?;
    if row.placement.as_ref().is_some_and(|placement| placement.host == to) {
        return Err(bad_request(format!(
            "Cannot migrate instance {} to host {to}: it is there.",
            row.id
        )));
    }
    match txn.get::<HostRow>(to)? {
        Some(_) => Ok(()),
        None => Err(bad_request(format!("Compute host {to} could not be found."))),
    }
}

/// The server as it leaves its host with the size that it has.
fn leaving(row: &ServerRow, to: Option<String>) -> Outcome<ServerRow> {
    let (old_flavor, old_state) = (row.flavor.clone(), row.state);
    let row = ServerRow {
        resize: Some(Resize { old_flavor, old_state, phase: ResizePhase::Resizing }),
        ..row.clone()
    };
    leaves(&row, to)
}

/// The server as it leaves its host.
pub(super) fn leaves(row: &ServerRow, to: Option<String>) -> Outcome<ServerRow> {
    let not_ready = || conflict(format!("Instance {} is not ready", row.id));
    plan::leaving(row, to).ok_or_else(not_ready)
}

/// Why no host could take a server that is to move; `None` if one can now. Of its own host nothing is said. Asked before
/// its guest is stopped for nothing: what is placed in the end, the scheduler says.
pub(super) fn refused(call: &Call, txn: &Txn, row: &ServerRow) -> Outcome<Option<Vec<Refusal>>> {
    let from = row.migration.as_ref().map(|migration| migration.from.as_str());
    let refusals = call.api.judge.refusals(txn, row)?;
    Ok(refusals.map(|refusals| {
        let others = refusals.into_iter().filter(|refusal| Some(refusal.host.as_str()) != from);
        others.collect()
    }))
}

fn no_host(refusals: &[Refusal]) -> String {
    match refusals {
        [] => "No valid host was found. There is no other compute host.".to_owned(),
        refusals => format!("No valid host was found. {}", reasons(refusals)),
    }
}
