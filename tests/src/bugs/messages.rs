//! Messages between nodes: callers ask servers that are slow, fail, crash or cannot be reached, and every answer is
//! held against what was in fact done.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};
use updraft_harness::{
    fault::{Fault, FaultPlan, LinkTrouble},
    world::{Tier, World},
};
use updraft_runtime::rpc::{Address, CallError, Cx, Rpc, TraceContext};

use super::Steps;
use crate::contracts::{
    self, CALLERS, FOUND_WITHIN, Record, STRANGER, What, id,
    nodes::{Bulky, Fail, Fenced, Note, Once, Probe, RELAY_MAX_MS, Relay, Remembered, Shaky},
};

/// Those that are asked.
const SERVERS: [&str; 2] = ["one", "two"];

/// Most steps of a case.
const STEPS_MAX: usize = 40;

/// How often handlers fail at most: fewer times than a supervisor bears.
const FAILS_MAX: usize = 8;

/// How many calls a flood is: more than a mailbox holds.
const FLOOD: u64 = 1_200;

/// How many calls a handler that fails is amid: more than its server takes in at once.
const AMID: u64 = 500;

/// How many of these its server passes on, at first to whoever is asked last: for one server that is itself.
const AMID_RELAYS: u64 = 8;

/// How many large calls go out at once at the end: more than a queue of their class holds.
const BURST: u64 = 100;

/// For how long messages are out of order once they are.
const DISORDER_LASTS: Duration = Duration::from_secs(20);

/// How many calls a caller that comes back asks anew at most, of those that it was not answered.
const ANEW_MAX: usize = 60;

/// How long a caller that starts waits until it asks anew.
const SETTLES_IN: Duration = Duration::from_millis(20);

/// How long after the last trouble everybody has found everybody again, and every deadline has passed.
const SETTLES: Duration = Duration::from_secs(40);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A caller asks a server, or any (2), for so many milliseconds of work.
    Ask(u8, u8, What, u16),
    /// A caller asks so many times at once for work of so many milliseconds.
    Rush(u8, u8, What, u8, u16),
    /// A caller asks a server for as much as its mailbox cannot hold.
    Flood(u8, u8),
    /// A handler of a server fails in so many milliseconds.
    Fail(u8, u8),
    /// One fails at once, amid many other messages.
    FailAmid(u8, u8),
    /// Nothing, for so many milliseconds.
    Wait(u16),
    /// This share of messages, in percent, is lost; and this share doubled.
    Links(u8, u8),
    /// For a while, half of the messages are up to so many milliseconds late, and a copy of every third comes so many
    /// milliseconds after it.
    Disorder(u16, u16),
    /// A server crashes and comes back after so many milliseconds.
    CrashServer(u8, u16),
    /// A caller crashes and comes back after so many milliseconds.
    CrashCaller(u8, u16),
    /// A caller and a server do not reach each other for so many milliseconds.
    Partition(u8, u8, u16),
}

/// Every so manieth seed runs over QUIC, where what a node sends itself arrives in the same turn.
const OVER_QUIC: u64 = 4;

fn tier_of(seed: u64) -> Tier {
    if seed.is_multiple_of(OVER_QUIC) { Tier::Quic } else { Tier::Memory }
}

/// A case.
pub type Case = Steps<Step>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let steps = (0..rng.random_range(4..=STEPS_MAX)).map(|_| step(&mut rng)).collect();
    Case { seed, steps }
}

fn step(rng: &mut ChaCha8Rng) -> Step {
    let (one, other) = (rng.random_range(0..2), rng.random_range(0..2));
    let asked = rng.random_range(0..3);
    match rng.random_range(0..100) {
        0..38 => Step::Ask(one, asked, what(rng), work_ms(rng)),
        38..46 => Step::Rush(one, asked, what(rng), rng.random_range(1..60), work_ms(rng)),
        46..50 => Step::Disorder(rng.random_range(0..2_000), rng.random_range(0..10_000)),
        50..52 => Step::Flood(one, other),
        52..57 => Step::Fail(other, rng.random_range(0..20)),
        57..60 => Step::FailAmid(one, other),
        60..75 => Step::Wait(rng.random_range(0..1_500)),
        75..82 => Step::Links(rng.random_range(0..30), rng.random_range(0..50)),
        82..88 => Step::CrashServer(other, rng.random_range(0..2_000)),
        88..95 => Step::CrashCaller(one, rng.random_range(0..500)),
        _ => Step::Partition(one, other, rng.random_range(0..15_000)),
    }
}

/// Now and then more than a caller waits for.
fn work_ms(rng: &mut ChaCha8Rng) -> u16 {
    let longest = if rng.random_bool(0.1) { 15_000 } else { 3_000 };
    rng.random_range(0..longest)
}

