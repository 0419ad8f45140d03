//! The flow that `updraft trace` shows is what happened: whatever is suppressed is not in it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::{collections::BTreeSet, time::Duration};

use parking_lot::Mutex;
use serde_json::Value;
use updraft_cloud::flow::{Line, how, lines};
use updraft_harness::{
    fault::DriverTrouble,
    world::{Tier, Verdict},
};
use updraft_runtime::trace::{Step, StepKind};
use updraft_tests::{
    cloud::{Client, Fault, Menu, Point, SimCloud, Size},
    flow, same,
};
use updraft_transport::{Frame, NodeId, wire::Kind};

const SEED: u64 = 11;

/// A build without faults takes a second; one whose message is suppressed is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Steps arrive at the collectors within this time.
const SHIPPED: Duration = Duration::from_secs(2);

/// The steps of document 000's flow.
const NUMBERS: std::ops::RangeInclusive<u8> = 1..=29;

fn on_host(node: &str) -> bool {
    node.starts_with("compute-")
}

/// The message that a line stands for, as the network and the client know it.
#[derive(Clone, Debug, PartialEq)]
struct Suppressed {
    kind: StepKind,
    name: String,
    /// Whether a compute host asked; else a control node or a client did.
    host_asked: bool,
}

impl Suppressed {
    /// `None` for what is no message, but what somebody did because of one.
    fn of(step: &Step) -> Option<Self> {
        let asker = match step.kind {
            StepKind::Local | StepKind::Store => return None,
            StepKind::Reply => &step.to_node,
            _ => &step.from_node,
        };
        let host_asked = step.kind != StepKind::Rest && on_host(asker);
        Some(Self { kind: step.kind, name: step.name.clone(), host_asked })
    }

    fn is_request(&self, name: &str) -> bool {
        self.kind == StepKind::Rest && self.name == name
    }

    /// Whether this frame carries it. The answers to a call do not name it: their ids are those of the calls.
    fn carries(&self, calls: &mut BTreeSet<u64>, from: &NodeId, frame: &Frame) -> bool {
        let header = &frame.header;
        let asked = header.method == self.name && on_host(from.as_str()) == self.host_asked;
        match (self.kind, header.kind) {
            (StepKind::Call, Kind::Call) | (StepKind::Cast, Kind::Cast) => asked,
            (StepKind::Reply, Kind::Call) if asked => {
                calls.insert(header.id);
                false
            }
            (StepKind::Reply, Kind::Reply) => calls.contains(&header.id),
            _ => false,
        }
    }

    fn menu(this: Option<&Self>) -> Menu {
        let driver = this.filter(|this| this.kind == StepKind::Driver).cloned();
        Menu::new(move |point| {
            let Point::Driver { name, .. } = point else { return None };
            let hit = driver.as_ref()?.name.eq_ignore_ascii_case(name);
            hit.then_some(Fault::Driver(DriverTrouble::Fails))
        })
    }
}

/// What a run without this message shows.
fn shown_without(suppressed: Option<&Suppressed>) -> Vec<Line> {
    let mut cloud =
        SimCloud::start(SEED, Tier::Memory, Size::default(), &Suppressed::menu(suppressed));
    let early = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &early);
    let volume = flow::volume(&mut cloud, &early);
    let before = flow::steps(&mut cloud).len();
    if let Some(suppressed) = suppressed.cloned() {
        let calls = Mutex::new(BTreeSet::new());
        cloud.world.network().intercept(move |from, _, frame| {
            let hit = suppressed.carries(&mut calls.lock(), from, frame);
            if hit { Verdict::Drop } else { Verdict::Pass }
        });
    }
    let sent = |name: &str| !suppressed.is_some_and(|suppressed| suppressed.is_request(name));
    let client =
        if sent("identity/POST /v3/auth/tokens") { Client::log_in(&mut cloud) } else { early };
    if sent("compute/POST /servers") {
        let body = flow::server_with_all(&have, &volume);
        client.send(&mut cloud, "POST", "/compute/v2.1/servers", body);
        let server = flow::active(&mut cloud, &client, PATIENCE);
        if sent("compute/GET /servers/{id}") {
            let path = format!("/compute/v2.1/servers/{}", server.unwrap_or_default());
            client.send(&mut cloud, "GET", &path, Value::Null);
        }
    }
    cloud.world.run_for(SHIPPED);
    lines(flow::steps(&mut cloud).split_off(before))
}

