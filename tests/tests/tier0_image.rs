//! Every order of events in the life of an image, within bounds.

use std::collections::BTreeSet;

use updraft_tests::models::{
    Law,
    bag::Carriage,
    image::{Budget, Image, MARKS},
    table::{assert_reached, holds, is_found, is_wide, told},
};

const CARRIAGE: Carriage = Carriage { losses: 1, duplicates: 1, resends: 1 };

fn model(broken: Option<Law>, budget: Budget) -> Image {
    Image { broken, sweeps_rows_first: false, budget }
}

fn budgets() -> Vec<Budget> {
    let mut budgets = vec![
        FEW,
        Budget { carriage: Carriage::default(), silences: 2, crashes: 1, sweeps: 1, ..FEW },
    ];
    if is_wide() {
        let carriage = Carriage { losses: 2, duplicates: 2, resends: 2 };
        budgets.push(Budget {
            carriage,
            uploads: 3,
            silences: 3,
            crashes: 2,
            breaks: 2,
            deletes: 1,
            sweeps: 2,
        });
    }
    budgets
}

#[test]
fn an_image_ends_well_in_every_order_of_events() {
    let mut reached = BTreeSet::new();
    for budget in budgets() {
        let bounds = told(&budget);
        reached.extend(holds("image", &bounds, &model(None, budget)));
    }
    assert_reached(&reached, &MARKS);
}

const FEW: Budget = Budget {
    carriage: CARRIAGE,
    uploads: 2,
    silences: 1,
    crashes: 0,
    breaks: 1,
    deletes: 1,
    sweeps: 0,
};

#[test]
fn each_law_that_is_broken_is_found() {
    for law in Law::ALL {
        let name = format!("image without {law:?}");
        assert!(is_found(&name, &told(&FEW), &model(Some(law), FEW)), "{law:?} is not found");
    }
}

#[test]
fn a_sweep_that_reads_the_row_first_is_found() {
    let budget = Budget { carriage: Carriage::default(), sweeps: 1, ..FEW };
    let model = Image { sweeps_rows_first: true, ..model(None, budget) };
    assert!(is_found("image swept by rows first", &told(&budget), &model));
}
