//! `updraft top`.

use std::{cmp::Reverse, process::ExitCode, time::Duration};

use comfy_table::{Table, presets::NOTHING};
use updraft_cloud::machine::{AdminClient, DataDir};
use updraft_runtime::{
    Env,
    env::UnixMicros,
    vitals::{Handler, Report},
};

use super::{Failure, in_runtime};
use crate::say::say;

/// How often the table is drawn anew.
const EVERY: Duration = Duration::from_secs(1);

/// Handlers shown: the slowest of the cloud.
const HANDLERS: usize = 15;

/// Rows that do not settle shown: the oldest of the cloud.
const ALARMS: usize = 20;

/// Clears the screen and goes to its upper left corner (ECMA-48: ED, CUP).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

pub(super) fn run(data: &DataDir, once: bool) -> Result<ExitCode, Failure> {
    in_runtime(async {
        let env = Env::real();
        let client = AdminClient::log_in(data).await?;
        loop {
            let reports: Vec<Report> = client.get("/updraft/v1/vitals").await?;
            if !once {
                say(CLEAR)?;
            }
            say(nodes(&reports))?;
            say(format!("\n{}", handlers(&reports)))?;
            if reports.iter().any(|report| report.alarms.iter().any(|kind| kind.standing > 0)) {
                say(format!("\n{}", alarms(&reports, env.wall())))?;
            }
            if once {
                return Ok(ExitCode::SUCCESS);
            }
            env.sleep(EVERY).await;
        }
    })
}

fn table(heading: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heading.to_vec());
    table
}

/// A line for each node: what waits, what it has handled, its connections.
fn nodes(reports: &[Report]) -> Table {
    let mut table = table(&[
        "node",
        "up s",
        "services",
        "mailboxes",
        "calls in flight",
        "handled",
        "refused",
        "unknown",
        "connections",
    ]);
    for report in reports {
        let sum = |of: fn(&Handler) -> u64| report.handlers.iter().map(of).sum::<u64>();
        let depth: u64 = report.mailboxes.iter().map(|mailbox| mailbox.depth).sum();
        table.add_row([
            report.node.to_string(),
            (report.runs_ms / 1_000).to_string(),
            report.mailboxes.len().to_string(),
            depth.to_string(),
            report.calls_in_flight.to_string(),
            sum(|handler| handler.ends.replied + handler.ends.rejected).to_string(),
            sum(|handler| handler.ends.refused).to_string(),
            sum(|handler| handler.ends.unknown).to_string(),
            report.links.up.to_string(),
        ]);
    }
    table
}

/// The rows that do not settle, the oldest first.
fn alarms(reports: &[Report], now: UnixMicros) -> Table {
    let kinds =
        reports.iter().flat_map(|report| report.alarms.iter().map(move |kind| (report, kind)));
    let mut all: Vec<_> = kinds
        .flat_map(|(report, kind)| kind.oldest.iter().map(move |alarm| (report, kind, alarm)))
        .collect();
    all.sort_by_key(|(_, _, alarm)| alarm.since);
    let mut table = table(&["does not settle", "key", "node", "for s", "waits for"]);
    for (report, kind, alarm) in all.into_iter().take(ALARMS) {
        table.add_row([
            kind.table.clone(),
            alarm.key.clone(),
            report.node.to_string(),
            now.since(alarm.since).as_secs().to_string(),
            alarm.waits_for.clone(),
        ]);
    }
    table
}

/// The handlers that take longest, over all nodes.
fn handlers(reports: &[Report]) -> Table {
    let mut all: Vec<_> = reports
        .iter()
        .flat_map(|report| report.handlers.iter().map(move |handler| (report, handler)))
        .filter(|(_, handler)| handled(handler) > 0)
        .collect();
    all.sort_by_key(|(_, handler)| Reverse(mean_us(handler)));
    let mut table = table(&["slowest handlers", "node", "handled", "mean ms", "slowest ms"]);
    for (report, handler) in all.into_iter().take(HANDLERS) {
        table.add_row([
            handler.method.clone(),
            report.node.to_string(),
            handled(handler).to_string(),
            millis(mean_us(handler)),
            millis(handler.slowest_us),
        ]);
    }
    table
}

fn handled(handler: &Handler) -> u64 {
    let ends = handler.ends;
    ends.replied + ends.rejected + ends.refused + ends.unknown
}

fn mean_us(handler: &Handler) -> u64 {
    handler.total_us / handled(handler).max(1)
}

fn millis(micros: u64) -> String {
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}
