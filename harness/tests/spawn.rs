//! Actors that one node starts on another: supervised from afar, and never two at work for one owner's wish.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use updraft_harness::world::{Boot, NodeContext, Tier, World};
use updraft_runtime::{
    message,
    node::{Node, Prepared},
    protocol,
    rpc::{Address, CallError, Cx, FaultKind, Refusal, Rpc, Service, TraceContext},
    spawn::{Kinds, LEASE, RemoteActor, SpawnError, remote_child},
    supervise::{Settings, Supervisor},
};
use updraft_transport::{NodeId, PeerIdentity};

/// What counts.
pub struct Counter;
protocol!(Counter = "counter");

/// "Add this to what you have."
#[derive(Serialize, Deserialize)]
pub struct Add(u64);
message!(call Add = Counter / "add", Never, from ["control"], to ["compute"], reply u64);

/// "Fail."
#[derive(Serialize, Deserialize)]
pub struct Fail;
message!(call Fail = Counter / "fail", Never, from ["control"], to ["compute"], reply ());

const LIMIT: Duration = Duration::from_secs(60);

/// Actors at work, and the most that were at once.
#[derive(Clone, Default)]
struct AtWork {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// One of them, while it is there.
struct One(AtWork);

impl AtWork {
    fn one(&self) -> One {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        One(self.clone())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counters that begin at a number.
fn kinds(at_work: &AtWork) -> Kinds {
    let at_work = at_work.clone();
    Kinds::new().with("counter", &["control"], move |start: u64, _| {
        let (one, count) =
            (at_work.one(), Arc::new(AtomicUsize::new(usize::try_from(start).unwrap())));
        async move {
            Ok(Service::of::<Counter>()
                .call(move |_, Add(more)| {
                    let _here = &one;
                    let more = usize::try_from(more).unwrap();
                    let sum = count.fetch_add(more, Ordering::Relaxed) + more;
                    async move { Ok(sum as u64) }
                })
                .call(|_, Fail| async { panic!("as it was told") })
                .into())
        }
    })
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn boot(at_work: Option<AtWork>) -> Boot {
    Arc::new(move |context: NodeContext| {
        let at_work = at_work.clone();
        Box::pin(async move {
            let handles = context.handles();
            let prepared = Prepared::new(context.parts(&[id("owner")]));
            let node = match at_work {
                Some(at_work) => prepared.with_kinds(kinds(&at_work)).start(Vec::new()).await,
                None => {
                    let directory = prepared.directory().service();
                    prepared.start(vec![directory]).await
                }
            };
            let node = Arc::new(node.unwrap());
            handles.keep(|| node.rpc().clone());
            handles.keep(|| node);
        })
    })
}

/// An owner, and two hosts that know counters.
struct Spawning {
    world: World,
    at_work: AtWork,
}

impl Spawning {
    fn start(seed: u64) -> Self {
        let (mut world, at_work) = (World::on_tier(seed, Tier::Memory), AtWork::default());
        world.add(PeerIdentity::new(id("owner"), &["control"]), boot(None));
        for host in ["one", "two"] {
            world.add(PeerIdentity::new(id(host), &["compute"]), boot(Some(at_work.clone())));
        }
        world.run_for(Duration::from_secs(2));
        Self { world, at_work }
    }

    /// Does something on the owner.
    fn on_owner<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        work: impl FnOnce(Arc<Node>) -> F,
    ) -> T {
        let node: Arc<Node> = self.world.handle(&id("owner")).unwrap();
        self.world.on(&id("owner"), LIMIT, work(node)).unwrap()
    }

    fn spawn(&mut self, host: &str, kind: &'static str) -> Result<RemoteActor, SpawnError> {
        let host = id(host);
        self.on_owner(|node| async move { node.spawn(&host, kind, &10_u64).await })
    }

    fn add(&mut self, to: Address) -> Result<u64, CallError> {
        self.on_owner(|node| async move {
            node.rpc().client::<Counter>().at(to).call(&Add(1), &cx()).await
        })
    }

    fn now_at_work(&self) -> usize {
        self.at_work.now.load(Ordering::Relaxed)
    }

    fn run_secs(&mut self, secs: u64) {
        self.world.run_for(Duration::from_secs(secs));
    }

    /// Has a counter supervised by the owner, on `one` while that lives and else on `two`.
    fn supervised(&mut self) -> watch::Receiver<Option<Address>> {
        let place = |rpc: &Rpc| {
            ["one", "two"].map(id).into_iter().find(|host| rpc.directory().is_live(host))
        };
        self.on_owner(|node| async move {
            let rpc = node.rpc();
            let (child, address) = remote_child(rpc, "counter", "counter", &10_u64, place).unwrap();
            let settings = Settings::default();
            let supervisor = Supervisor::start(rpc.env().clone(), settings, vec![child]).await;
            // The actor of the supervisor lives on without its handle.
            drop(supervisor.unwrap());
            address
        })
    }

    /// Waits until a counter answers on this host.
    fn answers_on(&mut self, host: &str, address: &watch::Receiver<Option<Address>>) {
        let end = self.world.now() + LIMIT;
        loop {
            let told = address.borrow().clone();
            let there = told.filter(|address| address.server == Some(id(host)));
            if there.is_some_and(|address| self.add(address).is_ok()) {
                return;
            }
            assert!(self.world.now() < end, "no counter answers on {host}");
            self.run_secs(1);
        }
    }
}

fn cx() -> Cx {
    Cx::new("test", TraceContext::default())
}

#[test]
fn an_actor_is_started_called_and_ended_on_another_node() {
    let mut spawning = Spawning::start(1);
    let actor = spawning.spawn("one", "counter").unwrap();
    let address = actor.address().clone();
    assert_eq!(spawning.add(address.clone()).unwrap(), 11);
    assert_eq!(spawning.add(address.clone()).unwrap(), 12);
    assert!(spawning.on_owner(|_| actor.stop()));
    spawning.run_secs(1);
    assert_eq!(spawning.now_at_work(), 0);
    let gone = spawning.add(address);
    let refused = matches!(gone, Err(CallError::Refused { refusal: Refusal::NoRoute(_), .. }));
    assert!(refused, "{gone:?}");
}

#[test]
fn two_actors_of_a_kind_on_one_node_are_told_apart() {
    let mut spawning = Spawning::start(2);
    let [one, other] = [(); 2].map(|()| spawning.spawn("one", "counter").unwrap());
    assert_eq!(spawning.add(one.address().clone()).unwrap(), 11);
    assert_eq!(spawning.add(other.address().clone()).unwrap(), 11);
}

#[test]
fn a_kind_that_a_node_does_not_know_is_refused_in_words() {
    let mut spawning = Spawning::start(3);
    let Err(SpawnError::Host { source, .. }) = spawning.spawn("one", "gauge") else { panic!() };
    assert_eq!(source.fault().unwrap().kind, FaultKind::NotFound);
    assert!(source.to_string().contains("known: counter"), "{source}");
}

#[test]
fn under_loss_one_wish_is_one_actor() {
    for seed in 4..8 {
        let mut spawning = Spawning::start(seed);
        spawning.world.set_loss(0.05);
        let actor = spawning.spawn("one", "counter").unwrap();
        spawning.run_secs(60);
        assert_eq!(spawning.now_at_work(), 1, "seed {seed}");
        assert_eq!(spawning.at_work.most.load(Ordering::Relaxed), 1, "seed {seed}");
        drop(actor);
    }
}

#[test]
fn an_actor_that_fails_is_started_anew_by_its_owner() {
    let mut spawning = Spawning::start(9);
    let address = spawning.supervised();
    spawning.answers_on("one", &address);
    let first = address.borrow().clone().unwrap();
    let fail = first.clone();
    let failed = spawning.on_owner(|node| async move {
        node.rpc().client::<Counter>().at(fail).call(&Fail, &cx()).await
    });
    assert!(matches!(failed, Err(CallError::Unknown { .. })), "{failed:?}");
    spawning.run_secs(3);
    spawning.answers_on("one", &address);
    assert_ne!(address.borrow().clone(), Some(first));
}

#[test]
fn an_actor_whose_host_dies_is_started_on_another() {
    let mut spawning = Spawning::start(10);
    let address = spawning.supervised();
    spawning.answers_on("one", &address);
    spawning.world.crash(&id("one"));
    spawning.answers_on("two", &address);
    assert_eq!(spawning.at_work.most.load(Ordering::Relaxed), 1);
}

#[test]
fn a_short_partition_ends_nothing_and_a_long_one_ends_the_actor_before_another_starts() {
    let mut spawning = Spawning::start(11);
    let address = spawning.supervised();
    spawning.answers_on("one", &address);
    let first = address.borrow().clone();
    spawning.world.partition(&id("owner"), &id("one"));
    spawning.run_secs(2);
    spawning.world.heal();
    spawning.run_secs(10);
    assert_eq!(*address.borrow(), first, "it is the same one");
    spawning.world.partition(&id("owner"), &id("one"));
    spawning.answers_on("two", &address);
    assert_eq!(spawning.at_work.most.load(Ordering::Relaxed), 1, "never two at once");
    assert_eq!(spawning.now_at_work(), 1);
}

#[test]
fn an_actor_whose_hosts_answers_are_lost_ends_before_another_starts() {
    let mut spawning = Spawning::start(14);
    let address = spawning.supervised();
    spawning.answers_on("one", &address);
    // What the owner sends still arrives, renewals too.
    spawning.world.cut(&id("one"), &id("owner"));
    spawning.answers_on("two", &address);
    assert_eq!(spawning.at_work.most.load(Ordering::Relaxed), 1, "never two at once");
}

#[test]
fn who_has_no_role_for_a_kind_is_refused_in_words() {
    let mut spawning = Spawning::start(15);
    let node: Arc<Node> = spawning.world.handle(&id("two")).unwrap();
    let asked = async move { node.spawn(&id("one"), "counter", &10_u64).await.map(|_| ()) };
    let refused = spawning.world.on(&id("two"), LIMIT, asked).unwrap().unwrap_err();
    assert!(refused.to_string().contains("may not have actors of kind counter"), "{refused}");
    assert_eq!(spawning.now_at_work(), 0);
}

#[test]
fn an_actor_whose_owner_dies_ends_with_its_lease() {
    let mut spawning = Spawning::start(12);
    let actor = spawning.spawn("one", "counter").unwrap();
    spawning.world.crash(&id("owner"));
    spawning.run_secs(1);
    assert_eq!(spawning.now_at_work(), 1, "its lease has not passed");
    spawning.run_secs(LEASE.as_secs());
    assert_eq!(spawning.now_at_work(), 0);
    drop(actor);
}

#[test]
fn an_actor_that_is_let_go_ends_with_its_lease() {
    let mut spawning = Spawning::start(13);
    drop(spawning.spawn("one", "counter").unwrap());
    spawning.run_secs(LEASE.as_secs() + 1);
    assert_eq!(spawning.now_at_work(), 0);
}
