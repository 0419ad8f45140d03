//! A control node and a host on an in-memory switch, with time that is skipped rather than waited for.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::Notify,
    task::AbortHandle,
    time::Instant,
};
use updraft_network::{
    agent::{AgentContext, MemoryMetadata, MetadataConfig, NetworkAgent},
    driver::{DhcpDriver, L2Driver, L3Driver, sim::SimHost},
};
use updraft_protocol::{
    compute::{Conductor, GetMetadata, ServerMetadata},
    network::{
        Announce, DhcpLease, DhcpServed, DhcpSubnet, DhcpWant, Direction, EtherType, Filter,
        FilterRule, FilterWant, Filtered, GetDhcp, GetFilter, GetOverlay, GetPort, GetRouter, Leg,
        Overlaid, Overlay, OverlayWant, Peer, Plug, Plugged, PortWant, RouterServed, RouterWant,
        Routing, ServeDhcp, ServeRouter, Server, Tunnel,
    },
};
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World as EnvWorld},
    node::{Node, Parts, Prepared},
    rpc::{Call, CallError, Cx, Fault, FaultKind, Service, TraceContext},
    store::Store,
    transport::{
        Class, Incarnation, NodeId, PeerIdentity,
        mem::{Observer, Steady, Switch},
    },
};
use uuid::Uuid;

pub(crate) const PORT: Uuid = Uuid::from_u128(0xAAAA_0001_0000_4000_8000_0000_0000_0001);
pub(crate) const NETWORK: Uuid = Uuid::from_u128(0xBBBB_0001_0000_4000_8000_0000_0000_0001);
pub(crate) const SERVER: Uuid = Uuid::from_u128(0xCCCC_0001_0000_4000_8000_0000_0000_0001);
pub(crate) const OTHER_SERVER: Uuid = Uuid::from_u128(0xCCCC_0002_0000_4000_8000_0000_0000_0002);

pub(crate) const GROUP: Uuid = Uuid::from_u128(0xFFFF_0001_0000_4000_8000_0000_0000_0001);

/// Long enough for any want to be met or refused, several rounds of repair included.
pub(crate) const A_WHILE: Duration = Duration::from_secs(120);

/// How long a frame is under way.
const TICK: Duration = Duration::from_millis(2);

/// One life of a node: its tasks can be ended all at once, as by a crash.
#[derive(Clone, Default)]
pub(crate) struct Life {
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

struct Paused {
    started: Instant,
    draws: AtomicU64,
    salt: u64,
    life: Life,
}

impl EnvWorld for Paused {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> UnixMicros {
        UnixMicros(1_700_000_000_000_000).plus(self.now())
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        let mut seed = [0; 32];
        let draw = self.draws.fetch_add(1, Ordering::Relaxed);
        seed[..8].copy_from_slice(&draw.to_le_bytes());
        seed[8..16].copy_from_slice(&self.salt.to_le_bytes());
        seed
    }

    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        self.life.tasks.lock().unwrap().push(tokio::spawn(task).abort_handle());
    }

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        Box::pin(async move { Ok(work()) })
    }
}

impl Life {
    fn env(&self, started: Instant, salt: u64) -> Env {
        Env::new(Paused { started, draws: AtomicU64::new(0), salt, life: self.clone() })
    }

    fn end(&self) {
        self.tasks.lock().unwrap().drain(..).for_each(|task| task.abort());
    }
}

/// What the conductor knows, by server.
pub(crate) type Known = Arc<Mutex<BTreeMap<Uuid, ServerMetadata>>>;

/// What the network service wants of the host: of each thing what it last told, until it forgets it.
#[derive(Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) ports: Arc<Mutex<BTreeMap<Uuid, PortWant>>>,
    pub(crate) networks: Arc<Mutex<BTreeMap<Uuid, DhcpWant>>>,
    pub(crate) filters: Arc<Mutex<BTreeMap<Uuid, FilterWant>>>,
    pub(crate) overlays: Arc<Mutex<BTreeMap<Uuid, OverlayWant>>>,
    pub(crate) routers: Arc<Mutex<BTreeMap<Uuid, RouterWant>>>,
    /// What it has heard of the hosts' own ends of tunnels.
    pub(crate) ends: Arc<Mutex<Vec<Announce>>>,
}

