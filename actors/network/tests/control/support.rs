//! A small cloud: a control node with the network service, hosts with agents that do as they are told, and
//! time that is skipped.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;
use updraft_edge::{
    context::Context,
    seal::Placement,
    token::{KeyRing, Methods, TokenContents, TokenScope},
    verify::Verifier,
};
use updraft_network::{Config, Network};
use updraft_protocol::{
    compute::{
        Conductor, NODE, NetworkChanged, NetworkReady, Node as ComputeNode, PortTaken, Seal,
    },
    identity::*,
    network::{
        Allocate, Announce, DhcpAgent, DhcpServed, DhcpWant, Filter, FilterWant, Filtered, L2Agent,
        NetworkInfo, NicRequest, Overlaid, Overlay, OverlayWant, Plug, Plugged, PortWant, Release,
        RouterServed, RouterWant, ServeDhcp, ServeRouter, Server, Validate, Validated,
    },
};
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    node::{Node, Parts, Prepared},
    rpc::{CallError, Cx, Fault, FaultKind, Service, TraceContext},
    store::Store,
    transport::{Incarnation, NodeId, PeerIdentity, mem::Switch},
};
use uuid::Uuid;

/// 2025-01-01, when all of this begins.
const START: UnixMicros = UnixMicros(1_735_689_600_000_000);

pub(crate) const DEMO: &str = "d0000000000000000000000000000000";
pub(crate) const OTHER: &str = "e0000000000000000000000000000000";

/// A server of the demo project.
pub(crate) const GUEST: Uuid = Uuid::from_u128(0xC0DE_0001_0000_4000_8000_0000_0000_0001);

/// Long enough for everything that can settle to have settled, rescans included.
pub(crate) const A_WHILE: Duration = Duration::from_secs(40);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Admin,
    Member,
    Reader,
    Other,
}

impl Who {
    const ALL: [Self; 4] = [Self::Admin, Self::Member, Self::Reader, Self::Other];

    fn user(self) -> String {
        format!("a{}000000000000000000000000000000", self as u8)
    }

    fn role(self) -> &'static str {
        match self {
            Self::Admin => "r-admin",
            Self::Member | Self::Other => "r-member",
            Self::Reader => "r-reader",
        }
    }

    pub(crate) fn project(self) -> &'static str {
        if self == Self::Other { OTHER } else { DEMO }
    }
}

struct Paused {
    started: Instant,
    draws: AtomicU64,
    salt: u64,
}

impl World for Paused {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> UnixMicros {
        START.plus(self.now())
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.draws.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        seed[8..16].copy_from_slice(&self.salt.to_le_bytes());
        seed
    }

    #[allow(clippy::disallowed_methods, reason = "a test's world is a door of its own")]
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        Box::pin(async move { Ok(work()) })
    }
}

fn env(started: Instant, salt: u64) -> Env {
    Env::new(Paused { started, draws: AtomicU64::new(0), salt })
}

fn identity() -> IdentitySnapshot {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let role = |name: &str, implies: &[&str]| Role { name: name.to_owned(), implies: ids(implies) };
    let project = |name: &str| Project {
        name: name.to_owned(),
        domain_id: "default".to_owned(),
        enabled: true,
        revoked_before: None,
    };
    let user = |who: Who| User {
        name: format!("{who:?}"),
        domain_id: "default".to_owned(),
        enabled: true,
        revoked_before: None,
    };
    let assigned = |who: Who| Assignments {
        projects: BTreeMap::from([(who.project().to_owned(), ids(&[who.role()]))]),
        ..Assignments::default()
    };
    let domain = Domain { name: "Default".to_owned(), enabled: true, revoked_before: None };
    let key = |byte| FernetKey::from_bytes([byte; 32]);
    IdentitySnapshot {
        version: 1,
        fernet_keys: updraft_edge::token::first_keys(key(0), key(1)),
        users: Who::ALL.map(|who| (who.user(), user(who))).into(),
        projects: [DEMO, OTHER].map(|id| (id.to_owned(), project(id))).into(),
        domains: BTreeMap::from([("default".to_owned(), domain)]),
        roles: BTreeMap::from([
            ("r-admin".to_owned(), role("admin", &["r-manager"])),
            ("r-manager".to_owned(), role("manager", &["r-member"])),
            ("r-member".to_owned(), role("member", &["r-reader"])),
            ("r-reader".to_owned(), role("reader", &[])),
        ]),
        assignments: Who::ALL.map(|who| (who.user(), assigned(who))).into(),
        ..IdentitySnapshot::default()
    }
}

