//! Actors that one node starts on another: however clocks jump and whoever cannot be reached, one is at work at most.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use updraft_harness::world::{Boot, NodeContext, World};
use updraft_runtime::{
    Env,
    env::{self, BlockingWork, BoxFuture, Gone, UnixMicros},
    message,
    node::Prepared,
    protocol,
    rpc::{Rpc, Service},
    spawn::{Kinds, remote_child},
    supervise::{Settings, Supervisor},
};
use updraft_transport::{NodeId, PeerIdentity};

use super::Steps;

/// Most steps of a case.
const STEPS_MAX: usize = 20;

/// The longest partition, and then as long as it takes until a lease is given up and another actor has begun.
const SETTLES: Duration = Duration::from_secs(90);

/// Those that run actors for the owner.
const HOSTS: [&str; 2] = ["one", "two"];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The wall clock of a host is set by so many seconds, back if less than zero.
    Jump(u8, i16),
    /// The owner and a host do not reach each other for so many milliseconds.
    Partition(u8, u16),
    /// Nothing, for so many milliseconds.
    Wait(u16),
}

/// A case.
pub type Case = Steps<Step>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut step = || match rng.random_range(0..6) {
        0..2 => Step::Jump(rng.random_range(0..2), rng.random_range(-3_600..3_600)),
        2..4 => Step::Partition(rng.random_range(0..2), rng.random_range(0..30_000)),
        _ => Step::Wait(rng.random_range(0..10_000)),
    };
    let steps = (0..STEPS_MAX).map(|_| step()).collect();
    Case { seed, steps }
}

/// An environment whose wall clock somebody sets.
struct Set {
    env: Env,
    by_micros: Arc<AtomicI64>,
}

impl env::World for Set {
    fn now(&self) -> Duration {
        self.env.now()
    }

    fn waits(&self, duration: Duration) {
        self.env.waits(duration);
    }

    fn wall(&self) -> UnixMicros {
        UnixMicros(self.env.wall().0.saturating_add_signed(self.by_micros.load(Ordering::Relaxed)))
    }

    fn seed(&self, stream: &'static str) -> [u8; 32] {
        let mut seed = [0; 32];
        self.env.rng(stream).fill_bytes(&mut seed);
        seed
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.env.spawn(name, task);
    }

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        let env = self.env.clone();
        Box::pin(async move { env.blocking(work).await })
    }
}

/// How many actors are at work.
#[derive(Clone, Default)]
struct AtWork(Arc<AtomicUsize>);

struct One(AtWork);

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AtWork {
    fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(self.clone())
    }
}

/// What the actor is asked.
struct Actor;
protocol!(Actor = "bugs.actor");

#[derive(Serialize, Deserialize)]
struct Hello;
message!(call Hello = Actor / "hello", Fenced, from ["control"], to ["compute"], reply ());

fn kinds(at_work: &AtWork) -> Kinds {
    let at_work = at_work.clone();
    Kinds::new().with("actor", &["control"], move |(): (), _| {
        let one = Arc::new(at_work.one());
        async move {
            let hello = move |_, Hello| {
                let one = one.clone();
                async move {
                    drop(one);
                    Ok(())
                }
            };
            Ok(Service::of::<Actor>().call(hello).into())
        }
    })
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap_or_else(|error| panic!("{error}"))
}

fn host(at_work: &AtWork, by_micros: &Arc<AtomicI64>) -> Boot {
    let (at_work, by_micros) = (at_work.clone(), by_micros.clone());
    Arc::new(move |mut context: NodeContext| {
        let set = Set { env: context.env.clone(), by_micros: by_micros.clone() };
        context.env = Env::new(set);
        let kinds = kinds(&at_work);
        Box::pin(async move {
            let handles = context.handles();
            let prepared = Prepared::new(context.parts(&[id("owner")])).with_kinds(kinds);
            if let Ok(node) = prepared.start(Vec::new()).await {
                handles.keep(|| Arc::new(node));
            }
        })
    })
}

/// Any host that the owner hears of.
fn place(rpc: &Rpc) -> Option<NodeId> {
    HOSTS.map(id).into_iter().find(|host| rpc.directory().is_live(host))
}

fn owner() -> Boot {
    Arc::new(|context: NodeContext| {
        Box::pin(async move {
            let (handles, env) = (context.handles(), context.env.clone());
            let prepared = Prepared::new(context.parts(&[]));
            let directory = prepared.directory().service();
            let Ok(node) = prepared.start(vec![directory]).await else { return };
            let Ok((child, _)) = remote_child(node.rpc(), "actor", "actor", &(), place) else {
                return;
            };
            let settings = Settings { restarts_max: 1_000, ..Settings::default() };
            if let Ok(supervisor) = Supervisor::start(env, settings, vec![child]).await {
                handles.keep(|| supervisor);
            }
            handles.keep(|| Arc::new(node));
        })
    })
}

/// Runs a case.
///
/// # Panics
/// If two actors are at work for the one that is wanted.
pub fn run(case: &Case) {
    let mut world = World::new(case.seed);
    let at_work = AtWork::default();
    let clocks: [Arc<AtomicI64>; 2] = Default::default();
    world.add(PeerIdentity::new(id("owner"), &["control"]), owner());
    for (name, clock) in HOSTS.iter().zip(&clocks) {
        world.add(PeerIdentity::new(id(name), &["compute"]), host(&at_work, clock));
    }
    let mut cut: Vec<Duration> = Vec::new();
    run_for(&mut world, &at_work, &mut cut, Duration::from_secs(5));
    for step in &case.steps {
        match *step {
            Step::Jump(host, seconds) => {
                let micros = i64::from(seconds) * 1_000_000;
                clocks[usize::from(host)].fetch_add(micros, Ordering::Relaxed);
            }
            Step::Partition(host, millis) => {
                world.partition(&id("owner"), &id(HOSTS[usize::from(host)]));
                cut.push(world.now() + Duration::from_millis(millis.into()));
            }
            Step::Wait(millis) => {
                run_for(&mut world, &at_work, &mut cut, Duration::from_millis(millis.into()));
            }
        }
    }
    run_for(&mut world, &at_work, &mut cut, SETTLES);
    let count = at_work.0.load(Ordering::Relaxed);
    assert!(count == 1, "in the end the actor that is wanted is at work: {count} are");
}

fn run_for(world: &mut World, at_work: &AtWork, cut: &mut Vec<Duration>, duration: Duration) {
    let end = world.now() + duration;
    while world.now() < end {
        world.step();
        let now = world.now();
        if !cut.is_empty() && cut.iter().all(|until| *until <= now) {
            cut.clear();
            world.heal();
        }
        let count = at_work.0.load(Ordering::Relaxed);
        assert!(count <= 1, "one actor is at work for one wish: {count} are at {now:?}");
    }
}
