//! Why a server is in error, in words.

use updraft_protocol::compute::Goal;
use updraft_runtime::env::UnixMicros;

use super::{
    BUILD_MAX, MOVE_MAX,
    moves::{given_up, returned},
};
use crate::rows::{FaultRow, Placement, ServerRow, VmState};

/// The server in error for this reason.
pub(super) fn in_error(row: &ServerRow, fault: FaultRow) -> ServerRow {
    let mut next = row.clone();
    next.state = VmState::Error;
    next.updated = fault.created;
    next.fault = Some(fault);
    next.action = None;
    next.auth = None;
    next
}

/// The server in error for this reason, after it was placed nowhere. One that was taken from a host that is still down,
/// and that nobody else could make, is that host's again: it is the only one that has its disk. One that was to move is
/// in no error: it is again what it was, where its disk is.
#[must_use]
pub fn without_host(row: &ServerRow, fault: FaultRow, kept: bool) -> ServerRow {
    if row.migration.is_some() {
        return returned(&given_up(row, &fault.message));
    }
    let mut next = in_error(row, fault);
    let Some(evacuation) = next.evacuation.take() else { return next };
    next.launched = evacuation.launched;
    if kept {
        next.generation += 1;
        next.placement = Some(Placement { host: evacuation.from, goal: Goal::Present });
    }
    next
}

/// What a host said of its failure.
pub(super) fn fault_of(placement: &Placement, message: &str, now: UnixMicros) -> FaultRow {
    FaultRow {
        code: 500,
        message: message.to_owned(),
        details: format!("on host {}: {message}", placement.host),
        created: now,
    }
}

/// Every host that may be tried has failed.
pub(super) fn exhausted(row: &ServerRow, now: UnixMicros) -> FaultRow {
    FaultRow {
        code: 500,
        message: format!(
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build \
             failures for instance {}.",
            row.id
        ),
        details: tried(row),
        created: now,
    }
}

/// The time for the build has passed.
pub(super) fn timed_out(row: &ServerRow, now: UnixMicros) -> FaultRow {
    let waited = match (&row.evacuation, &row.migration) {
        (_, Some(_)) => MOVE_MAX,
        (Some(_), None) => BUILD_MAX,
        (None, None) => row.build_deadline.since(row.created),
    };
    let waited = waited.as_secs();
    let waiting_for = match &row.placement {
        Some(placement) => format!("host {} did not finish", placement.host),
        None => "no scheduler chose a host".to_owned(),
    };
    FaultRow {
        code: 500,
        message: format!("The build did not end within {waited} s: {waiting_for}."),
        details: tried(row),
        created: now,
    }
}

/// Which hosts were tried, and what each said.
fn tried(row: &ServerRow) -> String {
    let lines: Vec<_> =
        row.tried.iter().map(|(host, reason)| format!("on host {host}: {reason}")).collect();
    lines.join("\n")
}
