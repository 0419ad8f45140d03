//! Random users, random troubles: whatever is asked and whatever goes wrong, the cloud keeps its promises.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod campaigns;

use updraft_harness::world::Tier;
use updraft_tests::{scenario, workload};

const TEST: &str = "whatever_users_ask_and_whatever_goes_wrong_the_cloud_keeps_its_promises";

/// As many as fit into CI's minutes.
const SEEDS: u64 = 60;

#[test]
fn whatever_users_ask_and_whatever_goes_wrong_the_cloud_keeps_its_promises() {
    if let Some(summary) = campaigns::holds(TEST, "life", Tier::Memory, SEEDS) {
        let never = campaigns::never_struck(&summary, |kind| scenario::meets(kind, Tier::Memory));
        assert!(never.is_empty(), "never struck: {never:?}");
        // The marks of the code take more seeds than there is time for here.
        campaigns::must_have_met(&summary, &workload::MARKS);
    }
}
