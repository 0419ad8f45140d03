//! Messages of every contract, between nodes that anything happens to: what each may count on holds.

use std::{fmt, time::Duration};

use proptest::{collection, prelude::*};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};
use updraft_harness::{
    campaign::{Options, Run, Scenario},
    fault::{FaultKind, Targets},
    world::World,
};
use updraft_runtime::rpc::{Address, CallError, Cx, Rpc, TraceContext};

use super::Case;
use crate::contracts::{
    self, CALLERS, FOUND_WITHIN, Record, STRANGER, What, id,
    nodes::{Fenced, Note, Once, Probe, RELAY_MAX_MS, Relay, Remembered, Shaky},
};

/// Most messages of a case.
const ASKS_MAX: usize = 80;

/// How often handlers panic at most: fewer times than a supervisor bears.
const PANICS_MAX: usize = 8;

/// For how long things go wrong.
const FAULTS_MAX: Duration = Duration::from_secs(20);

/// How long after the last trouble everybody has found everybody again, and every deadline has passed.
const SETTLES: Duration = Duration::from_secs(40);

/// How long the last calls take, with which nothing interferes.
const ANSWERED: Duration = Duration::from_secs(15);

const SERVERS: [&str; 3] = ["one", "two", "three"];

const NODES: [&str; 6] = ["caller-1", "caller-2", "one", "two", "three", "stranger"];

/// What goes wrong with messages, and with those that send and take them.
const KINDS: [FaultKind; 19] = [
    FaultKind::Loss,
    FaultKind::Duplication,
    FaultKind::Reordering,
    FaultKind::Corruption,
    FaultKind::Truncation,
    FaultKind::MtuBlackHole,
    FaultKind::LatencySpike,
    FaultKind::Bandwidth,
    FaultKind::Cut,
    FaultKind::OneWayCut,
    FaultKind::Flapping,
    FaultKind::Partition,
    FaultKind::StaleCopy,
    FaultKind::Crash,
    FaultKind::Pause,
    FaultKind::Slow,
    FaultKind::Skew,
    FaultKind::Drift,
    FaultKind::Jump,
];

/// The scenario.
pub struct Contracts;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// How long after the one before it, in milliseconds.
    pub after_ms: u16,
    /// By whom.
    pub caller: u8,
    /// To this server, or to any.
    pub server: Option<u8>,
    /// What.
    pub what: What,
    /// How long its handler takes, in milliseconds.
    pub work_ms: u16,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after_ms, caller, server, what, work_ms } = self;
        let to = server.map_or("any server", |server| SERVERS[usize::from(server)]);
        let by = CALLERS[usize::from(*caller)];
        write!(f, "after {after_ms} ms, {by}: {what:?} to {to}, {work_ms} ms of work")
    }
}

impl Scenario for Contracts {
    type Case = Case<Ask>;

    fn name(&self) -> &'static str {
        "contracts"
    }

    fn about(&self) -> &'static str {
        "messages of every contract are sent while anything goes wrong, and each keeps its promise"
    }

    fn faults(&self) -> Vec<&'static str> {
        KINDS.iter().map(|kind| kind.name()).collect()
    }

    fn marks(&self) -> &'static [&'static str] {
        &[
            "Fenced is begun twice",
            "Remembered is begun in two lives",
            "Once has an unknown end, and was begun",
            "Once has an unknown end, and was not begun",
            "Note is lost",
            "Fanout reaches some",
        ]
    }

    fn covers(&self) -> &'static [&'static str] {
        &["updraft_runtime::rpc::client", "updraft_runtime::rpc::dispatch"]
    }

    fn draw(&self, seed: u64, options: &Options) -> Case<Ask> {
        Case::draw(seed, options, &collection::vec(ask(), 10..=ASKS_MAX), targets())
    }

    fn run(&self, case: &Case<Ask>, run: &Run) {
        let mut course = Course::begin(case.seed, run);
        let faults = case.faults.clone().later(course.world.now());
        let over = faults.ends();
        course.world.follow(faults);
        for ask in &case.steps {
            course.run_for(Duration::from_millis(ask.after_ms.into()));
            course.world.tell_step(ask);
            course.ask(*ask);
        }
        course.run_for(over.saturating_sub(course.world.now()) + SETTLES);
        course.probe();
        course.end();
    }

    fn smaller(&self, case: &Case<Ask>) -> Vec<Case<Ask>> {
        case.smaller(&targets())
    }
}

fn targets() -> Targets {
    Targets { kinds: KINDS.to_vec(), ..Targets::new(&NODES, FAULTS_MAX) }
}

fn ask() -> impl Strategy<Value = Ask> {
    let what = prop_oneof![
        4 => Just(What::Fenced),
        1 => Just(What::Shaky),
        4 => Just(What::Remembered),
        4 => Just(What::Once),
        3 => Just(What::Note),
        2 => Just(What::Fanout),
        1 => Just(What::Relay),
        1 => Just(What::Stranger),
    ];
    let after_ms = prop_oneof![3 => 0..20_u16, 1 => 0..2_000_u16];
    // Now and then more than a caller waits for.
    let work_ms = prop_oneof![6 => 0..200_u16, 3 => 0..3_000_u16, 1 => 0..15_000_u16];
    let server = proptest::option::of(0..3_u8);
    (after_ms, 0..2_u8, server, what, work_ms).prop_map(
        |(after_ms, caller, server, what, work_ms)| Ask { after_ms, caller, server, what, work_ms },
    )
}

