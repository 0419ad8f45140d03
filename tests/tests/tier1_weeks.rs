//! Messages that come back weeks later, when everything that remembered them has forgotten, change nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod campaigns;

use updraft_harness::{fault::FaultKind, world::Tier};

const TEST: &str = "what_is_told_weeks_too_late_changes_nothing";

/// As many as fit into a few seconds.
const SEEDS: u64 = 4;

#[test]
fn what_is_told_weeks_too_late_changes_nothing() {
    if let Some(summary) = campaigns::holds(TEST, "weeks", Tier::Memory, SEEDS) {
        let never = campaigns::never_struck(&summary, |kind| kind == FaultKind::StaleCopy);
        assert!(never.is_empty(), "no copy was held back");
    }
}