impl Wanted {
    /// Answers the agents of hosts.
    pub(crate) fn service(&self) -> Service {
        let (ports, networks, filters) =
            (self.ports.clone(), self.networks.clone(), self.filters.clone());
        let (overlays, routers, ends) =
            (self.overlays.clone(), self.routers.clone(), self.ends.clone());
        Service::of::<Server>()
            .call(move |_, GetPort { port }: GetPort| {
                let want = ports.lock().unwrap().get(&port).cloned();
                async move { Ok(want) }
            })
            .call(move |_, GetDhcp { network }: GetDhcp| {
                let want = networks.lock().unwrap().get(&network).cloned();
                async move { Ok(want) }
            })
            .call(move |_, GetFilter { group }: GetFilter| {
                let want = filters.lock().unwrap().get(&group).cloned();
                async move { Ok(want) }
            })
            .call(move |_, GetOverlay { network }: GetOverlay| {
                let want = overlays.lock().unwrap().get(&network).cloned();
                async move { Ok(want) }
            })
            .call(move |_, GetRouter { router }: GetRouter| {
                let want = routers.lock().unwrap().get(&router).cloned();
                async move { Ok(want) }
            })
            .call(move |_, said: Announce| {
                ends.lock().unwrap().push(said);
                async move { Ok(()) }
            })
            .into()
    }

    pub(crate) fn port(&self, want: &PortWant) {
        self.ports.lock().unwrap().insert(want.port, want.clone());
    }

    pub(crate) fn network(&self, want: &DhcpWant) {
        self.networks.lock().unwrap().insert(want.network, want.clone());
    }

    pub(crate) fn filter(&self, want: &FilterWant) {
        self.filters.lock().unwrap().insert(want.group, want.clone());
    }

    pub(crate) fn overlay(&self, want: &OverlayWant) {
        self.overlays.lock().unwrap().insert(want.network, want.clone());
    }

    pub(crate) fn router(&self, want: &RouterWant) {
        self.routers.lock().unwrap().insert(want.router, want.clone());
    }

    /// Everything was deleted.
    pub(crate) fn forget_all(&self) {
        self.ports.lock().unwrap().clear();
        self.networks.lock().unwrap().clear();
        self.filters.lock().unwrap().clear();
        self.overlays.lock().unwrap().clear();
        self.routers.lock().unwrap().clear();
    }
}

pub(crate) struct World {
    pub(crate) host: SimHost,
    pub(crate) guests: MemoryMetadata,
    pub(crate) known: Known,
    pub(crate) wanted: Wanted,
    pub(crate) env: Env,
    pub(crate) agent: NetworkAgent,
    started: Instant,
    switch: Switch,
    store: Store,
    control: Node,
    control_life: Life,
    agent_node: Option<Node>,
    agent_life: Life,
    lives: u64,
}

/// Asks an agent of the host in the network service's name.
pub(crate) async fn ask<M: Call>(asker: &Node, message: &M) -> Result<M::Reply, CallError> {
    let rpc = asker.rpc();
    let cx = Cx::new("network.server", TraceContext::fresh(rpc.env()));
    rpc.client::<M::Protocol>().on(&id("host1")).call(message, &cx).await
}

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn parts(
    env: &Env,
    switch: &Switch,
    name: &str,
    role: &str,
    incarnation: u64,
) -> Prepared {
    let (transport, events) =
        switch.attach(PeerIdentity::new(id(name), &[role]), Incarnation(incarnation));
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    Prepared::new(Parts {
        env: env.clone(),
        transport,
        events,
        incarnation: Incarnation(incarnation),
        address,
        cell: "cell1".to_owned(),
        seeds: vec![(id("control"), address)],
    })
}

/// Delivers each frame a tick after it was sent.
pub(crate) fn carry_frames(switch: &Switch, started: Instant) {
    let sent = Arc::new(Notify::new());
    switch.set_fate(Steady(TICK));
    switch.set_observer(Bell(sent.clone()));
    let switch = switch.clone();
    tokio::spawn(async move {
        loop {
            sent.notified().await;
            while switch.next_due().is_some() {
                tokio::time::sleep(TICK).await;
                switch.advance(started.elapsed());
            }
        }
    });
}

struct Bell(Arc<Notify>);