fn token(who: Who) -> String {
    let contents = TokenContents {
        user_id: who.user(),
        methods: Methods::of(["password"]),
        scope: TokenScope::Project { project_id: who.project().to_owned() },
        expires_at: START.plus(Duration::from_secs(86_400)),
        audit_ids: vec![AuditId([1; 16])],
    };
    let keys = KeyRing::new(&identity().fernet_keys).unwrap();
    keys.seal(&contents, START).unwrap().reveal().to_owned()
}

fn verifier() -> Arc<Verifier> {
    let verifier = Verifier::new();
    verifier.publish(Arc::new(identity()));
    Arc::new(verifier)
}

/// The word of a control node that the guest is placed there.
pub(crate) fn seal(host: &str, generation: u64) -> Seal {
    verifier().seal(&Placement { server: GUEST, host, generation }).unwrap()
}

/// What a host was told and has.
#[derive(Default)]
pub(crate) struct HostState {
    /// By port: the newest want, which is carried out at once.
    pub(crate) ports: BTreeMap<Uuid, PortWant>,
    /// By security group.
    pub(crate) filters: BTreeMap<Uuid, FilterWant>,
    /// By network.
    pub(crate) overlays: BTreeMap<Uuid, OverlayWant>,
    /// By router.
    pub(crate) routers: BTreeMap<Uuid, RouterWant>,
    /// By network.
    pub(crate) dhcp: BTreeMap<Uuid, DhcpWant>,
    /// What the compute node heard.
    pub(crate) ready: Vec<NetworkReady>,
    /// Whether its agents answer at all.
    pub(crate) deaf: bool,
    /// Whether they answer about security groups.
    pub(crate) deaf_to_filters: bool,
    /// Whether they answer about tunnels.
    pub(crate) deaf_to_overlays: bool,
    /// Why routers cannot be, if they cannot.
    pub(crate) routers_refused: Option<Fault>,
}

impl HostState {
    /// The ports that are plugged.
    pub(crate) fn plugged(&self) -> Vec<Uuid> {
        self.ports.iter().filter(|(_, want)| want.present).map(|(port, _)| *port).collect()
    }
}

/// A host whose agents fence by generation and do the rest at once.
pub(crate) struct Host {
    pub(crate) state: Arc<Mutex<HostState>>,
    pub(crate) node: Node,
}

fn deaf() -> Fault {
    Fault::new(FaultKind::Unavailable, "Deaf", "not now")
}

fn stale() -> Fault {
    Fault::new(FaultKind::Stale, "Stale", "a newer generation was seen")
}

/// What a host says of a router.
fn route(state: &mut HostState, want: RouterWant) -> Result<RouterServed, Fault> {
    let known = state.routers.get(&want.router).map_or(0, |known| known.generation);
    match &state.routers_refused {
        _ if state.deaf => return Err(deaf()),
        _ if want.generation < known => return Err(stale()),
        Some(fault) => return Err(fault.clone()),
        None => {}
    }
    let generation = want.generation;
    state.routers.insert(want.router, want);
    Ok(RouterServed { generation })
}

/// What it says of a tunnel.
fn overlay(state: &mut HostState, want: OverlayWant) -> Result<Overlaid, Fault> {
    let known = state.overlays.get(&want.network).map_or(0, |known| known.generation);
    match () {
        () if state.deaf || state.deaf_to_overlays => return Err(deaf()),
        () if want.generation < known => return Err(stale()),
        () => {}
    }
    let generation = want.generation;
    state.overlays.insert(want.network, want);
    Ok(Overlaid { generation })
}

