//! What `call`, `cast` and `fanout` promise, over real QUIC, when the network and the nodes misbehave.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod calls;
mod casts;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_harness::world::{Boot, NodeContext, Tier, World};
use updraft_runtime::{
    message,
    node::{Parts, Prepared},
    protocol,
    rpc::{Address, CallError, Cx, Rpc, Service, TraceContext},
};
use updraft_transport::{NodeId, PeerIdentity};

/// What is asked of all nodes but the caller.
pub struct Probe;
protocol!(Probe = "probe");

/// Reads, or is fenced: may be sent again to anybody.
#[derive(Serialize, Deserialize)]
pub struct Fenced(u64, u64);
message!(call Fenced = Probe / "fenced", Fenced, from ["control"], to ["compute"], reply String);

/// Sent again to the same server, which remembers.
#[derive(Serialize, Deserialize)]
pub struct Remembered(u64, u64);
message!(call Remembered = Probe / "remembered", Deduplicated,
    from ["control"], to ["compute"], reply String);

/// Sent once.
#[derive(Serialize, Deserialize)]
pub struct Once(u64, u64);
message!(call Once = Probe / "once", Never, from ["control"], to ["compute"], reply String);

/// Wants no reply.
#[derive(Serialize, Deserialize)]
pub struct Note(u64);
message!(cast Note = Probe / "note", from ["control"], to ["compute"]);

/// Is handled until its caller no longer waits.
#[derive(Serialize, Deserialize)]
pub struct Endless(u64);
message!(call Endless = Probe / "endless", Fenced, from ["control"], to ["compute"], reply String);

/// What no node of these worlds serves.
pub struct Absent;
protocol!(Absent = "nobody");

/// A call that no node of these worlds serves.
#[derive(Serialize, Deserialize)]
pub struct Nobody;
message!(call Nobody = Absent / "is-there", Fenced, from ["control"], to ["control"], reply ());

/// How often each number was handled on a node, over all its lives.
#[derive(Clone, Default)]
struct Handled(Arc<Mutex<BTreeMap<u64, usize>>>);

impl Handled {
    fn add(&self, number: u64) {
        *self.0.lock().entry(number).or_default() += 1;
    }
}

fn probe(context: &NodeContext) -> Service {
    let handled: Handled = context.disk.keep(Handled::default);
    let (name, env) = (context.node().to_string(), context.env.clone());
    let work = move |number: u64, millis: u64| {
        handled.add(number);
        let (env, name) = (env.clone(), name.clone());
        async move {
            env.sleep(Duration::from_millis(millis)).await;
            Ok(name)
        }
    };
    let (fenced, remembered, once) = (work.clone(), work.clone(), work.clone());
    let endless = work.clone();
    Service::of::<Probe>()
        .call(move |ctx, Endless(number)| {
            let work = endless.clone();
            async move {
                ctx.cancelled().await;
                work(number, 0).await
            }
        })
        .call(move |_, Fenced(number, millis)| fenced(number, millis))
        .call(move |_, Remembered(number, millis)| remembered(number, millis))
        .call(move |_, Once(number, millis)| once(number, millis))
        .cast(move |_, Note(number)| {
            let work = work(number, 0);
            async move { work.await.map(|_: String| ()) }
        })
        .into()
}

