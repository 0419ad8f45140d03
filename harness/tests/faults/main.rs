//! Faults as values, and as what happens in a world.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::expect_used,
    missing_docs,
    reason = "tests"
)]

mod disks;
mod effects;
mod plan;
mod shrinking;
mod talk;
mod versions;
mod worlds;
mod written;

use std::time::Duration;

use updraft_harness::fault::Targets;

/// Three nodes in two data centres, and every kind of fault.
fn targets() -> Targets {
    let mut targets = Targets::new(&["a", "b", "c", "d"], Duration::from_secs(60));
    let names = |nodes: &[&str]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>();
    targets.data_centres.insert("london".to_owned(), names(&["a", "b"]));
    targets.data_centres.insert("tunis".to_owned(), names(&["c", "d"]));
    targets
}
