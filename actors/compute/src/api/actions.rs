//! POST /servers/{id}/action: one action, named by the body's only key.

use axum::{
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use updraft_edge::rest::{JsonBody, Service, from_value};
use updraft_protocol::compute::Power;
use updraft_runtime::store::Txn;

use super::{
    call::Call,
    change::{self, Verb},
    consoles, evacuate, lock, migrate, resize,
};
use crate::{
    error::{Outcome, bad_request},
    rows::{ActionKind, FaultRow, ServerRow, VmState},
};

/// Actions of nova that this cloud does not offer.
const NOT_OFFERED: &[&str] = &[
    "addFixedIp",
    "addFloatingIp",
    "addSecurityGroup",
    "changePassword",
    "createBackup",
    "createImage",
    "forceDelete",
    "os-migrateLive",
    "pause",
    "rebuild",
    "removeFixedIp",
    "removeFloatingIp",
    "removeSecurityGroup",
    "rescue",
    "restore",
    "resume",
    "shelve",
    "shelveOffload",
    "suspend",
    "trigger_crash_dump",
    "unpause",
    "unrescue",
    "unshelve",
];

/// Actions that nova itself has given up.
const GONE: &[&str] = &["injectNetworkInfo", "resetNetwork"];

pub(super) async fn action(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Outcome<Response> {
    let mut keys = body.keys();
    let (Some(name), None) = (keys.next(), keys.next()) else {
        return Err(bad_request("Malformed request body: it must name exactly one action"));
    };
    let argument = Value::Object(body.clone());
    match name.as_str() {
        "os-start" => power(&call, &id, Verb::Start, Power::On).await,
        "os-stop" => power(&call, &id, Verb::Stop, Power::Off).await,
        "reboot" => reboot(&call, &id, &argument).await,
        "resize" => resize::resize(&call, &id, &argument).await,
        "confirmResize" => resize::confirm(&call, &id).await,
        "revertResize" => resize::revert(&call, &id).await,
        "migrate" => migrate::migrate(&call, &id, &argument).await,
        "evacuate" => evacuate::evacuate(&call, &id, &argument).await,
        "lock" => lock::lock(&call, &id, &argument).await,
        "unlock" => lock::unlock(&call, &id).await,
        "os-getConsoleOutput" => consoles::output(&call, &id, &argument).await,
        "os-resetState" => reset_state(&call, &id, &argument).await,
        "os-getVNCConsole" | "os-getSPICEConsole" | "os-getRDPConsole" | "os-getSerialConsole" => {
            call.until(5)?;
            consoles::by_action(&call, &id, name, &argument).await
        }
        other if GONE.contains(&other) => {
            Err(Service::Compute.error(StatusCode::GONE, "This resource is gone.").into())
        }
        other if NOT_OFFERED.contains(&other) => {
            call.read_server(&id, "servers:show").await?;
            let message = "The requested functionality is not supported.";
            Err(Service::Compute.not_implemented(message).into())
        }
        other => Err(bad_request(format!("There is no such action: {other}"))),
    }
}

/// What every action that goes on answers.
pub(super) fn accepted() -> Response {
    StatusCode::ACCEPTED.into_response()
}

async fn power(call: &Call, id: &str, verb: Verb, power: Power) -> Outcome<Response> {
    let trace = call.begin_flow("POST /servers/{id}/action");
    let kind = if power == Power::On { ActionKind::Start } else { ActionKind::Stop };
    let act = |_: &mut Txn, row: &mut ServerRow| {
        row.power = power;
        Ok(())
    };
    change::begin(call, id, verb, kind, trace, act).await?;
    Ok(accepted())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RebootBody {
    reboot: Reboot,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reboot {
    #[serde(rename = "type")]
    kind: RebootKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum RebootKind {
    #[serde(rename = "HARD", alias = "Hard", alias = "hard")]
    Hard,
    #[serde(rename = "SOFT", alias = "Soft", alias = "soft")]
    Soft,
}

async fn reboot(call: &Call, id: &str, body: &Value) -> Outcome<Response> {
    let body: RebootBody = from_value(Service::Compute, body)?;
    let hard = body.reboot.kind == RebootKind::Hard;
    let trace = call.begin_flow("POST /servers/{id}/action");
    let (verb, kind) = match hard {
        true => (Verb::HardReboot, ActionKind::HardReboot),
        false => (Verb::SoftReboot, ActionKind::SoftReboot),
    };
    let act = |_: &mut Txn, row: &mut ServerRow| {
        row.power = Power::On;
        if hard {
            row.reboots.hard += 1;
        } else {
            row.reboots.soft += 1;
        }
        Ok(())
    };
    change::begin(call, id, verb, kind, trace, act).await?;
    Ok(accepted())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetBody {
    #[serde(rename = "os-resetState")]
    reset: Reset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    state: ResetTo,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResetTo {
    Active,
    Error,
}

async fn reset_state(call: &Call, id: &str, body: &Value) -> Outcome<Response> {
    let body: ResetBody = from_value(Service::Compute, body)?;
    let now = call.api.context.env.wall();
    let act = |_: &mut Txn, row: &mut ServerRow| {
        row.action = None;
        row.auth = None;
        row.details.held_in_error = body.reset.state == ResetTo::Error;
        if body.reset.state == ResetTo::Error {
            row.state = VmState::Error;
            let message = "An administrator put the server into this state.".to_owned();
            row.fault.get_or_insert(FaultRow {
                code: 500,
                details: message.clone(),
                message,
                created: now,
            });
            return Ok(());
        }
        row.fault = None;
        row.state = settled_state(row);
        // The host is asked anew: it may have given up what was wanted before.
        row.generation += 1;
        Ok(())
    };
    change::at_once(call, id, Verb::ResetState, act).await?;
    Ok(accepted())
}

/// What a server is that shall run, or not.
pub(super) fn settled_state(row: &ServerRow) -> VmState {
    match row.power {
        Power::On => VmState::Active,
        Power::Off => VmState::Stopped,
    }
}
