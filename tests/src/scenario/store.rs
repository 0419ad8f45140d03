//! The embedded store alone, on a disk that fails: whatever goes wrong, what was acknowledged is there, what was refused
//! is not, and what is unknown is there whole or not at all.

mod ledger;

use std::{fmt, time::Duration};

use proptest::{collection, option, prelude::*};
use serde::{Deserialize, Serialize};
use updraft_harness::{
    campaign::{Options, Run, Scenario},
    fault::{DiskTrouble, Fault, FaultKind, FaultPlan, Target, Targets},
    world::{NodeContext, Tier, World},
};
use updraft_runtime::store::{OpenError, Store, StoreError, Txn};
use updraft_transport::NodeId;

use super::Case;
use ledger::{Ledger, Told};

/// For how long things go wrong.
const FAULTS_MAX: Duration = Duration::from_secs(20);

/// How long a store may take to serve once nothing goes wrong any more: its next try, and a slow sync before it.
const SERVES_WITHIN: Duration = Duration::from_secs(20);

/// How long anything may take that a client asks of a store.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most steps of a case.
const STEPS_MAX: usize = 60;

const NODE: &str = "one";

/// What may go wrong.
fn kinds() -> Vec<FaultKind> {
    let of_disks = FaultKind::ALL.iter().copied().filter(|kind| kind.is_of_disks());
    std::iter::once(FaultKind::Crash).chain(of_disks).collect()
}

/// Commits that a client sends at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How many.
    pub commits: u8,
    /// Of which of a few pairs of rows the first is.
    pub pair: u8,
    /// Whether they may be acknowledged before they are durable.
    pub relaxed: bool,
    /// How many bytes each row has.
    pub bytes: u16,
    /// So many milliseconds after they were sent the power fails, if it does.
    pub power_fails_ms: Option<u8>,
    /// The pause behind it, in milliseconds.
    pub pause_ms: u16,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commits, pair, relaxed, bytes, power_fails_ms, pause_ms } = self;
        let how = if *relaxed { "relaxed commits" } else { "commits" };
        write!(f, "{commits} {how} of {bytes} bytes from pair {pair} on, then {pause_ms} ms")?;
        match power_fails_ms {
            Some(ms) => write!(f, "; after {ms} ms the power fails"),
            None => Ok(()),
        }
    }
}

/// The scenario.
pub struct Stored;

impl Scenario for Stored {
    type Case = Case<Step>;

    fn name(&self) -> &'static str {
        "store"
    }

    fn about(&self) -> &'static str {
        "the embedded store alone on a disk that fails, and its node crashes"
    }

    fn faults(&self) -> Vec<&'static str> {
        kinds().into_iter().map(FaultKind::name).collect()
    }

    fn marks(&self) -> &'static [&'static str] {
        &ledger::MARKS
    }

    fn draw(&self, seed: u64, options: &Options) -> Case<Step> {
        // Its store is on a disk that fails on every tier.
        let options = Options { tier: Tier::Disks, ..options.clone() };
        Case::draw(seed, &options, &steps(), targets())
    }

    fn run(&self, case: &Case<Step>, run: &Run) {
        Client::start(case, run).go_through(case);
    }

    fn smaller(&self, case: &Case<Step>) -> Vec<Case<Step>> {
        case.smaller(&targets())
    }
}

fn targets() -> Targets {
    Targets { kinds: kinds(), ..Targets::new(&[NODE], FAULTS_MAX) }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = (1..5_u8, 0..ledger::PAIRS, any::<bool>(), 1..3_000_u16);
    // A commit takes two syncs of up to 4 ms.
    let power_fails = option::weighted(0.2, 0..10_u8);
    let step = (what, power_fails, 0..800_u16).prop_map(|(what, power_fails_ms, pause_ms)| {
        let (commits, pair, relaxed, bytes) = what;
        Step { commits, pair, relaxed, bytes, power_fails_ms, pause_ms }
    });
    collection::vec(step, 1..=STEPS_MAX)
}

/// A node has left it whose store did not open, and why.
#[derive(Clone)]
struct NotOpened(String);

async fn boot(context: NodeContext) {
    let file = context.drive.file("store.redb");
    match Store::redb_on(context.env.clone(), file).await {
        Ok(store) => drop(context.handles().keep(|| store)),
        Err(error) => {
            let damaged = matches!(error, OpenError::Damaged { .. } | OpenError::Format { .. });
            let why = if damaged { error.to_string() } else { String::new() };
            context.handles().keep(|| NotOpened(why));
        }
    }
}