fn what(rng: &mut ChaCha8Rng) -> What {
    let all = [What::Fenced, What::Remembered, What::Once, What::Note, What::Relay, What::Stranger];
    all[rng.random_range(0..all.len())]
}

/// Runs a case.
///
/// # Panics
/// If a contract of a message was not kept.
pub fn run(case: &Case) {
    let mut course = Course::start(case.seed);
    for step in &case.steps {
        course.take(*step);
        course.step_for(Duration::from_millis(5));
    }
    course.end_troubles();
    course.probe();
    let broken = course.record.broken();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What comes back when the time has come.
#[derive(Clone, Debug)]
enum Back {
    Node(&'static str),
    Reach,
    /// What a former life of a caller asked for and was not answered.
    Questions(Vec<Question>),
}

/// A question: who asks, whom, what, and for how much work.
#[derive(Clone, Copy, Debug)]
struct Question {
    caller: u8,
    server: u8,
    what: What,
    millis: u16,
}

/// A call under way.
struct Asked {
    number: u64,
    question: Question,
    outcome: Receiver<Result<u64, CallError>>,
}

struct Course {
    world: World,
    record: Record,
    asked: Vec<Asked>,
    back: BTreeMap<(Duration, u64), Back>,
    numbers: u64,
    fails: usize,
}

fn cx(rpc: &Rpc) -> Cx {
    Cx::new("bugs", TraceContext::fresh(rpc.env()))
}

impl Course {
    fn start(seed: u64) -> Self {
        let (world, record) = contracts::world(seed, tier_of(seed), &SERVERS);
        let mut course =
            Self { world, record, asked: Vec::new(), back: BTreeMap::new(), numbers: 0, fails: 0 };
        course.step_for(FOUND_WITHIN);
        course
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask(caller, server, what, millis) => {
                self.ask(Question { caller, server, what, millis });
            }
            Step::Rush(caller, server, what, count, millis) => {
                (0..count).for_each(|_| self.ask(Question { caller, server, what, millis }));
            }
            Step::Flood(caller, server) => {
                let question = Question { caller, server, what: What::Once, millis: 2_000 };
                (0..FLOOD).for_each(|_| self.ask(question));
            }
            Step::Fail(server, millis) => self.fail(server, millis),
            Step::FailAmid(caller, server) => {
                let question = Question { caller, server, what: What::Once, millis: 0 };
                (0..AMID / 2).for_each(|_| self.ask(question));
                let relay = Question { what: What::Relay, ..question };
                (0..AMID_RELAYS).for_each(|_| self.ask(relay));
                self.fail(server, 0);
                (0..AMID / 2).for_each(|_| self.ask(question));
            }
            Step::Wait(millis) => self.step_for(Duration::from_millis(millis.into())),
            Step::Links(loss, doubling) => self.set_links(loss, doubling),
            Step::Disorder(late_ms, after_ms) => self.disorder(late_ms, after_ms),
            Step::CrashServer(server, millis) => self.crash(SERVERS[usize::from(server)], millis),
            Step::CrashCaller(caller, millis) => self.crash_caller(caller, millis),
            Step::Partition(caller, server, millis) => {
                let (one, other) = (CALLERS[usize::from(caller)], SERVERS[usize::from(server)]);
                self.world.partition(&id(one), &id(other));
                self.comes_back(millis, Back::Reach);
            }
        }
    }

    fn set_links(&self, loss: u8, doubling: u8) {
        self.world.set_loss(f64::from(loss) / 100.0);
        self.world.set_disorder(f64::from(doubling) / 100.0, 0.0);
    }

    fn disorder(&mut self, late_ms: u16, after_ms: u16) {
        let late_max = Duration::from_millis(late_ms.into());
        let late = LinkTrouble::Reordering { percent: 50, late_max };
        let after = Duration::from_millis(after_ms.into());
        let stale = LinkTrouble::StaleCopy { percent: 30, after };
        let plan = [late, stale].into_iter().fold(FaultPlan::new(self.numbers), |plan, trouble| {
            plan.with(Duration::ZERO, DISORDER_LASTS, Fault::everywhere(trouble))
        });
        self.world.follow(plan.later(self.world.now()));
    }

    fn ask(&mut self, question: Question) {
        self.numbers += 1;
        let Question { caller, server, what, millis } = question;
        let (number, work) = (self.numbers, u64::from(millis));
        let from = if what == What::Stranger { STRANGER } else { CALLERS[usize::from(caller)] };
        let named = SERVERS.get(usize::from(server)).map(|name| id(name));
        let at = named.map_or_else(Address::any, |node| Address::server(&node));
        let way = SERVERS.map(str::to_owned).to_vec();
        let Some(rpc) = self.world.handle::<Rpc>(&id(from)) else { return };
        let call = async move {
            let client = rpc.client::<Probe>().at(at);
            let cx = cx(&rpc);
            match what {
                What::Fenced => client.call(&Fenced(number, work), &cx).await,
                What::Shaky => client.call(&Shaky(number), &cx).await,
                What::Remembered => client.call(&Remembered(number, work), &cx).await,
                What::Once | What::Stranger => client.call(&Once(number, work), &cx).await,
                What::Note => client.cast(&Note(number), &cx).map(|()| number),
                What::Fanout => client.fanout(&Note(number), &cx).map(|_| number),
                What::Relay => client.call(&Relay(number, work.min(RELAY_MAX_MS), way), &cx).await,
            }
        };
        self.record.asked(number, what);
        if let Some(outcome) = self.world.begin(&id(from), call) {
            self.asked.push(Asked { number, question, outcome });
        }
    }

    fn fail(&mut self, server: u8, millis: u8) {
        self.fails += 1;
        if self.fails > FAILS_MAX {
            return;
        }
        let Some(rpc) = self.world.handle::<Rpc>(&id(CALLERS[0])) else { return };
        let at = Address::server(&id(SERVERS[usize::from(server)]));
        let call = async move {
            let _ = rpc.client::<Probe>().at(at).call(&Fail(millis.into()), &cx(&rpc)).await;
        };
        let _ = self.world.begin(&id(CALLERS[0]), call);
    }

    fn crash(&mut self, name: &'static str, millis: u16) {
        if self.world.is_up(&id(name)) {
            self.world.crash(&id(name));
            self.comes_back(millis, Back::Node(name));
        }
    }

    /// It asks again, when it is back, for what it was not answered.
    fn crash_caller(&mut self, caller: u8, millis: u16) {
        let unanswered = self.asked.iter().map(|asked| asked.question);
        let anew: Vec<_> = unanswered
            .filter(|question| question.caller == caller && question.what != What::Stranger)
            .take(ANEW_MAX)
            .collect();
        self.crash(CALLERS[usize::from(caller)], millis);
        self.comes_back(millis, Back::Questions(anew));
    }

    fn comes_back(&mut self, millis: u16, what: Back) {
        self.numbers += 1;
        let at = self.world.now() + Duration::from_millis(millis.into());
        let at = if matches!(what, Back::Questions(_)) { at + SETTLES_IN } else { at };
        self.back.insert((at, self.numbers), what);
    }

    fn step_for(&mut self, duration: Duration) {
        let end = self.world.now() + duration;
        while self.world.now() < end {
            self.world.step();
            while let Some(entry) =
                self.back.first_entry().filter(|e| e.key().0 <= self.world.now())
            {
                match entry.remove() {
                    Back::Node(name) => self.world.start(&id(name)),
                    Back::Reach => self.world.heal(),
                    Back::Questions(all) => all.into_iter().for_each(|one| self.ask(one)),
                }
            }
            self.look();
        }
    }

    /// Holds every answer that has come against what was done.
    fn look(&mut self) {
        let record = &self.record;
        self.asked.retain_mut(|asked| match asked.outcome.try_recv() {
            Ok(outcome) => {
                record.answered(asked.number, asked.question.what, &outcome);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Closed) => false,
        });
    }

    fn end_troubles(&mut self) {
        self.set_links(0, 0);
        self.world.follow(FaultPlan::new(self.numbers));
        self.step_for(SETTLES);
    }

    /// Nothing is wrong any more: everybody answers everybody, however much is asked at once.
    fn probe(&mut self) {
        let first = self.numbers + 1;
        for caller in 0..2 {
            for server in 0..2 {
                for what in [What::Fenced, What::Remembered, What::Once, What::Relay] {
                    self.ask(Question { caller, server, what, millis: 0 });
                }
            }
        }
        let rpc: Option<Rpc> = self.world.handle(&id(CALLERS[0]));
        for number in 0..BURST {
            let Some(rpc) = rpc.clone() else { break };
            let call = async move {
                let client = rpc.client::<Probe>().on(&id(SERVERS[0]));
                client.call(&Bulky(number), &cx(&rpc)).await
            };
            if let Some(outcome) = self.world.begin(&id(CALLERS[0]), call) {
                let what = What::Fenced;
                let question = Question { caller: 0, server: 0, what, millis: 0 };
                self.asked.push(Asked { number, question, outcome });
            }
        }
        self.record.expects_answers(first);
        self.step_for(Duration::from_secs(15));
        assert!(self.asked.is_empty(), "{} calls on a healthy network never end", self.asked.len());
    }
}