impl Observer for Bell {
    fn frame(
        &mut self,
        _at: Duration,
        _from: &NodeId,
        _to: &NodeId,
        _class: Class,
        _bytes: &[u8],
        _fate: &[Duration],
    ) {
        self.0.notify_one();
    }
}

pub(crate) fn conductor(known: Known) -> Service {
    Service::of::<Conductor>()
        .call(move |_ctx, question: GetMetadata| {
            let found = known.lock().unwrap().get(&question.server).cloned();
            let missing = || Fault::new(FaultKind::NotFound, "InstanceNotFound", "no such server");
            async move { found.ok_or_else(missing) }
        })
        .into()
}

impl World {
    pub(crate) async fn new() -> Self {
        let (started, switch, outside) = (Instant::now(), Switch::new(), Life::default());
        let env = outside.env(started, 0);
        carry_frames(&switch, started);
        let (known, wanted) = (Known::default(), Wanted::default());
        let control_life = Life::default();
        let control_env = control_life.env(started, 1);
        let prepared = parts(&control_env, &switch, "control", "control", 1);
        let services =
            vec![prepared.directory().service(), conductor(known.clone()), wanted.service()];
        let control = prepared.start(services).await.unwrap();
        let (host, guests) = (SimHost::new(env.clone()), MemoryMetadata::default());
        let store = Store::memory(env.clone());
        let agent_life = Life::default();
        let (agent_node, agent) =
            Self::agent(&agent_life, started, &switch, &store, &host, &guests, 1).await;
        Self {
            host,
            guests,
            known,
            wanted,
            env,
            agent,
            started,
            switch,
            store,
            control,
            control_life,
            agent_node: Some(agent_node),
            agent_life,
            lives: 1,
        }
    }

    async fn agent(
        life: &Life,
        started: Instant,
        switch: &Switch,
        store: &Store,
        host: &SimHost,
        guests: &MemoryMetadata,
        incarnation: u64,
    ) -> (Node, NetworkAgent) {
        let env = life.env(started, 100 + incarnation);
        let prepared = parts(&env, switch, "host1", "compute", incarnation);
        let context = AgentContext {
            env,
            rpc: prepared.rpc(),
            store: store.clone(),
            tracer: prepared.tracer(),
            host: id("host1"),
            tunnel_address: end(1),
            physical_networks: ["public".to_owned()].into(),
        };
        let (l2, dhcp): (Arc<dyn L2Driver>, Arc<dyn DhcpDriver>) =
            (Arc::new(host.clone()), Arc::new(host.clone()));
        let l3: Arc<dyn L3Driver> = Arc::new(host.clone());
        let agent = NetworkAgent::new(context, l2, dhcp, l3, MetadataConfig::new(guests.clone()));
        let node = prepared.start(agent.services()).await.unwrap();
        agent.start();
        (node, agent)
    }

    /// The agent's process dies without a word.
    pub(crate) fn crash(&mut self) {
        self.agent_life.end();
        self.switch.detach(&id("host1"));
        self.agent_node = None;
    }

    /// The agent's process starts again, with what it has on disk.
    pub(crate) async fn restart(&mut self) {
        self.crash();
        self.lives += 1;
        self.agent_life = Life::default();
        let (node, agent) = Self::agent(
            &self.agent_life,
            self.started,
            &self.switch,
            &self.store,
            &self.host,
            &self.guests,
            self.lives,
        )
        .await;
        self.agent_node = Some(node);
        self.agent = agent;
    }

    pub(crate) async fn plug(&self, want: &PortWant) -> Result<Plugged, CallError> {
        self.wanted.port(want);
        self.plug_late(want).await
    }

    /// A call for what was wanted once comes late.
    pub(crate) async fn plug_late(&self, want: &PortWant) -> Result<Plugged, CallError> {
        ask(&self.control, &Plug { want: want.clone() }).await
    }

    pub(crate) async fn serve(&self, want: &DhcpWant) -> Result<DhcpServed, CallError> {
        self.wanted.network(want);
        self.serve_late(want).await
    }

    /// A call for what was wanted once comes late.
    pub(crate) async fn serve_late(&self, want: &DhcpWant) -> Result<DhcpServed, CallError> {
        ask(&self.control, &ServeDhcp { want: want.clone() }).await
    }