/// Who sends commits and remembers what was said.
struct Client<'a> {
    world: World,
    node: NodeId,
    run: &'a Run,
    ledger: Ledger,
}

impl<'a> Client<'a> {
    fn start(case: &Case<Step>, run: &'a Run) -> Self {
        let mut world = World::on_tier(case.seed, run.tier());
        let node = world.node(NODE, &["control"], boot);
        world.follow(case.faults.clone());
        Self { world, node, run, ledger: Ledger::default() }
    }

    fn go_through(mut self, case: &Case<Step>) {
        for step in &case.steps {
            self.world.tell_step(step);
            if let Some(store) = self.serving() {
                self.commit(&store, *step);
            }
            if step.power_fails_ms.is_some() && self.world.is_up(&self.node) {
                self.world.crash(&self.node);
                self.world.start(&self.node);
            }
            self.world.run_for(Duration::from_millis(step.pause_ms.into()));
            self.look();
        }
        let over = case.faults.ends().saturating_sub(self.world.now());
        self.world.run_for(over);
        self.must_serve();
        self.lose_power(case.seed);
        for (kind, times) in self.world.struck() {
            self.run.struck(&kind.to_string(), times);
        }
    }

    /// The store, as far as it serves; a node that did not open it is started again, as a machine does.
    fn serving(&mut self) -> Option<Store> {
        if let Some(NotOpened(damage)) = self.world.handle(&self.node) {
            if !damage.is_empty() {
                self.run.violated("no disk's fault damages a store", &damage);
            }
            self.run.reached(ledger::NOT_OPENED);
            self.world.crash(&self.node);
            self.world.start(&self.node);
        }
        self.world.handle(&self.node)
    }

    fn commit(&mut self, store: &Store, step: Step) {
        let numbers: Vec<u64> = (0..step.commits).map(|_| self.ledger.begin(step)).collect();
        let sends: Vec<_> =
            numbers.iter().map(|number| send(store.clone(), step, *number)).collect();
        let limit = step.power_fails_ms.map_or(PATIENCE, |ms| Duration::from_millis(ms.into()));
        let sent = self.world.on(&self.node, limit, futures_util::future::join_all(sends));
        for (at, number) in numbers.into_iter().enumerate() {
            let told = match sent.as_ref().map(|sent| &sent[at]) {
                Some(Ok(_)) if step.relaxed => Told::Nothing,
                Some(Ok(_)) => Told::Done,
                // What a node says in the instant of its crash is not heard.
                None | Some(Err(StoreError::Unknown)) => Told::Nothing,
                Some(Err(error)) => self.refused(error),
            };
            self.ledger.end(number, told, self.run);
        }
    }

    fn refused(&self, error: &StoreError) -> Told {
        match error {
            StoreError::NoSpace(_) | StoreError::Unavailable(_) => self.run.reached(ledger::OUTAGE),
            StoreError::Conflict => {}
            other => self.run.violated("a store says what is wrong", &other.to_string()),
        }
        Told::Refused
    }

    /// Compares what is stored with what was said, if the store serves.
    fn look(&mut self) -> bool {
        let Some(store) = self.serving() else { return false };
        let read = async move {
            let rows = store.read(ledger::rows).await?;
            Ok::<_, StoreError>((rows, ledger::log(&store).await?))
        };
        let Some(Ok((rows, log))) = self.world.on(&self.node, PATIENCE, read) else { return false };
        if let Err(why) = self.ledger.compare(&rows, &log, self.run) {
            self.run.violated("the store holds what it has said", &why);
        }
        true
    }

    fn must_serve(&mut self) {
        let until = self.world.now() + SERVES_WITHIN;
        while !self.look() {
            if self.world.now() > until {
                self.run.violated("a store serves once its disk works", "it does not");
            }
            self.world.run_for(Duration::from_millis(100));
        }
    }

    /// Everything that is not synced is lost, which nothing that was said may depend on.
    fn lose_power(&mut self, seed: u64) {
        let trouble = DiskTrouble::LostWrites;
        let fault = Fault::Disk { nodes: Target::All, percent: 100, trouble };
        self.world.follow(FaultPlan::new(seed).with(Duration::ZERO, Duration::MAX, fault));
        self.world.step();
        self.world.crash(&self.node);
        self.world.start(&self.node);
        self.must_serve();
    }
}

async fn send(store: Store, step: Step, number: u64) -> Result<u64, StoreError> {
    let mut txn: Txn = store.begin().await?;
    ledger::write(&mut txn, step, number)?;
    if step.relaxed {
        txn.relax();
    }
    txn.commit().await
}
