//! The embedded store on a disk that fails: whatever the disk does, the store keeps what it has said.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod campaigns;

use updraft_harness::{campaign::Scenario, fault::FaultKind, world::Tier};
use updraft_tests::scenario::Stored;

const TEST: &str = "a_store_keeps_what_it_has_said_whatever_its_disk_does";

/// As many as fit into a few seconds.
const SEEDS: u64 = 300;

#[test]
fn a_store_keeps_what_it_has_said_whatever_its_disk_does() {
    // A network has no part in it, and without one more seeds are run.
    if let Some(summary) = campaigns::holds(TEST, "store", Tier::Memory, SEEDS) {
        let may = |kind: FaultKind| Stored.faults().contains(&kind.name());
        let never = campaigns::never_struck(&summary, may);
        assert!(never.is_empty(), "never struck: {never:?}");
        assert!(summary.missing.is_empty(), "never reached: {:?}", summary.missing);
    }
}
