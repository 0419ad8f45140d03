//! The fault of a server that no host can take.
//!
//! Promises to say which filter refused the hosts and with which figures, in a size that does not grow with the
//! number of hosts: it is stored in the server's row.

use std::collections::BTreeMap;

use updraft_runtime::env::UnixMicros;

use super::Refusal;
use crate::rows::{FaultRow, ServerRow};

/// Most reasons in the message, those of most hosts first: what a person reads.
const REASONS_MAX: usize = 8;

/// Most hosts named with a reason in the message; the others are counted.
const NAMED_MAX: usize = 3;

/// Most lines of hosts in the details: with names and reasons of the longest, far below what a row may hold.
const DETAILS_MAX_LINES: usize = 200;

/// Longest reason, in characters: figures take some dozen, and what a hypervisor says of itself is cut.
const REASON_MAX_CHARS: usize = 300;

/// The fault: reasons with their hosts in its message, the hosts one by one in its details.
pub(super) fn no_valid_host(row: &ServerRow, refusals: &[Refusal], now: UnixMicros) -> FaultRow {
    FaultRow {
        code: 500,
        message: format!("No valid host was found. {}", reasons(refusals)),
        details: format!("server {} was refused by every host:\n{}", row.id, lines(refusals)),
        created: now,
    }
}

/// What refused the hosts, and which.
pub(crate) fn reasons(refusals: &[Refusal]) -> String {
    if refusals.is_empty() {
        return "there is no compute host".to_owned();
    }
    let mut hosts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for refusal in refusals {
        hosts.entry(reason(refusal)).or_default().push(&refusal.host);
    }
    let mut groups: Vec<_> = hosts.into_iter().collect();
    // Stable: of reasons with as many hosts the order is that of their words.
    groups.sort_by_key(|(_, hosts)| std::cmp::Reverse(hosts.len()));
    let told = groups.iter().take(REASONS_MAX);
    let mut told: Vec<String> =
        told.map(|(reason, hosts)| format!("{reason} ({})", named(hosts))).collect();
    let left: usize = groups.iter().skip(REASONS_MAX).map(|(_, hosts)| hosts.len()).sum();
    if left > 0 {
        told.push(format!("other reasons ({})", counted(left)));
    }
    told.join("; ")
}

fn reason(Refusal { filter, reason, .. }: &Refusal) -> String {
    let mut chars = reason.chars();
    let cut: String = chars.by_ref().take(REASON_MAX_CHARS).collect();
    let more = if chars.next().is_some() { "..." } else { "" };
    format!("{filter}: {cut}{more}")
}

fn counted(hosts: usize) -> String {
    if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") }
}

/// How many hosts, and the first of them.
fn named(hosts: &[&str]) -> String {
    let names = hosts.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = if hosts.len() > NAMED_MAX { ", ..." } else { "" };
    format!("{}: {names}{more}", counted(hosts.len()))
}

fn lines(refusals: &[Refusal]) -> String {
    let told = refusals.iter().take(DETAILS_MAX_LINES);
    let mut lines: Vec<String> =
        told.map(|refusal| format!("{}: {}", refusal.host, reason(refusal))).collect();
    let left = refusals.len().saturating_sub(DETAILS_MAX_LINES);
    if left > 0 {
        lines.push(format!("({} more left out)", counted(left)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
