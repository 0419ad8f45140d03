//! Three data centres over real QUIC and TLS: a storm of servers, and one of them is lost and comes back.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod continents;

use updraft_harness::{campaign::Scenario, world::Tier};
use updraft_tests::scenario::Continents;

#[test]
fn a_data_centre_is_lost_in_a_storm_and_everything_settles() {
    // Both ways to lose a data centre are among them.
    let marks = continents::settles(Tier::Quic, 1..=3, 15, 6);
    for mark in Continents.marks() {
        assert!(marks.contains(*mark), "never: {mark}");
    }
}
