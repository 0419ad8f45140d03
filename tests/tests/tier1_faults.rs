//! Every step of the provisioning flow fails, once, in every way it can.
//!
//! A run without faults yields the list of points: each message, each commit, each operation of a driver.
//! Everything follows from one seed, so the same point comes again in every later run, where one thing goes
//! wrong at it. By default an even sample of all (point, fault) pairs runs; with `UPDRAFT_SWEEP=all` each does.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "tests")]

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use updraft_harness::world::{Tier, Verdict, World};
use updraft_runtime::store::CommitFate;
use updraft_tests::{
    cloud::{Client, Fault, Machine, Menu, Point, SimCloud, Size},
    filters, flow, same,
};
use updraft_transport::NodeId;

const SEED: u64 = 4;

/// Points of the fault-free run; may only grow.
const POINTS_MIN: usize = 118;

/// Pairs run by default: what fits into CI's minutes.
const SAMPLE: usize = 120;

/// Beyond every deadline of a call.
const DELAY: Duration = Duration::from_secs(30);

/// A message has arrived by then, and its handler has begun.
const ARRIVED: Duration = Duration::from_millis(6);

/// How long a crashed node is down.
const DOWN: Duration = Duration::from_secs(2);

/// How long a build may take to be settled, its own deadline included.
const SETTLES: Duration = Duration::from_secs(900);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Lost,
    Doubled,
    Delayed,
    ReceiverCrashes,
    SenderCrashes,
    UnknownApplied,
    UnknownNotApplied,
    Fails,
    Lies,
}

const OF_MESSAGES: [Wrong; 5] =
    [Wrong::Lost, Wrong::Doubled, Wrong::Delayed, Wrong::ReceiverCrashes, Wrong::SenderCrashes];
const OF_COMMITS: [Wrong; 2] = [Wrong::UnknownApplied, Wrong::UnknownNotApplied];
const OF_DRIVERS: [Wrong; 2] = [Wrong::Fails, Wrong::Lies];

/// Counts the points as they come, and does one thing wrong at one of them.
#[derive(Clone, Default)]
struct Plan(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    counting: bool,
    points: Vec<String>,
    target: Option<(usize, Wrong)>,
    hit: Option<String>,
    crash_in: Option<(NodeId, Duration)>,
    violation: Option<String>,
}

impl Plan {
    /// Counts a point; returns what goes wrong at it.
    fn at(&self, name: String) -> Option<Wrong> {
        let mut inner = self.0.lock();
        if !inner.counting {
            return None;
        }
        let number = inner.points.len();
        inner.points.push(name.clone());
        let (at, wrong) = inner.target?;
        (at == number).then(|| inner.hit = Some(name)).map(|()| wrong)
    }

    fn menu(&self) -> Menu {
        let plan = self.clone();
        Menu::new(move |point| {
            let name = match point {
                Point::Commit { node, keys } => format!("commit {node} {}", of_tables(keys)),
                Point::Driver { host, name } => format!("driver {host} {name}"),
            };
            Some(match plan.at(name)? {
                Wrong::UnknownApplied => Fault::Commit(CommitFate::UnknownApplied),
                Wrong::UnknownNotApplied => Fault::Commit(CommitFate::UnknownNotApplied),
                Wrong::Fails => Fault::Fails,
                _ => Fault::Lies,
            })
        })
    }

    fn intercept(&self, world: &World) {
        let plan = self.clone();
        world.network().intercept(move |from, to, frame| {
            // Heartbeats are no step of the flow.
            if frame.header.method.starts_with("directory/") {
                return Verdict::Pass;
            }
            let header = &frame.header;
            let name = format!("message {:?} {} {from}>{to}", header.kind, header.method);
            let crashes =
                |node: &NodeId, after| plan.0.lock().crash_in = Some((node.clone(), after));
            match plan.at(name) {
                Some(Wrong::Lost) => Verdict::Drop,
                Some(Wrong::Doubled) => Verdict::Double,
                Some(Wrong::Delayed) => Verdict::Delay(DELAY),
                Some(Wrong::ReceiverCrashes) => {
                    crashes(to, ARRIVED);
                    Verdict::Pass
                }
                Some(Wrong::SenderCrashes) => {
                    crashes(from, Duration::ZERO);
                    Verdict::Pass
                }
                _ => Verdict::Pass,
            }
        });
    }