fn agents(state: &Arc<Mutex<HostState>>) -> Vec<Service> {
    let (l2, filters, dhcp, node) = (state.clone(), state.clone(), state.clone(), state.clone());
    let (overlays, routers) = (state.clone(), state.clone());
    let plug = move |Plug { want }: Plug| {
        let mut state = l2.lock();
        let known = state.ports.get(&want.port).map_or(0, |known| known.generation);
        match () {
            () if state.deaf => return Err(deaf()),
            () if want.generation < known => return Err(stale()),
            () => {}
        }
        let device = want.present.then(|| format!("tap{}", &want.port.to_string()[..11]));
        let generation = want.generation;
        state.ports.insert(want.port, want);
        Ok(Plugged { generation, device })
    };
    let filter = move |Filter { want }: Filter| {
        let mut state = filters.lock();
        let known = state.filters.get(&want.group).map_or(0, |known| known.generation);
        match () {
            () if state.deaf || state.deaf_to_filters => return Err(deaf()),
            () if want.generation < known => return Err(stale()),
            () => {}
        }
        let generation = want.generation;
        state.filters.insert(want.group, want);
        Ok(Filtered { generation })
    };
    let serve = move |ServeDhcp { want }: ServeDhcp| {
        let mut state = dhcp.lock();
        let known = state.dhcp.get(&want.network).map_or(0, |known| known.generation);
        match () {
            () if state.deaf => return Err(deaf()),
            () if want.generation < known => return Err(stale()),
            () => {}
        }
        let generation = want.generation;
        state.dhcp.insert(want.network, want);
        Ok(DhcpServed { generation })
    };
    vec![
        Service::of::<L2Agent>()
            .call(move |_, message| std::future::ready(plug(message)))
            .call(move |_, message| std::future::ready(filter(message)))
            .call(move |_, Overlay { want }: Overlay| {
                std::future::ready(overlay(&mut overlays.lock(), want))
            })
            .call(move |_, ServeRouter { want }: ServeRouter| {
                std::future::ready(route(&mut routers.lock(), want))
            })
            .into(),
        Service::of::<DhcpAgent>()
            .call(move |_, message| std::future::ready(serve(message)))
            .into(),
        Service::of::<ComputeNode>()
            .cast(move |_, message: NetworkReady| {
                node.lock().ready.push(message);
                std::future::ready(Ok(()))
            })
            .into(),
    ]
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// A conductor that writes down what it hears.
fn conductor(
    changed: Arc<Mutex<Vec<NetworkChanged>>>,
    taken: Arc<Mutex<Option<Vec<PortTaken>>>>,
) -> Service {
    Service::of::<Conductor>()
        .call(move |_, message: NetworkChanged| {
            changed.lock().push(message);
            std::future::ready(Ok(()))
        })
        .call(move |_, message: PortTaken| {
            let heard = taken.lock().as_mut().map(|heard| heard.push(message));
            let deaf = || Fault::new(FaultKind::Unavailable, "NotReady", "it hears nothing");
            std::future::ready(heard.ok_or_else(deaf))
        })
        .into()
}

/// The cloud.
pub(crate) struct Cloud {
    pub(crate) router: Router,
    pub(crate) control: Node,
    pub(crate) host1: Host,
    pub(crate) host2: Host,
    /// What the conductor heard.
    pub(crate) changed: Arc<Mutex<Vec<NetworkChanged>>>,
    /// What the conductor heard of ports that were taken from servers; `None` while it hears nothing.
    pub(crate) taken: Arc<Mutex<Option<Vec<PortTaken>>>>,
    pub(crate) env: Env,
    pub(crate) store: Store,
}

impl Cloud {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    #[allow(clippy::disallowed_methods, reason = "a test's world is a door of its own")]
    pub(crate) async fn with(config: Config) -> Self {
        let (started, switch) = (Instant::now(), Switch::new());
        let pump = switch.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                pump.advance(started.elapsed());
            }
        });
        let store = Store::memory(env(started, 1));
        let changed = Arc::<Mutex<Vec<NetworkChanged>>>::default();
        let prepared = prepare(&env(started, 2), &switch, "control");
        let context = Context {
            env: env(started, 3),
            rpc: prepared.rpc(),
            store: store.clone(),
            tracer: prepared.tracer(),
            verifier: verifier(),
            region: "RegionOne".to_owned(),
        };
        let network = Network::new(context, config);
        let taken = Arc::new(Mutex::new(Some(Vec::new())));
        let conductor = conductor(changed.clone(), taken.clone());
        let mut services = network.services();
        services.extend([prepared.directory().service(), conductor]);
        let control = prepared.start(services).await.unwrap();
        network.start();
        let host1 = host(&env(started, 4), &switch, "host1").await;
        let host2 = host(&env(started, 5), &switch, "host2").await;
        let router = network.router();
        let env = env(started, 6);
        let cloud = Self { router, control, host1, host2, changed, taken, env, store };
        cloud.pass(Duration::from_secs(2)).await;
        for host in [&cloud.host1, &cloud.host2] {
            let rpc = host.node.rpc();
            let (address, public) = (end(rpc.local().as_str()), "public".to_owned());
            let said = Announce { address, incarnation: 1, physical_networks: [public].into() };
            let cx = Cx::new("network.l2", TraceContext::default());
            rpc.client::<Server>().call(&said, &cx).await.unwrap();
        }
        cloud
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        self.env.sleep(time).await;
    }

    pub(crate) async fn send(
        &self,
        who: Who,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        self.send_if(who, method, path, body, None).await
    }

    pub(crate) async fn send_if(
        &self,
        who: Who,
        method: &str,
        path: &str,
        body: Option<Value>,
        if_match: Option<&str>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "cloud")
            .header("x-auth-token", token(who));
        if let Some(condition) = if_match {
            request = request.header("if-match", condition);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let Ok(response) = self.router.clone().oneshot(request.body(body).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, text: String::from_utf8_lossy(&body).into_owned() }
    }

    pub(crate) async fn get(&self, who: Who, path: &str) -> Answer {
        self.send(who, "GET", &format!("/v2.0{path}"), None).await
    }

    pub(crate) async fn delete(&self, who: Who, path: &str) -> Answer {
        self.send(who, "DELETE", &format!("/v2.0{path}"), None).await
    }

    pub(crate) async fn post(&self, who: Who, path: &str, body: Value) -> Answer {
        self.send(who, "POST", &format!("/v2.0{path}"), Some(body)).await
    }

    pub(crate) async fn put(&self, who: Who, path: &str, body: Value) -> Answer {
        self.send(who, "PUT", &format!("/v2.0{path}"), Some(body)).await
    }

    /// Makes a resource and returns it; fails unless that answers 201.
    pub(crate) async fn make(&self, who: Who, kind: &str, body: Value) -> Value {
        let path = format!("/{}s", kind.replace('_', "-"));
        let answer = self.post(who, &path, json!({ kind: body })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{kind}: {}", answer.text);
        answer.json()[kind].clone()
    }

    /// A network of the member's project with one subnet.
    pub(crate) async fn net(&self, cidr: &str) -> Net {
        self.net_of(Who::Member, json!({"name": "net1"}), json!({"cidr": cidr})).await
    }

    pub(crate) async fn net_of(&self, who: Who, network: Value, mut subnet: Value) -> Net {
        let network = self.make(who, "network", network).await["id"].as_str().unwrap().to_owned();
        subnet["network_id"] = json!(network);
        subnet["ip_version"] = json!(4);
        let subnet = self.make(who, "subnet", subnet).await["id"].as_str().unwrap().to_owned();
        Net { network, subnet }
    }

    /// An external network, as an administrator makes it.
    pub(crate) async fn external(&self, cidr: &str) -> Net {
        let network = json!({
            "name": "ext",
            "router:external": true,
            "provider:network_type": "flat",
            "provider:physical_network": "public",
        });
        self.net_of(Who::Admin, network, json!({"cidr": cidr, "enable_dhcp": false})).await
    }

    /// A router of the member between a network and an external one.
    pub(crate) async fn router_between(&self, inner: &Net, outer: &Net) -> String {
        let gateway = json!({"network_id": outer.network});
        let router = json!({"name": "r1", "external_gateway_info": gateway});
        let router = self.make(Who::Member, "router", router).await;
        let id = router["id"].as_str().unwrap().to_owned();
        let path = format!("/routers/{id}/add_router_interface");
        let answer = self.put(Who::Member, &path, json!({"subnet_id": inner.subnet})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        id
    }

    pub(crate) async fn port(&self, id: Uuid) -> Value {
        self.get(Who::Admin, &format!("/ports/{id}")).await.json()["port"].clone()
    }

    fn cx(&self, who: Who) -> Cx {
        let token = token(who);
        let verified = verifier().verify(&token, START, Duration::ZERO).unwrap();
        let context = AuthContext {
            token: Token::new(token),
            principal: verified,
            request_id: "req-1".to_owned(),
        };
        let bytes = context.encode().unwrap();
        Cx::new(NODE, TraceContext::fresh(&self.env)).with_context(bytes.into())
    }

    pub(crate) async fn validate(
        &self,
        nics: Vec<NicRequest>,
        groups: &[&str],
    ) -> Result<Vec<NicRequest>, CallError> {
        self.validated(nics, groups).await.map(|validated| validated.nics)
    }

    pub(crate) async fn validated(
        &self,
        nics: Vec<NicRequest>,
        groups: &[&str],
    ) -> Result<Validated, CallError> {
        let security_groups = groups.iter().map(|name| (*name).to_owned()).collect();
        let message = Validate { nics, security_groups };
        self.control.rpc().client::<Server>().call(&message, &self.cx(Who::Member)).await
    }

    /// A request of the member's server on this host.
    pub(crate) async fn allocate(
        &self,
        host: &Host,
        generation: u64,
        nics: Vec<NicRequest>,
    ) -> Result<NetworkInfo, CallError> {
        let name = host.node.rpc().local().to_string();
        let message = Allocate {
            server: GUEST,
            seal: seal(&name, generation),
            host: name,
            generation,
            project_id: DEMO.to_owned(),
            hostname: "s1".to_owned(),
            nics,
            security_groups: Vec::new(),
        };
        self.allocate_as(host, Who::Member, message).await
    }

    pub(crate) async fn allocate_as(
        &self,
        host: &Host,
        who: Who,
        message: Allocate,
    ) -> Result<NetworkInfo, CallError> {
        host.node.rpc().client::<Server>().call(&message, &self.cx(who)).await
    }

    pub(crate) async fn release(&self, generation: u64) -> Result<bool, CallError> {
        let message = Release { server: GUEST, generation };
        self.control.rpc().client::<Server>().call(&message, &self.cx(Who::Member)).await
    }

    /// Keys of the store below this prefix.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let txn = self.store.begin().await.unwrap();
        let found = txn.scan_raw(prefix, None, usize::MAX).unwrap();
        found.into_iter().map(|(key, _)| key.to_string()).collect()
    }
}

