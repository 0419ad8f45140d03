//! A scenario, with its case as a value of JSON, so that all are run, shrunk and kept alike.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use updraft_transport::planted::Bug;

use super::{
    crowd, disks, late, leases, links, messages, parts, plans, records, tokens, users, walks,
};

/// Something that runs from a seed.
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// The case of a seed.
    pub draw: fn(u64) -> Value,
    /// Runs a case; panics with what is wrong.
    pub run: fn(&Value),
    /// Simpler cases.
    pub smaller: fn(&Value) -> Vec<Value>,
}

fn value(case: &impl Serialize) -> Value {
    serde_json::to_value(case).unwrap_or_else(|error| panic!("a case is not written: {error}"))
}

fn case<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|error| panic!("a case is not read: {error}"))
}

macro_rules! scenario {
    ($name:literal, $draw:path, $run:path, $smaller:path) => {
        Scenario {
            name: $name,
            draw: |seed| value(&$draw(seed)),
            run: |json| $run(&case(json)),
            smaller: |json| $smaller(&case(json)).iter().map(value).collect(),
        }
    };
}

/// All of them.
pub const SCENARIOS: [Scenario; 12] = [
    scenario!("plans", plans::draw, plans::run, plans::Case::smaller),
    scenario!("walks", walks::draw, walks::run, walks::Case::smaller),
    scenario!("disks", disks::draw, disks::run, disks::Case::smaller),
    scenario!("records", records::draw, records::run, records::Case::smaller),
    scenario!("messages", messages::draw, messages::run, messages::Case::smaller),
    scenario!("leases", leases::draw, leases::run, leases::Case::smaller),
    scenario!("links", links::draw, links::run, links::Case::smaller),
    scenario!("tokens", tokens::draw, tokens::run, tokens::Case::smaller),
    scenario!("crowd", crowd::draw, crowd::run, crowd::Case::smaller),
    scenario!("parts", parts::draw, parts::run, users::smaller),
    scenario!("users", users::draw, users::run, users::smaller),
    scenario!("late", users::draw, late::run, users::smaller),
];

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }
}

/// The scenarios that reach the part of the code that a bug is in. A bug is hunted in all of these by turns.
#[must_use]
pub fn reaching(bug: Bug) -> &'static [&'static str] {
    match bug.place() {
        "transport" => &["links", "messages"],
        "runtime" => &["messages", "records", "disks", "leases", "users"],
        "identity" => &["tokens"],
        "network" => &["walks", "disks", "parts", "users", "late"],
        "compute" => &["plans", "walks", "users", "late"],
        "scheduler" => &["crowd", "users"],
        _ => &["walks", "parts", "users", "late"],
    }
}
