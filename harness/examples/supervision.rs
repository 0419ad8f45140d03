//! A supervision tree: a worker that crashes over some of its mail, and a counter on another node that is started
//! anew on a third when its own dies.
//!
//! What waits in the worker's mailbox outlives its crashes. `--real`, `--quic` and `--seed NUMBER` choose where it
//! runs.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "an example")]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{
    mailbox::{WhenFull, Worker, worker},
    message,
    node::Prepared,
    protocol,
    rpc::{Address, Cx, Rpc, Service, TraceContext},
    spawn::{Kinds, remote_child},
    supervise::{Settings, Strategy, Supervisor},
};
use updraft_transport::NodeId;

/// What counts.
struct Counter;
protocol!(Counter = "counter");

/// "Count on."
#[derive(Serialize, Deserialize)]
struct Next;
message!(call Next = Counter / "next", Never, from ["control"], to ["host"], reply u64);

const HOSTS: [&str; 2] = ["host-1", "host-2"];

/// Adds up numbers; thirteen is too much for it.
struct Adder(Arc<AtomicU64>);

impl Worker for Adder {
    type Mail = u64;

    async fn handle(&mut self, number: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
        if number == 13 {
            return Err("thirteen".into());
        }
        self.0.fetch_add(number, Ordering::Relaxed);
        Ok(())
    }
}

/// A node that can be told to run counters.
async fn host(node: NodeContext) {
    let kinds = Kinds::new().with("counter", &["control"], |start: u64, _| async move {
        let count = AtomicU64::new(start);
        let handlers = Service::of::<Counter>().call(move |_, Next| {
            let next = count.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Ok(next) }
        });
        Ok(handlers.into())
    });
    let seeds = [NodeId::new("boss").expect("legal")];
    let (handles, prepared) = (node.handles(), Prepared::new(node.parts(&seeds)));
    let running = prepared.with_kinds(kinds).start(Vec::new()).await.expect("it starts");
    handles.keep(|| Arc::new(running));
}

/// The first host that lives.
fn place(rpc: &Rpc) -> Option<NodeId> {
    let hosts = HOSTS.iter().filter_map(|name| NodeId::new(name).ok());
    hosts.into_iter().find(|host| rpc.directory().is_live(host))
}

/// Starts the tree, gives the adder its mail, and counts until the counter has moved to the other host.
async fn boss(rpc: Rpc, sum: Arc<AtomicU64>, counted: Arc<AtomicU64>) -> (u64, Vec<NodeId>) {
    let env = rpc.env().clone();
    let made = sum.clone();
    let (mailbox, adder) = worker("adder", 100, WhenFull::Refuse, move || Adder(made.clone()));
    let (counter, told) = remote_child(&rpc, "counter", "counter", &0_u64, place).expect("encodes");
    let remote = Supervisor::child(&env, "remote", Settings::default(), vec![counter]);
    let settings = Settings { strategy: Strategy::OneForOne, ..Settings::default() };
    let _tree =
        Supervisor::start(env.clone(), settings, vec![adder, remote]).await.expect("starts");
    for number in 1..=20 {
        mailbox.send(number).await.expect("there is room");
    }
    let (mut hosts, cx) = (Vec::new(), Cx::new("boss", TraceContext::default()));
    while hosts.len() < HOSTS.len() || sum.load(Ordering::Relaxed) < 197 {
        let address: Option<Address> = told.borrow().clone();
        if let Some(address) = address
            && rpc.client::<Counter>().at(address.clone()).call(&Next, &cx).await.is_ok()
        {
            counted.fetch_add(1, Ordering::Relaxed);
            if hosts.last() != address.server.as_ref() {
                hosts.extend(address.server);
            }
        }
        env.sleep(Duration::from_millis(50)).await;
    }
    (sum.load(Ordering::Relaxed), hosts)
}

fn main() {
    let mut world = World::from_args();
    let node = world.node("boss", &["control"], |node| {
        node.serve(&[], |prepared| vec![prepared.directory().service()])
    });
    let [first, second] = HOSTS.map(|name| world.node(name, &["host"], host));
    let minute = Duration::from_secs(60);
    let both = |world: &mut World| {
        let Some(rpc) = world.handle::<Rpc>(&node) else { return false };
        let hosts = [first.clone(), second.clone()];
        let live = async move { hosts.iter().all(|host| rpc.directory().is_live(host)) };
        world.on(&node, minute, live) == Some(true)
    };
    world.run_until(minute, both);
    let rpc: Rpc = world.handle(&node).expect("the boss runs");
    let counted = Arc::new(AtomicU64::new(0));
    let work = boss(rpc, Arc::default(), counted.clone());
    let mut work = world.begin(&node, work).expect("the boss runs");
    world.run_until(minute, |_| counted.load(Ordering::Relaxed) > 0);
    world.crash(&first);
    let mut done = None;
    world.run_until(minute, |_| {
        done = work.try_recv().ok();
        done.is_some()
    });
    let (sum, hosts) = done.expect("the counter moves");
    assert_eq!((sum, hosts), (210 - 13, vec![first, second]));
    println!("the adder survived thirteen, and the counter the death of its host");
}