    pub(crate) async fn filter(&self, want: &FilterWant) -> Result<Filtered, CallError> {
        self.wanted.filter(want);
        self.filter_late(want).await
    }

    /// A call for what was wanted once comes late.
    pub(crate) async fn filter_late(&self, want: &FilterWant) -> Result<Filtered, CallError> {
        ask(&self.control, &Filter { want: want.clone() }).await
    }

    pub(crate) async fn overlay(&self, want: &OverlayWant) -> Result<Overlaid, CallError> {
        self.wanted.overlay(want);
        self.overlay_late(want).await
    }

    /// A call for what was wanted once comes late.
    pub(crate) async fn overlay_late(&self, want: &OverlayWant) -> Result<Overlaid, CallError> {
        ask(&self.control, &Overlay { want: want.clone() }).await
    }

    pub(crate) async fn route(&self, want: &RouterWant) -> Result<RouterServed, CallError> {
        self.wanted.router(want);
        self.route_late(want).await
    }

    /// A call for what was wanted once comes late.
    pub(crate) async fn route_late(&self, want: &RouterWant) -> Result<RouterServed, CallError> {
        ask(&self.control, &ServeRouter { want: want.clone() }).await
    }

    /// The same, asked by the host itself.
    pub(crate) async fn plug_as_host(&self, want: &PortWant) -> Result<Plugged, CallError> {
        let node = self.agent_node.as_ref().unwrap();
        ask(node, &Plug { want: want.clone() }).await
    }

    /// Asks until the want is met, as the control node's row does.
    pub(crate) async fn plug_until_done(&self, want: &PortWant) -> Plugged {
        self.until("the port was never plugged", || self.plug(want)).await
    }

    /// Asks until the want is met, as the control node's row does.
    pub(crate) async fn serve_until_done(&self, want: &DhcpWant) -> DhcpServed {
        self.until("the network was never served", || self.serve(want)).await
    }

    /// Asks until the want is met, as the control node's row does.
    pub(crate) async fn filter_until_done(&self, want: &FilterWant) -> Filtered {
        self.until("the group was never filtered", || self.filter(want)).await
    }

    /// Asks until the want is met, as the control node's row does.
    pub(crate) async fn overlay_until_done(&self, want: &OverlayWant) -> Overlaid {
        self.until("the tunnel was never as wanted", || self.overlay(want)).await
    }

    /// Asks until the want is met, as the control node's row does.
    pub(crate) async fn route_until_done(&self, want: &RouterWant) -> RouterServed {
        self.until("the router was never as wanted", || self.route(want)).await
    }

