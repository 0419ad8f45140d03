//! The same toy in each simulator: five nodes, sixteen callers on each, who call the others in turn with 128 bytes that come
//! back, one call at a time, over links of one to five milliseconds.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Args;
use serde::{Deserialize, Serialize};
use updraft_harness::{
    record::{Detail, Recorder},
    world::{NodeContext, Tier, World},
};
use updraft_runtime::{
    message, protocol,
    rpc::{Cx, Rpc, Service, TraceContext},
};
use updraft_tests::same;
use updraft_transport::NodeId;

use crate::{
    child::{self, Failure, Marks, say},
    table::Row,
};

pub(crate) const NODES: usize = 5;
pub(crate) const CALLERS: usize = 16;
pub(crate) const BYTES: usize = 128;
/// What passes before it is measured: connections are made.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);
/// For how long it is.
pub(crate) const LASTS: Duration = Duration::from_secs(20);

const SEED: u64 = 1;

/// What answers.
pub(crate) struct Toys;
protocol!(Toys = "toy");

/// "Say it again."
#[derive(Serialize, Deserialize)]
pub(crate) struct Again(Vec<u8>);
message!(call Again = Toys / "again", Fenced, from ["*"], to ["control"], reply Vec<u8>);

/// What is measured.
#[derive(Args)]
pub(crate) struct Toy {
    /// The tier: 1 or 2
    #[arg(long)]
    tier: u8,
}

impl Toy {
    /// Measures, and says where it is.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let tier = if self.tier == 2 { Tier::Quic } else { Tier::Memory };
        same::apart(SEED, || {
            // As in a campaign.
            Recorder::new(Detail::Nothing).install();
            play(tier)
        })?
    }
}

fn name(number: usize) -> String {
    format!("node-{number}")
}

fn play(tier: Tier) -> Result<(), Failure> {
    let calls = Arc::new(AtomicU64::new(0));
    let mut world = World::on_tier(SEED, tier);
    for number in 0..NODES {
        let calls = calls.clone();
        world.node(&name(number), &["control"], move |node| serve(node, number, calls.clone()));
    }
    let said = |at: &str, world: &World| say(at, world.now(), calls.load(Ordering::Relaxed));
    world.run_for(SETTLE);
    said("begin", &world)?;
    world.run_for(LASTS);
    said("end", &world)
}

async fn serve(node: NodeContext, number: usize, calls: Arc<AtomicU64>) {
    let (env, handles) = (node.env.clone(), node.handles());
    let all: Vec<String> = (0..NODES).map(name).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    node.serve(&all, |prepared| {
        let again = Service::of::<Toys>().call(|_, Again(bytes)| async move { Ok(bytes) });
        vec![prepared.directory().service(), again.into()]
    })
    .await;
    let Some(rpc) = handles.get::<Rpc>() else { return };
    for caller in 0..CALLERS {
        env.spawn("caller", call(rpc.clone(), number + caller, number, calls.clone()));
    }
}

/// Calls the others in turn.
async fn call(rpc: Rpc, mut turn: usize, own: usize, calls: Arc<AtomicU64>) {
    loop {
        turn += 1;
        if turn % NODES == own {
            continue;
        }
        let Ok(peer) = NodeId::new(&name(turn % NODES)) else { return };
        let cx = Cx::new("toy", TraceContext::default());
        if rpc.client::<Toys>().on(&peer).call(&Again(vec![7; BYTES]), &cx).await.is_ok() {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All simulators.
pub(crate) fn rows(madsim: &Path) -> Vec<Row> {
    let ours = |tier: &str| child::measure(&["toy", "--tier", tier]);
    vec![
        row("toy calls over QUIC, tier 2", ours("2")),
        row("toy calls in memory, tier 1", ours("1")),
        row("toy calls over turmoil's TCP", child::measure(&["turmoil-tcp"])),
        row("toy calls in madsim", child::measure_by(madsim, &[])),
    ]
}

fn row(what: &str, marks: Result<Marks, Failure>) -> Row {
    let figures = marks.and_then(|marks| {
        let passed = marks.between("begin", "end")?;
        Ok(vec![
            ("calls per s", passed.count / passed.real_s),
            ("simulated s per s", passed.simulated_s / passed.real_s),
        ])
    });
    Row::of(what, figures)
}