    /// After every step: crashes and restarts whom the plan says, and looks for a second guest.
    fn watch(&self, cloud: &mut SimCloud) {
        let (plan, hosts) = (self.clone(), cloud.hosts().to_vec());
        let mut crash: Option<(NodeId, Duration)> = None;
        let mut restart: Option<(NodeId, Duration)> = None;
        cloud.world.watch(move |world| {
            let now = world.now();
            let order = plan.0.lock().crash_in.take();
            crash = order.map(|(node, after)| (node, now + after)).or(crash.take());
            if let Some((node, _)) = crash.take_if(|(_, at)| *at <= now) {
                world.crash(&node);
                restart = Some((node, now + DOWN));
            }
            if let Some((node, _)) = restart.take_if(|(_, at)| *at <= now) {
                world.start(&node);
            }
            if let Some(guest) = doubled_guest(world, &hosts) {
                plan.0.lock().violation.get_or_insert(format!("two guests of {guest} at {now:?}"));
            }
        });
    }
}

/// The tables that a commit writes; the keys hold ids.
fn of_tables(keys: &[String]) -> String {
    let mut tables: Vec<String> =
        keys.iter().map(|key| key.split('/').take(2).collect::<Vec<_>>().join("/")).collect();
    tables.dedup();
    tables.join("+")
}

fn doubled_guest(world: &World, hosts: &[NodeId]) -> Option<String> {
    let mut seen = BTreeMap::new();
    for host in hosts {
        let machine = world.disk(host)?.get::<Machine>();
        for guest in machine.map(|machine| machine.guests.guests()).unwrap_or_default() {
            if seen.insert(guest.guest.guest, ()).is_some() {
                return Some(guest.guest.guest.to_string());
            }
        }
    }
    None
}

/// What the API says of a server.
#[derive(Debug, PartialEq)]
enum Shown {
    NoAnswer,
    Gone,
    Is(String, String),
}

fn shown(cloud: &mut SimCloud, client: &Client) -> Shown {
    let path = "/compute/v2.1/servers/detail";
    match client.send(cloud, "GET", path, Value::Null) {
        Some(answer) if answer.status == 200 => {
            let servers = answer.body["servers"].as_array().unwrap();
            assert!(servers.len() <= 1, "one POST made {} servers", servers.len());
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            servers.first().map_or(Shown::Gone, |server| {
                Shown::Is(text(&server["status"]), text(&server["fault"]["message"]))
            })
        }
        _ => Shown::NoAnswer,
    }
}

/// Runs until the server is as it will stay.
fn settle(cloud: &mut SimCloud, client: &Client) -> Shown {
    let end = cloud.world.now() + SETTLES;
    loop {
        match shown(cloud, client) {
            Shown::Is(status, fault) if status == "ACTIVE" || status == "ERROR" => {
                return Shown::Is(status, fault);
            }
            Shown::Gone => return Shown::Gone,
            other => assert!(cloud.world.now() < end, "not settled: {other:?}"),
        }
        cloud.world.run_for(Duration::from_millis(100));
    }
}

fn delete_all(cloud: &mut SimCloud, client: &Client) {
    let end = cloud.world.now() + SETTLES;
    loop {
        let listed = client.send(cloud, "GET", "/compute/v2.1/servers", Value::Null);
        if let Some(answer) = listed.filter(|answer| answer.status == 200) {
            let Some(server) = answer.body["servers"][0]["id"].as_str() else { return };
            client.send(cloud, "DELETE", &format!("/compute/v2.1/servers/{server}"), Value::Null);
        }
        assert!(cloud.world.now() < end, "the server does not go");
        cloud.world.run_for(Duration::from_millis(200));
    }
}

