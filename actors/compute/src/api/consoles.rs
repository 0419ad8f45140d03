//! Consoles: the end of what a server has written, and addresses by which it is talked to.

use axum::{
    Json, Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{JsonBody, Service, from_value};
use updraft_protocol::{
    compute::{ConsoleLog, Node},
    hypervisor::ConsoleKind,
};
use updraft_runtime::{rpc::FaultKind, store::Txn, transport::NodeId};

use super::{
    Api,
    body::Int,
    call::Call,
    change::{self, Verb},
    create::unreachable_service,
};
use crate::error::{Outcome, bad_field, bad_request, conflict, not_found};

/// Most of a console log that is shown, in bytes, as in nova.
const CONSOLE_MAX_BYTES: u32 = 102_400;

/// The routes of consoles; some are actions of servers.
pub(super) fn routes() -> Router<Api> {
    Router::new().route("/servers/{server}/remote-consoles", post(create))
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

pub(super) async fn output(call: &Call, id: &str, body: &Value) -> Outcome<Response> {
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
struct RemoteBody {
    remote_console: Remote,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remote {
    protocol: Protocol,
    #[serde(rename = "type")]
    kind: String,
}

/// Nova's protocols.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Vnc,
    Spice,
    Rdp,
    Serial,
    Mks,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Vnc => "vnc",
            Self::Spice => "spice",
            Self::Rdp => "rdp",
            Self::Serial => "serial",
            Self::Mks => "mks",
        }
    }
}

/// POST /servers/{id}/remote-consoles
async fn create(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<RemoteBody>,
) -> Outcome<Response> {
    call.since(6)?;
    let Remote { protocol, kind } = body.remote_console;
    let console = offered(protocol, &kind);
    let url = address(&call, &id, console, &kind).await?;
    let shown = json!({"protocol": protocol.name(), "type": kind, "url": url});
    Ok(Json(json!({"remote_console": shown})).into_response())
}

/// The actions that were there before: `{"os-getVNCConsole": {"type": "novnc"}}`.
pub(super) async fn by_action(
    call: &Call,
    id: &str,
    action: &str,
    body: &Value,
) -> Outcome<Response> {
    let missing = || bad_field("type", "None", "'type' is a required property");
    let kind = body[action]["type"].as_str();
    let protocol = match action {
        "os-getVNCConsole" => Protocol::Vnc,
        "os-getSerialConsole" => Protocol::Serial,
        "os-getSPICEConsole" => Protocol::Spice,
        _ => Protocol::Rdp,
    };
    let Some(kind) = kind else {
        call.read_server(id, "os-remote-consoles").await?;
        return Err(missing());
    };
    let url = address(call, id, offered(protocol, kind), kind).await?;
    Ok(Json(json!({"console": {"type": kind, "url": url}})).into_response())
}

/// The console that a protocol and a type of nova's stand for, if this cloud has it.
fn offered(protocol: Protocol, kind: &str) -> Option<ConsoleKind> {
    match (protocol, kind) {
        (Protocol::Vnc, "novnc") => Some(ConsoleKind::Screen),
        (Protocol::Serial, "serial") => Some(ConsoleKind::Serial),
        _ => None,
    }
}

/// An address by which whoever has it talks to the server, for a while.
async fn address(
    call: &Call,
    id: &str,
    console: Option<ConsoleKind>,
    kind: &str,
) -> Outcome<String> {
    let allowed = |txn: &Txn| change::allowed(call, txn, id, Verb::RemoteConsole);
    let Some(console) = console else {
        call.read_server(id, "os-remote-consoles").await?;
        return Err(bad_request(format!("Unavailable console type {kind}.")));
    };
    let consoles = &call.api.consoles;
    let token = consoles.issue(console, call.user_id(), allowed).await?;
    let token = token.ok_or_else(|| conflict(format!("Instance {id} is not ready")))?;
    Ok(consoles.address(call.links.origin(), console, &token))
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
