//! Taking a server from a host that is down, to be made anew on another.
//!
//! What is asked for is noted at once; nothing is placed elsewhere before the host has confirmed that it has nothing,
//! or an operator has said that it is down.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Service, from_value};
use updraft_protocol::compute::{Goal, Power};
use updraft_runtime::store::Txn;

use super::{
    actions::accepted,
    body::{Flag, Name, Text},
    call::Call,
    change::{self, Verb},
    create::password,
    hypervisors::is_live,
};
use crate::{
    error::{Outcome, bad_field, bad_request, conflict, not_found},
    plan,
    rows::{ActionKind, HostRow, ServerRow},
};

/// The version that took the password out of the answer, and shared storage out of the body.
const WITHOUT_SHARED_STORAGE: u32 = 14;

/// The version since which a host that was named is chosen like any other, unless it is forced.
const FORCE: u32 = 29;

/// The version that gave up forcing.
const WITHOUT_FORCE: u32 = 68;

/// The version since which what was taken from a host is stopped.
const STOPPED: u32 = 95;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    evacuate: Argument,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    host: Option<Name>,
    #[serde(rename = "adminPass")]
    admin_pass: Option<Name>,
    #[serde(rename = "onSharedStorage")]
    on_shared_storage: Option<Flag>,
    force: Option<Flag>,
}

impl Argument {
    /// Refuses what the version does not know.
    fn check(&self, version: u32) -> Outcome<()> {
        let unknown = |name: &str| {
            let reason = format!("Additional properties are not allowed ('{name}' was unexpected)");
            Err(bad_field("evacuate", name, &reason))
        };
        match (&self.on_shared_storage, self.force) {
            (None, _) if version < WITHOUT_SHARED_STORAGE => {
                let reason = "'onSharedStorage' is a required property";
                Err(bad_field("evacuate", "an object", reason))
            }
            (Some(_), _) if version >= WITHOUT_SHARED_STORAGE => unknown("onSharedStorage"),
            (Some(shared), _) if shared.0 => Err(bad_request(
                "There is no shared storage: the disk of a server is on its host alone, and is made anew.",
            )),
            (_, Some(_)) if !(FORCE..WITHOUT_FORCE).contains(&version) => unknown("force"),
            (_, Some(force)) if force.0 && self.host.is_none() => {
                Err(bad_request("Can't force to a non-provided destination"))
            }
            _ => Ok(()),
        }
    }
}

pub(super) async fn evacuate(call: &Call, id: &str, body: &Value) -> Outcome<Response> {
    let argument = from_value::<Body>(Service::Compute, body)?.evacuate;
    argument.check(call.version)?;
    let trace = call.begin_flow("POST /servers/{id}/action");
    let to = argument.host.as_ref().map(|host| host.0.clone());
    let act = |txn: &mut Txn, row: &mut ServerRow| {
        let from = check_host(call, txn, row)?;
        check_target(txn, &from, to.as_deref())?;
        check_disks(row)?;
        *row = plan::taken_from(row, to.clone());
        if call.version >= STOPPED {
            row.power = Power::Off;
        }
        Ok(())
    };
    change::begin(call, id, Verb::Evacuate, ActionKind::Evacuate, trace, act).await?;
    if call.version >= WITHOUT_SHARED_STORAGE {
        return Ok(accepted());
    }
    let given = argument.admin_pass.map(|Text(given)| given);
    let password = given.unwrap_or_else(|| password(call));
    Ok(Json(json!({"adminPass": password})).into_response())
}

/// The server's host, if it is down.
fn check_host(call: &Call, txn: &Txn, row: &ServerRow) -> Outcome<String> {
    let placement = row.placement.as_ref().filter(|placement| placement.goal == Goal::Present);
    let not_ready = || conflict(format!("Instance {} is not ready", row.id));
    let from = &placement.ok_or_else(not_ready)?.host;
    if let Some(kept) = row.migration.as_ref().filter(|migration| migration.from != *from) {
        return Err(conflict(format!(
            "Instance {} is being moved, and host {} keeps its disk: it is taken back there, not made anew.",
            row.id, kept.from
        )));
    }
    if txn.get::<HostRow>(from)?.is_some_and(|host| is_live(call, &host)) {
        return Err(bad_request(format!("Compute service of {from} is still in use.")));
    }
    Ok(from.clone())
}

fn check_target(txn: &Txn, from: &str, to: Option<&str>) -> Outcome<()> {
    let Some(to) = to else { return Ok(()) };
    if to == from {
        return Err(bad_request("The target host can't be the same one."));
    }
    match txn.get::<HostRow>(to)? {
        Some(_) => Ok(()),
        None => Err(not_found(format!("Compute host {to} could not be found."))),
    }
}

fn check_disks(row: &ServerRow) -> Outcome<()> {
    plan::why_not_anew(row).map_or(Ok(()), |why| Err(bad_request(why)))
}
