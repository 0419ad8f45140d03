//! Every order of events in the life of a volume and its copy, within bounds.

use std::collections::BTreeSet;

use updraft_tests::models::{
    Law,
    bag::Carriage,
    table::{assert_reached, holds, is_found, is_wide, told},
    volume::{Budget, MARKS, Volume},
};

fn budgets() -> Vec<Budget> {
    let none = Budget::default();
    let carriage = Carriage { losses: 1, duplicates: 1, resends: 1 };
    let mut budgets = vec![
        Budget { deletes: 1, grows: 1, restarts: 1, carriage, ..none },
        Budget { deletes: 1, failures: 3, days: 1, ..none },
        Budget { deletes: 2, copies: 1, ..none },
        Budget { deletes: 1, grows: 1, failures: 1, restarts: 1, ..none },
        Budget { attaches: 2, connects: 2, failures: 1, restarts: 1, ..none },
        Budget { attaches: 1, connects: 2, carriage, ..none },
        Budget { attaches: 1, connects: 1, deletes: 1, grows: 1, failures: 1, ..none },
    ];
    if is_wide() {
        budgets.push(Budget { deletes: 2, grows: 1, copies: 1, failures: 1, carriage, ..none });
    }
    budgets
}

#[test]
fn a_volume_ends_well_in_every_order_of_events() {
    let mut reached = BTreeSet::new();
    for budget in budgets() {
        let bounds = told(&budget);
        reached.extend(holds("volume", &bounds, &Volume { broken: None, budget }));
    }
    assert_reached(&reached, &MARKS);
}

/// Late calls and operations bring back what served a volume to the host that had it, if nothing refuses them.
#[test]
fn a_volume_that_is_served_without_a_fence_is_found() {
    let budget = Budget { attaches: 1, connects: 1, failures: 1, ..Budget::default() };
    let model = Volume { broken: Some(Law::Fence), budget };
    assert!(is_found("volume that is served without a fence", &told(&budget), &model));
}

#[test]
fn each_law_that_is_broken_is_found() {
    let carriage = Carriage { duplicates: 1, resends: 1, ..Carriage::default() };
    let budget = Budget { deletes: 1, carriage, ..Budget::default() };
    for law in Law::ALL {
        let name = format!("volume without {law:?}");
        assert!(
            is_found(&name, &told(&budget), &Volume { broken: Some(law), budget }),
            "{law:?} is not found"
        );
    }
}
