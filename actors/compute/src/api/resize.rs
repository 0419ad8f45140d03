//! Resizing a server: ask, then confirm or revert. It stays on its host if that has room, and moves to another one if not.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use updraft_edge::rest::{Service, from_value};
use updraft_runtime::store::Txn;

use super::{
    actions::{accepted, settled_state},
    body::Ref,
    call::Call,
    change::{self, Verb},
    create::body::DiskConfig,
    hypervisors::is_live,
    migrate,
};
use crate::{
    actions,
    error::{Error, Outcome, bad_request, conflict},
    plan, quota,
    rows::{ActionKind, Claim, FlavorRow, HostRow, Resize, ResizePhase, ServerRow},
    scheduler::{HostState, Refusal, reasons},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    resize: Argument,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    #[serde(rename = "flavorRef")]
    flavor: Ref,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<DiskConfig>,
}

pub(super) async fn resize(call: &Call, id: &str, body: &Value) -> Outcome<Response> {
    let argument = from_value::<Body>(Service::Compute, body)?.resize;
    let elsewhere = {
        let read = |txn: &Txn| is_elsewhere(call, txn, id, &argument.flavor.0);
        call.api.context.store.read(read).await?
    };
    let trace = call.begin_flow("POST /servers/{id}/action");
    let act = |txn: &mut Txn, row: &mut ServerRow| {
        let resized = resized(call, txn, row, &argument.flavor.0)?;
        let (old, new) = (Claim::of(&row.flavor), Claim::of(&resized.flavor));
        quota::growth(txn, &row.project_id, old, new)?;
        *row = match (check_host(call, txn, &resized)?, elsewhere) {
            (None, _) => resized,
            (Some(_), true) => migrate::leaves(&resized, None)?,
            (Some(short), false) => return Err(no_room(&short, &[])),
        };
        if let Some(config) = argument.disk_config {
            row.details.disk_config = Some(config.as_str().to_owned());
        }
        Ok(())
    };
    change::begin(call, id, Verb::Resize, ActionKind::Resize, trace, act).await?;
    Ok(accepted())
}

/// Whether the server's own host cannot take it with this flavor and another one can.
fn is_elsewhere(call: &Call, txn: &Txn, id: &str, flavor: &str) -> Outcome<bool> {
    let row = change::allowed(call, txn, id, Verb::Resize)?;
    let resized = resized(call, txn, &row, flavor)?;
    let (old, new) = (Claim::of(&row.flavor), Claim::of(&resized.flavor));
    quota::growth(txn, &row.project_id, old, new)?;
    let Some(short) = check_host(call, txn, &resized)? else { return Ok(false) };
    match migrate::refused(call, txn, &migrate::leaves(&resized, None)?)? {
        None => Ok(true),
        Some(refusals) => Err(no_room(&short, &refusals)),
    }
}

/// The server as it is with this flavor.
fn resized(call: &Call, txn: &Txn, row: &ServerRow, id: &str) -> Outcome<ServerRow> {
    let flavor = flavor(call, txn, id)?;
    check_flavor(row, &flavor)?;
    let (old_flavor, old_state) = (row.flavor.clone(), row.state);
    let resize = Some(Resize { old_flavor, old_state, phase: ResizePhase::Resizing });
    Ok(ServerRow { flavor: flavor.spec, resize, ..row.clone() })
}

fn no_room(short: &str, refusals: &[Refusal]) -> Error {
    match refusals {
        [] => bad_request(format!("No valid host was found. {short}")),
        others => bad_request(format!("No valid host was found. {short}; {}", reasons(others))),
    }
}

fn flavor(call: &Call, txn: &Txn, id: &str) -> Outcome<FlavorRow> {
    let row = txn.get::<FlavorRow>(id)?;
    let seen =
        |row: &FlavorRow| row.visible_to(call.auth.principal.project_id()) || call.is_admin();
    row.filter(seen).ok_or_else(|| bad_request(format!("Flavor {id} could not be found.")))
}

fn check_flavor(row: &ServerRow, flavor: &FlavorRow) -> Outcome<()> {
    if row.flavor.id == flavor.spec.id {
        return Err(bad_request("When resizing, instances must change flavor!"));
    }
    let reason = match (row.flavor.disk_gib, flavor.spec.disk_gib) {
        _ if row.image.is_none() => return Ok(()),
        (old, 0) if old > 0 => "Resize to zero disk flavor is not allowed.".to_owned(),
        (old, new) if new < old => format!("its disk of {old} GiB cannot shrink to {new} GiB."),
        _ => return Ok(()),
    };
    Err(bad_request(format!("Server disk was unable to be resized because: {reason}")))
}

/// What the server's own host lacks of what it then claims, with what else is claimed now; `None` if it can take it.
fn check_host(call: &Call, txn: &Txn, row: &ServerRow) -> Outcome<Option<String>> {
    let name = row.placement.as_ref().map(|placement| placement.host.as_str()).unwrap_or_default();
    let host = txn.get::<HostRow>(name)?;
    let host = host.ok_or_else(|| conflict(format!("Instance {} is not ready", row.id)))?;
    let live = is_live(call, &host);
    if !live {
        return Err(conflict("Service is unavailable at this time."));
    }
    let state = HostState::new(host, live, call.api.ratios, row);
    let (claim, used, total) = (row.claim(), state.used, state.total);
    let amounts = [
        ("VCPUs", claim.vcpus, used.vcpus, total.vcpus),
        ("MiB of memory", claim.ram_mib, used.ram_mib, total.ram_mib),
        ("GiB of disk", claim.disk_gib, used.disk_gib, total.disk_gib),
    ];
    let short = amounts.iter().find(|(_, needed, used, total)| used + needed > *total);
    Ok(short.map(|(what, needed, used, total)| {
        let free = total.saturating_sub(*used);
        format!("{name}: needs {needed} {what}, {free} free of {total} ({used} claimed)")
    }))
}

/// The server stays as it is now, and where it is. Nothing is left to be done on its host; another one that has its disk
/// clears that away.
pub(super) async fn confirm(call: &Call, id: &str) -> Outcome<Response> {
    let now = call.api.context.env.wall();
    let request_id = call.auth.request_id.to_string();
    let act = |txn: &mut Txn, row: &mut ServerRow| {
        (row.resize, row.migration) = (None, None);
        row.state = settled_state(row);
        let noted = actions::ActionRow {
            server: row.id,
            request_id: request_id.clone(),
            action: "confirmResize".to_owned(),
            user_id: call.user_id().to_owned(),
            project_id: row.project_id.clone(),
            started: now,
            finished: Some(now),
            message: None,
            host: row.placement.as_ref().map(|placement| placement.host.clone()),
        };
        Ok(actions::note(txn, &noted)?)
    };
    change::at_once(call, id, Verb::ConfirmResize, act).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The server becomes what it was, where it was. Both sizes stay claimed until it is.
pub(super) async fn revert(call: &Call, id: &str) -> Outcome<Response> {
    let trace = call.begin_flow("POST /servers/{id}/action");
    let act = |txn: &mut Txn, row: &mut ServerRow| {
        let Some(resize) = &row.resize else { return Ok(()) };
        let (now, then) = (Claim::of(&row.flavor), Claim::of(&resize.old_flavor));
        quota::growth(txn, &row.project_id, now, then)?;
        *row = plan::reverting(row);
        Ok(())
    };
    change::begin(call, id, Verb::RevertResize, ActionKind::RevertResize, trace, act).await?;
    Ok(accepted())
}
