//! Every order of events in the life of a server that owns nothing, within bounds.

use std::collections::BTreeSet;

use updraft_tests::models::{
    Law,
    bag::Carriage,
    owner::Owns,
    server::{Budget, DOWN_MARKS, MARKS, MOVE_MARKS, Server},
    table::{assert_reached, holds, is_found, is_met, is_wide, told},
};

const STILL: Carriage = Carriage { losses: 0, duplicates: 0, resends: 0 };
const DOUBLED: Carriage = Carriage { duplicates: 1, ..STILL };

fn model(broken: Option<Law>, budget: Budget) -> Server {
    Server { broken, forgets_settled: false, silent_is_down: false, owns: Owns::default(), budget }
}

fn budgets() -> Vec<Budget> {
    let none = Budget::default();
    let lost = Carriage { losses: 1, ..STILL };
    let late = Carriage { resends: 1, ..lost };
    let mut budgets = vec![
        Budget { deletes: 1, carriage: late, ..none },
        Budget { refusals: 3, carriage: DOUBLED, ..none },
        Budget { refusals: 3, deletes: 1, carriage: lost, ..none },
        Budget { refusals: 3, crowds: 1, carriage: DOUBLED, ..none },
        Budget { deadlines: 1, deletes: 1, carriage: DOUBLED, ..none },
        Budget { stops: 1, deletes: 1, carriage: DOUBLED, ..none },
        Budget { restarts: 1, deletes: 1, carriage: late, ..none },
    ];
    if is_wide() {
        let all = Carriage { duplicates: 1, ..late };
        budgets.push(Budget { refusals: 3, deletes: 1, stops: 1, carriage: all, ..none });
        budgets.push(Budget { restarts: 1, deletes: 1, deadlines: 1, carriage: all, ..none });
    }
    budgets
}

#[test]
fn a_server_ends_well_in_every_order_of_events() {
    let mut reached = BTreeSet::new();
    for budget in budgets() {
        let bounds = told(&budget);
        reached.extend(holds("server", &bounds, &model(None, budget)));
    }
    assert_reached(&reached, &MARKS);
}

fn budget_that_shows(law: Law) -> Budget {
    let none = Budget::default();
    match law {
        Law::Fence => Budget { deletes: 1, carriage: Carriage { resends: 1, ..DOUBLED }, ..none },
        Law::ReportFilter => Budget { stops: 1, carriage: DOUBLED, ..none },
        Law::ConfirmedGone => Budget { refusals: 3, ..none },
    }
}

#[test]
fn each_law_that_is_broken_is_found() {
    for law in Law::ALL {
        let (name, budget) = (format!("server without {law:?}"), budget_that_shows(law));
        assert!(is_found(&name, &told(&budget), &model(Some(law), budget)), "{law:?} is not found");
    }
}

#[test]
fn a_node_that_forgets_in_a_crash_what_it_told_of_is_found() {
    let budget = Budget { restarts: 1, ..Budget::default() };
    let model = Server { forgets_settled: true, ..model(None, budget) };
    assert!(is_found("server on a node that forgets", &told(&budget), &model));
}

/// Each of three things lets a server go: its host comes back and says that it has nothing, it comes back and is told, or
/// an operator says that it is down.
fn budgets_of_hosts_that_go_down() -> Vec<Budget> {
    let down = Budget { power_cuts: 1, forced_downs: 1, evacuations: 1, ..Budget::default() };
    let mut budgets = vec![
        Budget { forced_downs: 0, ..down },
        Budget { power_cuts: 0, silences: 1, ..down },
        down,
    ];
    if is_wide() {
        budgets.push(Budget { deletes: 1, ..down });
        budgets.push(Budget { refusals: 3, ..down });
        budgets.push(Budget { carriage: DOUBLED, ..down });
        budgets.push(Budget { deletes: 1, carriage: Carriage { resends: 1, ..STILL }, ..down });
        budgets.push(Budget { power_cuts: 2, ..down });
    }
    budgets
}

#[test]
fn a_server_on_a_host_that_goes_down_never_runs_twice() {
    let mut reached = BTreeSet::new();
    for budget in budgets_of_hosts_that_go_down() {
        let bounds = told(&budget);
        reached.extend(holds("server on a host that goes down", &bounds, &model(None, budget)));
    }
    assert_reached(&reached, &DOWN_MARKS);
}

#[test]
fn a_silent_host_that_is_taken_for_one_that_is_down_is_found() {
    let budget = Budget { silences: 1, evacuations: 1, ..Budget::default() };
    let model = Server { silent_is_down: true, ..model(None, budget) };
    assert!(is_met("server with a silent host taken for gone", &told(&budget), &model));
}

fn budgets_of_moves() -> Vec<Budget> {
    let moved = Budget { migrations: 1, confirms: 1, reverts: 1, ..Budget::default() };
    let mut budgets = vec![
        Budget { deletes: 1, ..moved },
        Budget { power_cuts: 1, reverts: 0, ..moved },
        Budget { deadlines: 1, confirms: 0, reverts: 0, ..moved },
    ];
    if is_wide() {
        budgets.push(Budget { power_cuts: 1, forced_downs: 1, confirms: 0, ..moved });
        budgets.push(Budget { restarts: 1, carriage: Carriage { losses: 1, ..STILL }, ..moved });
        budgets.push(Budget { deadlines: 1, carriage: DOUBLED, ..moved });
        budgets.push(Budget { deletes: 1, carriage: DOUBLED, ..moved });
        budgets.push(Budget { refusals: 3, carriage: DOUBLED, ..moved });
        budgets.push(Budget { migrations: 2, confirms: 2, ..moved });
    }
    budgets
}

#[test]
fn a_server_that_moves_runs_once_and_keeps_its_disk() {
    let mut reached = BTreeSet::new();
    for budget in budgets_of_moves() {
        let bounds = told(&budget);
        reached.extend(holds("server that moves", &bounds, &model(None, budget)));
    }
    assert_reached(&reached, &MOVE_MARKS);
}

#[test]
fn a_move_that_does_not_wait_until_the_host_has_parked_the_disk_is_found() {
    let budget = Budget { migrations: 1, ..Budget::default() };
    let model = model(Some(Law::ConfirmedGone), budget);
    assert!(is_found("move without a word of the host", &told(&budget), &model));
}
