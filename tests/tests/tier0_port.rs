//! Every order of events in the life of a port, within bounds.

use std::collections::BTreeSet;

use updraft_tests::models::{
    Law,
    bag::Carriage,
    port::{Budget, MARKS, Port},
    table::{assert_reached, holds, is_found, is_wide, told},
};

fn budgets() -> Vec<Budget> {
    let late = |resends| Carriage { resends, ..Carriage::default() };
    let none = Budget::default();
    let mut budgets = vec![
        Budget { binds: 3, deletes: 1, carriage: late(1), ..none },
        Budget { binds: 2, changes: 1, deletes: 1, failures: 1, ..none },
        Budget { binds: 2, deletes: 1, restarts: 1, carriage: late(1), ..none },
        Budget {
            binds: 2,
            deletes: 1,
            forgets: 2,
            carriage: Carriage { duplicates: 1, ..late(0) },
            ..none
        },
        Budget {
            binds: 2,
            deletes: 1,
            carriage: Carriage { losses: 1, duplicates: 1, ..late(1) },
            ..none
        },
    ];
    if is_wide() {
        let carriage = Carriage { losses: 1, duplicates: 1, resends: 2 };
        budgets.push(Budget {
            carriage,
            binds: 3,
            changes: 1,
            deletes: 1,
            restarts: 1,
            failures: 1,
            forgets: 1,
        });
    }
    budgets
}

#[test]
fn a_port_ends_well_in_every_order_of_events() {
    let mut reached = BTreeSet::new();
    for budget in budgets() {
        let bounds = told(&budget);
        reached.extend(holds("port", &bounds, &Port { broken: None, budget }));
    }
    assert_reached(&reached, &MARKS);
}

#[test]
fn each_law_that_is_broken_is_found() {
    let carriage = Carriage { duplicates: 1, ..Carriage::default() };
    let budget = Budget { binds: 2, deletes: 1, carriage, ..Budget::default() };
    for law in Law::ALL {
        let name = format!("port without {law:?}");
        assert!(
            is_found(&name, &told(&budget), &Port { broken: Some(law), budget }),
            "{law:?} is not found"
        );
    }
}
