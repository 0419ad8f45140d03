//! Every order of events in the life of a server that owns a port, a volume or both, within bounds.

use std::collections::BTreeSet;

use updraft_tests::models::{
    Law,
    bag::Carriage,
    owner::{Owns, PORT_MARKS, VOLUME_MARKS},
    server::{Budget, Server},
    table::{assert_reached, holds, is_found, is_wide, told},
};

const PORT: Owns = Owns { port: true, volume: false };
const VOLUME: Owns = Owns { port: false, volume: true };
const BOTH: Owns = Owns { port: true, volume: true };
const STILL: Carriage = Carriage { losses: 0, duplicates: 0, resends: 0 };
const DOUBLED: Carriage = Carriage { duplicates: 1, ..STILL };
const LOST: Carriage = Carriage { losses: 1, ..STILL };

fn model(broken: Option<Law>, owns: Owns, budget: Budget) -> Server {
    Server { broken, forgets_settled: false, silent_is_down: false, owns, budget }
}

fn cases() -> Vec<(&'static str, Owns, Budget)> {
    let none = Budget::default();
    let mut cases = vec![
        ("server and port", PORT, Budget { refusals: 3, carriage: DOUBLED, ..none }),
        ("server and port", PORT, Budget { deletes: 1, carriage: LOST, ..none }),
        (
            "server and volume",
            VOLUME,
            Budget { detaches: 1, deletes: 1, carriage: DOUBLED, ..none },
        ),
        ("server and volume", VOLUME, Budget { refusals: 3, deletes: 1, ..none }),
        ("server, port and volume", BOTH, Budget { deletes: 1, carriage: DOUBLED, ..none }),
    ];
    if is_wide() {
        let carriage = Carriage { losses: 1, duplicates: 1, resends: 1 };
        let budget = Budget { deletes: 1, carriage, ..none };
        cases.push(("server and port", PORT, Budget { refusals: 3, ..budget }));
        cases.push(("server, port and volume", BOTH, Budget { detaches: 1, ..budget }));
    }
    cases
}

#[test]
fn an_owner_and_what_it_owns_end_well_in_every_order_of_events() {
    let mut reached = BTreeSet::new();
    for (name, owns, budget) in cases() {
        let bounds = told(&budget);
        reached.extend(holds(name, &bounds, &model(None, owns, budget)));
    }
    assert_reached(&reached, &PORT_MARKS);
    assert_reached(&reached, &VOLUME_MARKS);
}

#[test]
fn each_law_that_is_broken_is_found() {
    let none = Budget::default();
    for law in Law::ALL {
        let budget = match law {
            Law::Fence => Budget { deletes: 1, carriage: DOUBLED, ..none },
            Law::ReportFilter => Budget { stops: 1, carriage: DOUBLED, ..none },
            Law::ConfirmedGone => Budget { refusals: 3, ..none },
        };
        let name = format!("server and port without {law:?}");
        let model = model(Some(law), PORT, budget);
        assert!(is_found(&name, &told(&budget), &model), "{law:?} is not found");
    }
}