/// A network and its subnet.
pub(crate) struct Net {
    pub(crate) network: String,
    pub(crate) subnet: String,
}

impl Net {
    /// An interface in it.
    pub(crate) fn nic(&self, index: u32) -> NicRequest {
        NicRequest {
            index,
            network: Some(self.network.parse().unwrap()),
            port: None,
            fixed_ip: None,
        }
    }
}

fn prepare(env: &Env, switch: &Switch, name: &str) -> Prepared {
    let role = if name == "control" { "control" } else { "compute" };
    let incarnation = Incarnation(1);
    let (transport, events) = switch.attach(PeerIdentity::new(id(name), &[role]), incarnation);
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    Prepared::new(Parts {
        env: env.clone(),
        transport,
        events,
        incarnation,
        address,
        cell: "cell1".to_owned(),
        seeds: vec![(id("control"), address)],
    })
}

async fn host(env: &Env, switch: &Switch, name: &str) -> Host {
    let state = Arc::<Mutex<HostState>>::default();
    let prepared = prepare(env, switch, name);
    let node = prepared.start(agents(&state)).await.unwrap();
    Host { state, node }
}

/// Where the tunnels of a host are reached.
pub(crate) fn end(host: &str) -> IpAddr {
    IpAddr::from([198, 51, 100, host.as_bytes()[host.len() - 1]])
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// The only list in the answer.
    pub(crate) fn list(&self, name: &str) -> Vec<Value> {
        self.json()[name].as_array().unwrap_or_else(|| panic!("{}", self.text)).clone()
    }

    /// Fails unless the answer is a neutron error of this status and type with these words.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, kind: &str, words: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let error = &self.json()["NeutronError"];
        assert_eq!(error["type"], kind, "{}", self.text);
        assert_eq!(error["detail"], "", "{}", self.text);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words), "{words:?} is not in {message:?}");
    }

    /// Fails unless the answer has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

/// The kind and the code of a refused call.
#[track_caller]
pub(crate) fn fault<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> (FaultKind, String) {
    let error = outcome.unwrap_err();
    let fault = error.fault().unwrap_or_else(|| panic!("{error}"));
    (fault.kind, fault.code.clone())
}

/// The text of an attribute.
#[track_caller]
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}
