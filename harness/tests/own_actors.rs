//! A counter that promises to count nothing twice, and all that it has acknowledged.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};
use std::time::Duration;

use proptest::{prelude::*, test_runner::RngSeed::Fixed};
use serde::{Deserialize, Serialize};
use updraft_harness::fault::{FaultPlan, Targets, strategy::plans};
use updraft_harness::world::World;
use updraft_runtime::rpc::{Cx, Rpc, Service, TraceContext};
use updraft_runtime::{message, protocol};

struct Counter;
protocol!(Counter = "counter");
#[derive(Serialize, Deserialize)]
struct Count;
message!(call Count = Counter / "count", Never, from ["user"], to ["server"], reply u64);

/// How long things go wrong.
const TIME: Duration = Duration::from_secs(10);

/// How much was asked for, acknowledged and counted while all this went wrong.
fn run(plan: FaultPlan) -> [u64; 3] {
    let mut world = World::new(plan.seed);
    let server = world.node("server", &["server"], |node| {
        let counted = node.disk.keep(|| Arc::new(AtomicU64::new(0)));
        let count = move |_, Count| std::future::ready(Ok(counted.fetch_add(1, Relaxed)));
        node.serve(&["user"], |_| vec![Service::of::<Counter>().call(count).into()])
    });
    let user = world.node("user", &["user", "control"], |node| {
        node.serve(&[], |prepared| vec![prepared.directory().service()])
    });
    world.follow(plan);
    let mut asked = Vec::new();
    while world.now() < TIME {
        world.run_for(Duration::from_millis(200));
        let Some(rpc) = world.handle::<Rpc>(&user) else { continue };
        let cx = Cx::new("test", TraceContext::default());
        let answer = async move { rpc.client::<Counter>().call(&Count, &cx).await };
        asked.extend(world.begin(&user, answer));
    }
    world.run_for(TIME * 2);
    let acknowledged = asked.iter_mut().filter_map(|answer| answer.try_recv().ok()?.ok()).count();
    let counted = world.disk(&server).unwrap().get::<Arc<AtomicU64>>().unwrap();
    [asked.len() as u64, acknowledged as u64, counted.load(Relaxed)]
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: Fixed(1), ..ProptestConfig::with_cases(64) })]
    #[test]
    fn a_counter_keeps_its_promise(plan in plans(Targets::new(&["server", "user"], TIME))) {
        let [asked, acknowledged, counted] = run(plan);
        prop_assert!(acknowledged <= counted && counted <= asked, "{acknowledged} {counted} {asked}");
    }
}