    async fn until<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        never: &str,
        ask: impl Fn() -> F,
    ) -> T {
        let end = self.env.now() + A_WHILE;
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => assert!(self.env.now() < end, "{never}: {error}"),
            }
        }
    }

    /// Waits until the host looks like this.
    pub(crate) async fn eventually(&self, what: &str, is_so: impl Fn(&SimHost) -> bool) {
        let end = self.env.now() + A_WHILE;
        while !is_so(&self.host) {
            assert!(self.env.now() < end, "never: {what}; the host has {:#?}", self.host.state());
            self.env.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the network service has heard this of the host's end of tunnels so often.
    pub(crate) async fn eventually_hears(&self, what: &Announce, times: usize) {
        let heard = || self.wanted.ends.lock().unwrap().clone();
        let end = self.env.now() + A_WHILE;
        while heard().iter().filter(|said| *said == what).count() < times {
            assert!(self.env.now() < end, "heard: {:?}", heard());
            self.env.sleep(Duration::from_millis(50)).await;
        }
    }

    /// One request of a guest that has this address on this network: the status and the body.
    pub(crate) async fn get(
        &self,
        network: Uuid,
        source: &str,
        request: &str,
    ) -> Option<(u16, String)> {
        let mut connection = self.say(network, source, request).await?;
        // As simple clients do: there is nothing more to say.
        connection.shutdown().await.ok()?;
        Self::hear(connection).await
    }

    /// A guest that has this address on this network says this, and perhaps more.
    pub(crate) async fn say(
        &self,
        network: Uuid,
        source: &str,
        words: &str,
    ) -> Option<DuplexStream> {
        let mut connection = self.guests.connect(network, source.parse().unwrap()).ok()?;
        connection.write_all(words.as_bytes()).await.ok()?;
        Some(connection)
    }

    /// What a guest hears until the connection ends: the status and the body.
    pub(crate) async fn hear(mut connection: DuplexStream) -> Option<(u16, String)> {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.agent_life.end();
        self.control_life.end();
    }
}

/// What may be known of a server whose every field says whose it is.
pub(crate) fn metadata_of(server: Uuid) -> ServerMetadata {
    ServerMetadata {
        server,
        name: format!("name-{server}"),
        hostname: format!("host-{server}"),
        project_id: format!("project-{server}"),
        availability_zone: "nova".to_owned(),
        metadata: BTreeMap::from([("secret".to_owned(), format!("secret-{server}"))]),
        key: Some(("mine".to_owned(), format!("key-{server}"))),
        user_data: Some(format!("data-{server}").into()),
    }
}

pub(crate) fn port_want(generation: u64) -> PortWant {
    PortWant {
        port: PORT,
        generation,
        present: true,
        network: NETWORK,
        server: SERVER,
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        addresses: vec!["10.1.0.11".parse().unwrap()],
        mtu: 1450,
        secured: true,
        groups: BTreeSet::from([GROUP]),
        pairs: BTreeSet::new(),
    }
}

pub(crate) fn unplug_want(generation: u64) -> PortWant {
    PortWant { present: false, ..port_want(generation) }
}

/// What a rule lets pass of IPv4.
pub(crate) fn rule(direction: Direction, protocol: Option<u8>, peer: Peer) -> FilterRule {
    FilterRule { direction, ethertype: EtherType::V4, protocol, ports: (None, None), peer }
}

/// A group that lets everything out and nothing in.
pub(crate) fn filter_want(generation: u64) -> FilterWant {
    let egress = rule(Direction::Egress, None, Peer::Any);
    FilterWant { present: true, rules: vec![egress], ..FilterWant::absent(GROUP, generation) }
}

/// Where the tunnels of hosts are reached.
pub(crate) fn end(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// A tunnel to one other host that has one other port.
pub(crate) fn overlay_want(generation: u64) -> OverlayWant {
    let macs = BTreeSet::from(["fa:16:3e:00:00:02".to_owned()]);
    let tunnel =
        Tunnel { vni: 7, mtu: 1450, local: end(1), peers: BTreeMap::from([(end(2), macs)]) };
    OverlayWant { network: NETWORK, generation, tunnel: Some(tunnel) }
}

pub(crate) const ROUTER: Uuid = Uuid::from_u128(0x1111_0001_0000_4000_8000_0000_0000_0001);

/// A router that stands in one network.
pub(crate) fn router_want(generation: u64) -> RouterWant {
    let leg = Leg {
        port: Uuid::from_u128(0x2222_0001_0000_4000_8000_0000_0000_0001),
        network: NETWORK,
        mac_address: "fa:16:3e:00:01:01".to_owned(),
        addresses: vec!["10.1.0.1/24".parse().unwrap()],
        mtu: 1450,
    };
    let routing =
        Routing { legs: vec![leg], outlet: None, routes: Vec::new(), floating: Vec::new() };
    RouterWant { router: ROUTER, generation, routing: Some(routing) }
}

pub(crate) fn lease(server: Uuid, last: u8) -> DhcpLease {
    DhcpLease {
        server,
        mac_address: format!("fa:16:3e:00:00:{:02x}", last - 10),
        address: IpAddr::from([10, 1, 0, last]),
        hostname: format!("guest-{last}"),
    }
}

pub(crate) fn dhcp_want(generation: u64) -> DhcpWant {
    let subnet = DhcpSubnet {
        subnet: Uuid::from_u128(0xDDDD),
        cidr: "10.1.0.0/24".parse().unwrap(),
        gateway: Some("10.1.0.1".parse().unwrap()),
        agent_address: "10.1.0.2".parse().unwrap(),
        dns_servers: vec!["9.9.9.9".parse().unwrap()],
        host_routes: Vec::new(),
    };
    DhcpWant {
        network: NETWORK,
        generation,
        mtu: 1450,
        subnets: vec![subnet],
        leases: vec![lease(SERVER, 11)],
    }
}

pub(crate) fn stop_want(generation: u64) -> DhcpWant {
    DhcpWant { subnets: Vec::new(), leases: Vec::new(), ..dhcp_want(generation) }
}
