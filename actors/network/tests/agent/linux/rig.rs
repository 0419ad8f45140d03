//! The agent with its real drivers, a control node in memory, and real time.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use tokio::time::Instant;
use updraft_network::{
    agent::{AgentContext, MetadataConfig, NetworkAgent},
    driver::{
        linux::{LinuxConfig, LinuxDhcp, LinuxL2, LinuxL3, NamespaceMetadata},
        names::Tag,
    },
};
use updraft_protocol::{
    compute::GetMetadata,
    network::{
        DhcpServed, DhcpWant, Filter, FilterWant, Filtered, Plug, Plugged, PortWant, RouterServed,
        RouterWant, ServeDhcp, ServeRouter,
    },
};
use updraft_runtime::{Env, node::Node, rpc::CallError, store::Store, transport::mem::Switch};

use super::super::world::*;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) agent: NetworkAgent,
    env: Env,
    switch: Switch,
    store: Store,
    state: tempfile::TempDir,
    control: Node,
    wanted: Wanted,
    node: Node,
    lives: u64,
}

/// Waits until it is so.
pub(crate) async fn patiently(never: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{never}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn agent(
    env: &Env,
    switch: &Switch,
    store: &Store,
    state: &Path,
    life: u64,
) -> (NetworkAgent, Node) {
    let prepared = parts(env, switch, "host1", "compute", life);
    let context = AgentContext {
        env: env.clone(),
        rpc: prepared.rpc(),
        store: store.clone(),
        tracer: prepared.tracer(),
        host: id("host1"),
        tunnel_address: end(1),
        physical_networks: ["public".to_owned()].into(),
    };
    let mut config = LinuxConfig::new(state.to_owned(), Tag::new("test").unwrap());
    config.physical_networks = [("public".to_owned(), "br-public".to_owned())].into();
    let l2 = Arc::new(LinuxL2::new(env, &config));
    let dhcp = Arc::new(LinuxDhcp::new(env, &config));
    let metadata = MetadataConfig::new(NamespaceMetadata::new(env.clone()));
    let l3 = Arc::new(LinuxL3::new(env, &config));
    let agent = NetworkAgent::new(context, l2, dhcp, l3, metadata);
    let node = prepared.start(agent.services()).await.unwrap();
    agent.start();
    (agent, node)
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let (env, switch) = (Env::real(), Switch::new());
        carry_frames(&switch, Instant::now());
        let (known, wanted) = (Known::default(), Wanted::default());
        for server in [SERVER, OTHER_SERVER] {
            known.lock().unwrap().insert(server, metadata_of(server));
        }
        let prepared = parts(&env, &switch, "control", "control", 1);
        let services = vec![prepared.directory().service(), conductor(known), wanted.service()];
        let control = prepared.start(services).await.unwrap();
        let store = Store::memory(env.clone());
        let state = tempfile::tempdir().unwrap();
        let (agent, node) = agent(&env, &switch, &store, state.path(), 1).await;
        let rig = Self { agent, env, switch, store, state, control, wanted, node, lives: 1 };
        rig.meet().await;
        rig
    }

    /// Metadata needs a way to the conductor.
    async fn meet(&self) {
        let directory = self.node.rpc().directory().clone();
        patiently("the nodes never met", || !directory.servers_of::<GetMetadata>().is_empty())
            .await;
    }

    /// The agent ends as it does when its process is told to, and starts again.
    pub(crate) async fn restart(&mut self) {
        self.agent.stop().await;
        self.node.stop().await;
        self.lives += 1;
        let started =
            agent(&self.env, &self.switch, &self.store, self.state.path(), self.lives).await;
        (self.agent, self.node) = started;
        self.meet().await;
    }

    pub(crate) async fn plug(&self, want: &PortWant) -> Result<Plugged, CallError> {
        self.wanted.port(want);
        ask(&self.control, &Plug { want: want.clone() }).await
    }

    pub(crate) async fn filter(&self, want: &FilterWant) -> Result<Filtered, CallError> {
        self.wanted.filter(want);
        ask(&self.control, &Filter { want: want.clone() }).await
    }

    pub(crate) async fn serve(&self, want: &DhcpWant) -> Result<DhcpServed, CallError> {
        self.wanted.network(want);
        ask(&self.control, &ServeDhcp { want: want.clone() }).await
    }

    pub(crate) async fn route(&self, want: &RouterWant) -> Result<RouterServed, CallError> {
        self.wanted.router(want);
        ask(&self.control, &ServeRouter { want: want.clone() }).await
    }

    /// The process that answers DHCP, by its own word.
    pub(crate) fn dnsmasq_pid(&self) -> Option<i32> {
        let file = self.state.path().join("dhcp").join(NETWORK.to_string()).join("pid");
        fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    pub(crate) fn files_left(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.state.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