fn boot(serves: bool) -> Boot {
    Arc::new(move |context: NodeContext| {
        Box::pin(async move {
            let caller = id("caller");
            let service = serves.then(|| probe(&context));
            let (address, handles) = (context.address_of(&context.node()), context.handles());
            let seeds = vec![(caller.clone(), context.address_of(&caller))];
            let prepared = Prepared::new(Parts {
                env: context.env,
                address,
                transport: context.transport,
                events: context.events,
                incarnation: context.incarnation,
                cell: "cell-1".to_owned(),
                seeds,
            });
            let service = service.unwrap_or_else(|| prepared.directory().service());
            let node = Arc::new(prepared.start(vec![service]).await.unwrap());
            handles.keep(|| node.rpc().clone());
            handles.keep(|| node);
        })
    })
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

const LIMIT: Duration = Duration::from_secs(30);

/// A caller, and `one` and `two` that serve; each knows the others.
struct Probes {
    world: World,
}

impl Probes {
    fn start(seed: u64) -> Self {
        let mut world = World::on_tier(seed, Tier::Quic);
        world.add(PeerIdentity::new(id("caller"), &["control"]), boot(false));
        for name in ["one", "two"] {
            world.add(PeerIdentity::new(id(name), &["compute"]), boot(true));
        }
        let mut probes = Self { world };
        probes.knows(2);
        probes
    }

    /// Waits until the caller knows so many servers.
    fn knows(&mut self, servers: usize) {
        let end = self.world.now() + LIMIT;
        loop {
            // A directory reads its clock, so it is asked on its own node.
            let members = self.on_caller(|rpc, _| rpc.directory().servers_of::<Fenced>());
            if members.as_ref().is_some_and(|members| members.len() == servers) {
                break;
            }
            assert!(self.world.now() < end, "{members:?} instead of {servers} servers");
        }
        // Connections are up by then.
        self.world.run_for(Duration::from_millis(100));
    }

    /// Does something on the caller; `None` if it does not run yet.
    fn on_caller<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Rpc, &Cx) -> T + Send + 'static,
    ) -> Option<T> {
        let Some(rpc) = self.world.handle::<Rpc>(&id("caller")) else {
            self.world.step();
            return None;
        };
        let work = async move { work(&rpc, &cx(&rpc)) };
        self.world.on(&id("caller"), LIMIT, work)
    }

    fn cast(&mut self, number: u64) -> Result<(), CallError> {
        self.on_caller(move |rpc, cx| rpc.client::<Probe>().at(to_one()).cast(&Note(number), cx))
            .unwrap()
    }

    fn fanout(&mut self, number: u64) -> usize {
        self.on_caller(move |rpc, cx| rpc.client::<Probe>().fanout(&Note(number), cx))
            .unwrap()
            .unwrap()
    }

    /// Starts a call; its outcome arrives while the world runs.
    fn calls<M: updraft_runtime::rpc::Call<Reply = String>>(
        &mut self,
        to: Address,
        message: M,
    ) -> Outcome {
        let rpc: Rpc = self.world.handle(&id("caller")).unwrap();
        let call =
            async move { rpc.client::<M::Protocol>().at(to).call(&message, &cx(&rpc)).await };
        self.world.begin(&id("caller"), call).unwrap()
    }

    fn outcome(&mut self, mut call: Outcome) -> Result<String, CallError> {
        let mut outcome = None;
        self.world.run_until(LIMIT, |_| {
            outcome = call.try_recv().ok();
            outcome.is_some()
        });
        outcome.unwrap()
    }

    fn run_ms(&mut self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    /// How often `number` was handled on a node.
    fn handled(&self, node: &str, number: u64) -> usize {
        let handled: Handled = self.world.disk(&id(node)).unwrap().get().unwrap();
        handled.0.lock().get(&number).copied().unwrap_or_default()
    }

    fn handled_anywhere(&self, number: u64) -> usize {
        self.handled("one", number) + self.handled("two", number)
    }
}

type Outcome = tokio::sync::oneshot::Receiver<Result<String, CallError>>;

fn cx(rpc: &Rpc) -> Cx {
    Cx::new("test", TraceContext::fresh(rpc.env()))
}

fn to_one() -> Address {
    Address::server(&id("one"))
}

fn is_unknown(outcome: &Result<String, CallError>) -> bool {
    matches!(outcome, Err(CallError::Unknown { .. }))
}

const MANY: u64 = 40;

#[test]
fn the_book_names_every_test_of_a_contract_and_no_other() {
    let book = include_str!("../../../book/src/messages.md");
    let source = [include_str!("calls.rs"), include_str!("casts.rs")].concat();
    let (_, table) = book.split_once("## What may happen").unwrap();
    let (table, _) = table.split_once("The window").unwrap();
    let last =
        |line: &str| line.trim_end_matches([' ', '|', '`']).rsplit('`').next().map(str::to_owned);
    let named: BTreeSet<String> =
        table.lines().filter(|line| line.ends_with("` |")).filter_map(last).collect();
    let tests = source.split("#[test]\nfn ").skip(1).filter_map(|text| text.split('(').next());
    let tests: BTreeSet<String> =
        tests.map(str::to_owned).filter(|name| !name.starts_with("the_book")).collect();
    assert_eq!(named, tests);
}
