//! The whole cloud with its stores on disks that fail, and nodes of two releases: it keeps its promises.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod campaigns;

use updraft_harness::{fault::FaultKind, world::Tier};

const TEST: &str = "a_cloud_keeps_its_promises_on_disks_that_fail";

/// As many as fit into a few seconds.
const SEEDS: u64 = 8;

#[test]
fn a_cloud_keeps_its_promises_on_disks_that_fail() {
    if let Some(summary) = campaigns::holds(TEST, "life", Tier::Disks, SEEDS) {
        // Few crashes meet a write under way: what becomes of those is shown by one store and many seeds.
        let rare = [FaultKind::LostWrites, FaultKind::TornWrites];
        let may = |kind: FaultKind| kind.is_of_disks() || kind == FaultKind::FormerWire;
        let never = campaigns::never_struck(&summary, |kind| may(kind) && !rare.contains(&kind));
        assert!(never.is_empty(), "never struck: {never:?}");
    }
}