fn numbers(lines: &[Line]) -> BTreeSet<u8> {
    lines.iter().filter_map(|line| line.number).collect()
}

/// The numbered lines that stand for messages, each with those of what its receiver did because of it.
fn messages(lines: &[Line]) -> Vec<(u8, Suppressed, BTreeSet<u8>)> {
    let mut found: Vec<(u8, Suppressed, BTreeSet<u8>)> = Vec::new();
    // Who took which step, and which message led to it.
    let mut takers: Vec<(&str, usize)> = Vec::new();
    let numbered = lines.iter().filter_map(|line| Some((line.number?, &line.step)));
    for (number, step) in numbered {
        let message = if let Some(suppressed) = Suppressed::of(step) {
            found.push((number, suppressed, BTreeSet::new()));
            found.len() - 1
        } else {
            let cause = takers.iter().rfind(|(taker, _)| *taker == step.from);
            cause.unwrap_or_else(|| panic!("nothing led to step {number}")).1
        };
        found[message].2.insert(number);
        takers.push((&step.to, message));
    }
    found
}

#[test]
fn a_line_vanishes_with_its_message() {
    let whole = same::seeded(SEED, || shown_without(None));
    assert_eq!(numbers(&whole), NUMBERS.collect(), "without faults, every step has its line");
    let messages = messages(&whole);
    let carried: BTreeSet<u8> = messages.iter().flat_map(|(.., lines)| lines.clone()).collect();
    assert_eq!(carried, NUMBERS.collect(), "every line is that of a message or of what it led to");
    println!("{} messages lead to {} lines", messages.len(), carried.len());
    let mut wrong = Vec::new();
    for (number, suppressed, carried) in messages {
        let shown = same::seeded(SEED, || shown_without(Some(&suppressed)));
        let left = numbers(&shown);
        let still: Vec<_> = carried.intersection(&left).collect();
        let happened =
            shown.iter().any(|line| Suppressed::of(&line.step).as_ref() == Some(&suppressed));
        if !still.is_empty() || happened {
            wrong.push(format!("without {number} {suppressed:?} there is still {still:?}"));
        }
        let early: Vec<u8> = NUMBERS.take_while(|early| *early < number).collect();
        let lost: Vec<_> = early.iter().filter(|early| !left.contains(early)).collect();
        if !lost.is_empty() {
            wrong.push(format!("without {number} {suppressed:?} earlier {lost:?} are gone"));
        }
        println!("without {number:>2} {:<32} {} lines are left", suppressed.name, left.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The page of the book, whose table has a row for each step: number, what it is in document 000, from, to, how,
/// what.
const PAGE: &str = include_str!("../../book/src/life-of-a-server.md");

#[test]
fn the_book_tells_the_flow_as_it_happens() {
    let shown = same::seeded(SEED, || shown_without(None));
    let mut happened: Vec<(u8, String)> = shown
        .iter()
        .filter_map(|Line { number, step }| {
            let (from, to, how, name) = (&step.from, &step.to, how(step.kind), &step.name);
            Some(((*number)?, format!("{from} | {to} | {how} | `{name}`")))
        })
        .collect();
    happened.sort();
    let told: Vec<(u8, String)> = PAGE
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            Some((cells.first()?.parse().ok()?, cells.get(2..)?.join(" | ")))
        })
        .collect();
    assert_eq!(told, happened);
}
