//! Messages of every contract keep their promises whatever goes wrong, on tiers 1 and 2.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod campaigns;

use updraft_harness::world::Tier;

#[test]
fn every_contract_is_kept_on_tier_1() {
    let test = "every_contract_is_kept_on_tier_1";
    if let Some(summary) = campaigns::holds(test, "contracts", Tier::Memory, 30) {
        let marks = [
            "Fenced is begun twice",
            "Remembered is begun in two lives",
            "Once has an unknown end, and was begun",
            "Once has an unknown end, and was not begun",
            "Note is lost",
            "Fanout reaches some",
            "a reply comes for a former life of its caller",
        ];
        campaigns::must_have_met(&summary, &marks);
    }
}

#[test]
fn every_contract_is_kept_on_tier_2() {
    let test = "every_contract_is_kept_on_tier_2";
    if let Some(summary) = campaigns::holds(test, "contracts", Tier::Quic, 6) {
        let marks = ["Fenced is begun twice", "Once has an unknown end, and was begun"];
        campaigns::must_have_met(&summary, &marks);
    }
}
