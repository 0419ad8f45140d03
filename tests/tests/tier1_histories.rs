//! What many are told at once has an order: of the database's transactions, and of the names that the API gives.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod campaigns;

use updraft_harness::{campaign::Options, record::Detail, world::Tier};
use updraft_tests::scenario;

#[test]
fn what_transactions_see_has_an_order() {
    let test = "what_transactions_see_has_an_order";
    if let Some(summary) = campaigns::holds(test, "ledger", Tier::Memory, 60) {
        let changed = "what a transaction has read has changed when it commits";
        campaigns::must_have_met(&summary, &["moved", "not moved", "moved or not", changed]);
    }
}

#[test]
fn what_users_are_told_of_names_has_an_order() {
    let test = "what_users_are_told_of_names_has_an_order";
    if let Some(summary) = campaigns::holds(test, "names", Tier::Memory, 20) {
        let marks =
            ["read, renamed meanwhile", "renamed, with an unknown end", "read once it was deleted"];
        campaigns::must_have_met(&summary, &marks);
    }
}

#[test]
fn transactions_that_write_what_was_read_before_them_have_none() {
    let all = scenario::all();
    let faults = all.faults("ledger", &["all".to_owned()]).unwrap();
    let options = Options { tier: Tier::Memory, faults };
    let broken = (1..=20).find_map(|seed| {
        let mut plan = all.plan("ledger", seed, &options).unwrap();
        for step in plan.case["steps"].as_array_mut().unwrap() {
            if let Some(moved) = step["act"].get("Move") {
                step["act"] = serde_json::json!({"MoveCarelessly": moved});
            }
        }
        all.run_here(&plan, Detail::Nothing).unwrap().outcome.violation
    });
    let broken = broken.expect("nobody notices");
    assert_eq!(broken.check, "what transactions see has an order");
    assert!(broken.words.contains("none of these fits"), "{}", broken.words);
}