/// The flow with at most one fault; returns the points and how the server ended.
fn run(target: Option<(usize, Wrong)>) -> (Vec<String>, Option<String>, String) {
    let plan = Plan::default();
    plan.0.lock().target = target;
    let mut cloud = SimCloud::start(SEED, Tier::Memory, Size::default(), &plan.menu());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let before = flow::inventory(&mut cloud);
    plan.intercept(&cloud.world);
    plan.watch(&mut cloud);
    plan.0.lock().counting = true;
    let body = json!({"server": {"name": "vm", "imageRef": have.image, "flavorRef": have.flavor,
        "networks": [{"uuid": have.network}]}});
    let taken = client.send(&mut cloud, "POST", "/compute/v2.1/servers", body);
    let settled = settle(&mut cloud, &client);
    // What the check asks of the database is no step of the flow.
    plan.0.lock().counting = false;
    assert_eq!(filters::differences(&mut cloud, SETTLES), Vec::<String>::new());
    plan.0.lock().counting = true;
    let taken = taken.is_some_and(|answer| answer.status == 202);
    match &settled {
        Shown::Gone => assert!(!taken, "an acknowledged server is lost"),
        Shown::Is(status, fault) => {
            assert!(status == "ACTIVE" || !fault.is_empty(), "an error without a reason");
        }
        Shown::NoAnswer => unreachable!("settled servers are shown"),
    }
    delete_all(&mut cloud, &client);
    plan.0.lock().counting = false;
    cloud.world.run_for(DELAY);
    let left = flow::leftovers(&mut cloud, &before, Duration::from_secs(120));
    assert!(left.is_empty(), "left behind: {left:#?}");
    assert_eq!(filters::differences(&mut cloud, SETTLES), Vec::<String>::new());
    let inner = plan.0.lock();
    assert_eq!(inner.violation, None);
    (inner.points.clone(), inner.hit.clone(), format!("{settled:?}"))
}

fn ways(point: &str) -> &'static [Wrong] {
    match point.split(' ').next() {
        Some("message") => &OF_MESSAGES,
        Some("commit") => &OF_COMMITS,
        _ => &OF_DRIVERS,
    }
}

/// What became of a fault, or why it was not survived.
fn survives(number: usize, point: &str, wrong: Wrong) -> Result<String, String> {
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        same::seeded(SEED, || run(Some((number, wrong))))
    }));
    let case = format!("point {number} ({point}), {wrong:?}");
    match ran {
        Ok((_, Some(hit), end)) if hit == point => Ok(end),
        Ok((_, hit, _)) => Err(format!("{case}: the fault hit {hit:?}")),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            Err(format!("{case}: {said}"))
        }
    }
}

#[test]
fn every_step_may_fail_in_every_way() {
    let (points, _, end) = same::seeded(SEED, || run(None));
    assert!(end.contains("ACTIVE"), "without faults: {end}");
    let of = |kind: &str| points.iter().filter(|point| point.starts_with(kind)).count();
    println!(
        "{} points: {} messages, {} commits, {} operations of drivers",
        points.len(),
        of("message"),
        of("commit"),
        of("driver")
    );
    assert!(points.len() >= POINTS_MIN, "fewer points than before: {}", points.len());
    let pairs: Vec<(usize, Wrong)> = (0..points.len())
        .flat_map(|number| ways(&points[number]).iter().map(move |wrong| (number, *wrong)))
        .collect();
    let all = std::env::var("UPDRAFT_SWEEP").is_ok_and(|sweep| sweep == "all");
    let stride = if all { 1 } else { pairs.len().div_ceil(SAMPLE) };
    let chosen: Vec<_> = pairs.iter().step_by(stride).copied().collect();
    println!("{} of {} (point, fault) pairs, every {stride}th", chosen.len(), pairs.len());
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let ends = Mutex::new(BTreeMap::<String, usize>::new());
    let work = || {
        while let Some((number, wrong)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            match survives(*number, &points[*number], *wrong) {
                Ok(end) => *ends.lock().entry(end).or_default() += 1,
                Err(failure) => failures.lock().push(failure),
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    println!("{:#?}", ends.lock());
    let failures = failures.into_inner();
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        chosen.len(),
        failures.join("\n")
    );
}
