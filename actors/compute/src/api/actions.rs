//! POST /servers/{id}/action: one action, named by the body's only key.

use axum::{
    Json,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use updraft_edge::rest::{JsonBody, Service, from_value};
use updraft_protocol::compute::{ConsoleLog, Node, Power};
use updraft_runtime::{rpc::FaultKind, store::Txn, transport::NodeId};

use super::{
    body::Int,
    call::Call,
    change::{self, Verb},
    create::unreachable_service,
    evacuate, lock, resize,
};
use crate::{
    error::{Outcome, bad_field, bad_request, conflict, not_found},
    rows::{ActionKind, FaultRow, ServerRow, VmState},
};

/// Most of a console log that is shown, in bytes, as in nova.
const CONSOLE_MAX_BYTES: u32 = 102_400;

/// Actions of nova that this cloud does not offer.
const NOT_OFFERED: &[&str] = &[
    "addFixedIp",
    "addFloatingIp",
    "addSecurityGroup",
    "changePassword",
    "createBackup",
    "createImage",
    "forceDelete",
    "migrate",
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
        "evacuate" => evacuate::evacuate(&call, &id, &argument).await,
        "lock" => lock::lock(&call, &id, &argument).await,
        "unlock" => lock::unlock(&call, &id).await,
        "os-getConsoleOutput" => console(&call, &id, &argument).await,
        "os-resetState" => reset_state(&call, &id, &argument).await,
        "os-getVNCConsole" | "os-getSPICEConsole" | "os-getRDPConsole" | "os-getSerialConsole" => {
            call.until(5)?;
            remote_console(&call, &id, &argument[name]).await
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
struct ConsoleBody {
    #[serde(rename = "os-getConsoleOutput")]
    console: Option<Console>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Console {
    /// How many lines from the end; -1 is all.
    length: Option<Int<-1, { super::body::NUMBER_MAX }>>,
}

async fn console(call: &Call, id: &str, body: &Value) -> Outcome<Response> {
    let body: ConsoleBody = from_value(Service::Compute, body)?;
    let lines = body.console.and_then(|console| console.length).map_or(-1, |length| length.0);
    let allowed = |txn: &Txn| change::allowed(call, txn, id, Verb::ConsoleOutput);
    let row = call.api.context.store.read(allowed).await?;
    let host = row.placement.as_ref().and_then(|placement| NodeId::new(&placement.host).ok());
    let host = host.ok_or_else(|| conflict(format!("Instance {id} is not ready")))?;
    let trace = call.begin_flow("POST /servers/{id}/action");
    let message = ConsoleLog { server: row.id, bytes_max: CONSOLE_MAX_BYTES };
    let node = call.api.context.rpc.client::<Node>().on(&host);
    let answer = node.call(&message, &call.cx(trace)?).await;
    let text = answer.map_err(|error| match error.fault().map(|fault| fault.kind) {
        Some(FaultKind::NotFound) => not_found("Guest does not have a console available."),
        _ => unreachable_service("compute host's console", &error),
    })?;
    let output = usize::try_from(lines).map_or(text.as_str(), |lines| last_lines(&text, lines));
    Ok(Json(json!({"output": output})).into_response())
}

/// The last lines of a text, without what comes before them.
fn last_lines(text: &str, lines: usize) -> &str {
    let ended = text.strip_suffix('\n').unwrap_or(text);
    if lines == 0 {
        return "";
    }
    match ended.rmatch_indices('\n').nth(lines - 1) {
        Some((at, _)) => text.get(at + 1..).unwrap_or_default(),
        None => text,
    }
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoteBody {
    remote_console: Remote,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remote {
    #[serde(rename = "protocol")]
    _protocol: String,
    #[serde(rename = "type")]
    kind: String,
}

/// POST /servers/{id}/remote-consoles: there is none, whatever its kind.
pub(super) async fn remote_consoles(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<RemoteBody>,
) -> Outcome<Response> {
    call.since(6)?;
    remote_console(&call, &id, &json!({"type": body.remote_console.kind})).await
}

async fn remote_console(call: &Call, id: &str, argument: &Value) -> Outcome<Response> {
    call.read_server(id, "os-remote-consoles").await?;
    match argument["type"].as_str() {
        Some(kind) => Err(bad_request(format!("Unavailable console type {kind}."))),
        None => Err(bad_field("type", "None", "'type' is a required property")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_lines() {
        let table = [(0, ""), (1, "c\n"), (2, "b\nc\n"), (3, "a\nb\nc\n"), (9, "a\nb\nc\n")];
        for (lines, tail) in table {
            assert_eq!(last_lines("a\nb\nc\n", lines), tail);
        }
        assert_eq!(last_lines("a\nb", 1), "b");
        assert_eq!(last_lines("", 1), "");
    }
}