/// A call under way.
struct Asked {
    number: u64,
    what: What,
    outcome: Receiver<Result<u64, CallError>>,
}

struct Course<'a> {
    run: &'a Run,
    world: World,
    record: Record,
    asked: Vec<Asked>,
    numbers: u64,
    panics: usize,
}

impl<'a> Course<'a> {
    fn begin(seed: u64, run: &'a Run) -> Self {
        let (mut world, record) = contracts::world(seed, run.tier(), &SERVERS);
        world.run_for(FOUND_WITHIN);
        Self { run, world, record, asked: Vec::new(), numbers: 0, panics: 0 }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.world.now() + duration;
        while self.world.now() < end {
            self.world.step();
            self.look();
        }
    }

    fn ask(&mut self, Ask { caller, server, mut what, work_ms, .. }: Ask) {
        self.panics += usize::from(what == What::Shaky);
        if self.panics > PANICS_MAX && what == What::Shaky {
            what = What::Fenced;
        }
        let caller = CALLERS[usize::from(caller)];
        let from = id(if what == What::Stranger { STRANGER } else { caller });
        let Some(rpc) = self.world.handle::<Rpc>(&from) else { return };
        self.numbers += 1;
        let message = Message { number: self.numbers, what, server, work_ms: work_ms.into() };
        self.record.asked(self.numbers, what);
        if let Some(outcome) = self.world.begin(&from, message.sent_by(rpc)) {
            self.asked.push(Asked { number: self.numbers, what, outcome });
        }
    }

    /// Holds every answer that has come against what was done.
    fn look(&mut self) {
        let (record, run) = (&self.record, self.run);
        self.asked.retain_mut(|asked| match asked.outcome.try_recv() {
            Ok(outcome) => {
                record.answered(asked.number, asked.what, &outcome);
                mark(run, record, asked, &outcome);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Closed) => false,
        });
    }

    /// Nothing is wrong any more: everybody answers everybody.
    fn probe(&mut self) {
        self.record.expects_answers(self.numbers + 1);
        for caller in 0..2 {
            for server in [None, Some(0), Some(1), Some(2)] {
                for what in [What::Fenced, What::Remembered, What::Once, What::Relay] {
                    self.ask(Ask { after_ms: 0, caller, server, what, work_ms: 0 });
                }
            }
        }
        self.run_for(ANSWERED);
    }

    fn end(self) {
        let Self { run, world, record, asked, .. } = self;
        if !asked.is_empty() {
            let words = format!("{} do not: {}", asked.len(), world.waiting());
            run.violated("every call ends", &words);
        }
        if let Some(first) = record.broken().first() {
            let (check, words) = first.split_once(": ").unwrap_or((first, ""));
            run.violated(check, words);
        }
        record.lives().iter().for_each(|mark| run.reached(mark));
        for (kind, times) in world.struck() {
            run.struck(&kind.to_string(), times);
        }
    }
}

/// A message on its way out.
struct Message {
    number: u64,
    what: What,
    server: Option<u8>,
    work_ms: u64,
}

impl Message {
    async fn sent_by(self, rpc: Rpc) -> Result<u64, CallError> {
        let Self { number, what, server, work_ms } = self;
        let name = |which: u8| SERVERS[usize::from(which) % SERVERS.len()];
        let at = server.map_or_else(Address::any, |which| Address::server(&id(name(which))));
        let client = rpc.client::<Probe>().at(at);
        let cx = Cx::new("contracts", TraceContext::fresh(rpc.env()));
        match what {
            What::Fenced => client.call(&Fenced(number, work_ms), &cx).await,
            What::Remembered => client.call(&Remembered(number, work_ms), &cx).await,
            What::Shaky => client.call(&Shaky(number), &cx).await,
            // Of either contract, by turns.
            What::Stranger if number.is_multiple_of(2) => {
                client.call(&Fenced(number, work_ms), &cx).await
            }
            What::Once | What::Stranger => client.call(&Once(number, work_ms), &cx).await,
            What::Note => client.cast(&Note(number), &cx).map(|()| number),
            What::Fanout => client.fanout(&Note(number), &cx).map(|_| number),
            What::Relay => {
                let first = server.unwrap_or_default();
                let on = [first, first + 1].map(|which| name(which).to_owned()).to_vec();
                client.call(&Relay(number, work_ms.min(RELAY_MAX_MS), on), &cx).await
            }
        }
    }
}

/// Notes what became of a call that was never repeated.
fn mark(run: &Run, record: &Record, asked: &Asked, outcome: &Result<u64, CallError>) {
    let unknown = matches!(outcome, Err(CallError::Unknown { .. }));
    let word = match outcome {
        Ok(_) => "is answered",
        Err(CallError::Refused { .. }) => "is refused",
        Err(CallError::Unknown { .. }) => "has an unknown end",
        Err(CallError::Rejected(_)) => "is rejected",
    };
    run.count(&format!("{:?} {word}", asked.what));
    if asked.what == What::Once && unknown {
        let begun = record.times(asked.number) > 0;
        let how = if begun { "and was begun" } else { "and was not begun" };
        run.reached(&format!("Once has an unknown end, {how}"));
    }
}
