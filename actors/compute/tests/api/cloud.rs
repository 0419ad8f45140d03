//! A small cloud: a control node with compute, what compute asks, and one host; time is skipped.

use std::{
    any::Any,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};
use tower::ServiceExt;
use updraft_compute::{
    Compute, Config,
    node::{ComputeNode, NodeConfig},
    rows::{QuotaRow, ServerRow},
    simulated::{NoFaults, SimulatedDisks, SimulatedHost, SimulatedHypervisor},
};
use updraft_edge::context::Context;
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    node::{Node, Parts, Prepared},
    rpc::Rpc,
    store::{Record, Store, StoreError, StoreFaults, Txn},
    trace::{Step, Tracer},
    transport::{
        Class, Incarnation, NodeId, PeerIdentity,
        mem::{Observer, Switch},
    },
};

use crate::{
    identity::{START, Who, verifier},
    peers::{HOST, IMAGE, NETWORK, Peers},
};

/// Long enough for anything to settle.
pub(crate) const A_WHILE: Duration = Duration::from_secs(120);

/// How often a test looks again.
const LOOK: Duration = Duration::from_millis(20);

struct Paused {
    started: Instant,
    draws: AtomicU64,
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

/// Rings when a frame is sent.
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

fn switch(env: &Env) -> Switch {
    let (switch, sent) = (Switch::new(), Arc::new(Notify::new()));
    switch.set_observer(Bell(sent.clone()));
    let (carrier, carried_by) = (switch.clone(), env.clone());
    env.spawn("switch", async move {
        loop {
            sent.notified().await;
            carrier.advance(carried_by.now());
        }
    });
    switch
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("a legal name")
}

fn prepared(env: &Env, switch: &Switch, name: &str, role: &str) -> Prepared {
    let incarnation = Incarnation(1);
    let (transport, events) = switch.attach(PeerIdentity::new(id(name), &[role]), incarnation);
    let address: SocketAddr = "127.0.0.1:1".parse().expect("an address");
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

/// The cloud.
pub(crate) struct Cloud {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    pub(crate) compute: Compute,
    pub(crate) host: SimulatedHost,
    router: Router,
    tracer: Tracer,
    switch: Switch,
    nodes: Vec<Node>,
}

impl Cloud {
    /// A cloud in which nothing happens to servers: requests are answered, and that is all.
    pub(crate) async fn still() -> Self {
        Self::new(None).await
    }

    /// A cloud that makes servers on its one host.
    pub(crate) async fn running() -> Self {
        let mut cloud = Self::new(None).await;
        cloud.start_host().await;
        cloud.compute.start();
        cloud
            .until("the host is known", |cloud| {
                !cloud.rows::<updraft_compute::rows::HostRow>().is_empty()
            })
            .await;
        cloud
    }

    /// A cloud whose store fails as it is told.
    pub(crate) async fn with_faults(faults: Arc<dyn StoreFaults>) -> Self {
        Self::new(Some(faults)).await
    }

    #[allow(clippy::disallowed_methods, reason = "a test's world is a door of its own")]
    async fn new(faults: Option<Arc<dyn StoreFaults>>) -> Self {
        let env = Env::new(Paused { started: Instant::now(), draws: AtomicU64::new(0) });
        let (switch, peers) = (switch(&env), Peers::default());
        let prepared = prepared(&env, &switch, "control", "control");
        let store = Store::memory(env.clone());
        let context = Context {
            env: env.clone(),
            rpc: prepared.rpc(),
            store: match faults {
                Some(faults) => store.clone().with_faults(faults),
                None => store.clone(),
            },
            tracer: prepared.tracer(),
            verifier: verifier(),
            region: "RegionOne".to_owned(),
        };
        let compute = Compute::new(context, &Config::default());
        let tracer = prepared.tracer();
        let mut services = compute.services();
        services.push(prepared.directory().service());
        services.extend(peers.services(&prepared.rpc()));
        let node = prepared.start(services).await.expect("the control node starts");
        let router = compute.router();
        let host = SimulatedHost::new(16, 65_536, 1_000);
        compute.bootstrap().await.expect("flavors are made");
        let nodes = vec![node];
        Self { env, store, peers, compute, host, router, tracer, switch, nodes }
    }

    async fn start_host(&mut self) {
        let prepared = prepared(&self.env, &self.switch, HOST, "compute");
        let faults = Arc::new(NoFaults);
        let hypervisor = SimulatedHypervisor::new(self.env.clone(), self.host.clone(), faults);
        let node = ComputeNode::new(
            prepared.rpc(),
            Store::memory(self.env.clone()),
            prepared.tracer(),
            Arc::new(hypervisor),
            Arc::new(SimulatedDisks::default()),
            NodeConfig::default(),
        );
        let services = node.services();
        self.nodes.push(prepared.start(services).await.expect("the host starts"));
        node.start();
    }

    /// Sends a request to the newest version.
    pub(crate) async fn send(&self, who: Who, request: &str, body: impl Into<Sent>) -> Answer {
        self.send_at("2.100", who, request, body).await
    }

    /// Sends a request, written as `METHOD /path`, to a version.
    pub(crate) async fn send_at(
        &self,
        version: &str,
        who: Who,
        request: &str,
        body: impl Into<Sent>,
    ) -> Answer {
        let (method, path) = request.split_once(' ').expect("METHOD /path");
        let request = Request::builder()
            .method(method)
            .uri(format!("/v2.1{path}"))
            .header("host", "cloud")
            .header("x-auth-token", who.token())
            .header("openstack-api-version", format!("compute {version}"))
            .header("content-type", "application/json");
        self.exchange(request.body(body.into().0).expect("a request")).await
    }

    /// Sends any request.
    pub(crate) async fn exchange(&self, request: Request<Body>) -> Answer {
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, who: Who, path: &str) -> Value {
        let answer = self.send(who, &format!("GET {path}"), ()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }

    /// Asks for a server with an image, a flavor and a network, and returns its id.
    pub(crate) async fn server(&self, who: Who, name: &str) -> String {
        let answer = self.send(who, "POST /servers", server_body(name)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        answer.json()["server"]["id"].as_str().expect("an id").to_owned()
    }

    /// The same, waited for.
    pub(crate) async fn active_server(&self, who: Who, name: &str) -> String {
        let id = self.server(who, name).await;
        self.until_status(&id, "ACTIVE").await;
        id
    }

    pub(crate) async fn until_status(&self, id: &str, status: &str) {
        let deadline = self.env.now() + A_WHILE;
        loop {
            let server = self.get(Who::Admin, &format!("/servers/{id}")).await;
            let idle = server["server"]["OS-EXT-STS:task_state"].is_null();
            if server["server"]["status"] == status && idle {
                return;
            }
            assert!(self.env.now() < deadline, "not {status}: {server:#}");
            self.env.sleep(LOOK).await;
        }
    }

    /// Waits for something to be so.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = self.env.now() + A_WHILE;
        while !so(self) {
            assert!(self.env.now() < deadline, "never: {what}");
            self.env.sleep(LOOK).await;
        }
    }

    /// Lets a while pass.
    pub(crate) async fn wait(&self) {
        self.env.sleep(A_WHILE).await;
    }

    /// All rows of a table. Nothing is ever waited for in memory.
    pub(crate) fn rows<R: Record>(&self) -> Vec<R> {
        use futures_util::FutureExt as _;
        let read = self.store.read(|txn| txn.scan::<R>(None, usize::MAX));
        read.now_or_never().expect("memory answers at once").expect("the rows")
    }

    /// Changes the store behind compute's back.
    pub(crate) async fn write(&self, write: impl FnMut(&mut Txn) -> Result<(), StoreError>) {
        self.store.transact(write).await.expect("written");
    }

    /// Changes a server's row behind compute's back.
    pub(crate) async fn change(&self, id: &str, change: impl Fn(&mut ServerRow)) {
        self.write(|txn| {
            let mut row = txn.get::<ServerRow>(id)?.expect("the server");
            change(&mut row);
            txn.put(&row)
        })
        .await;
    }

    /// Sets a project's quota.
    pub(crate) async fn quota(&self, project: &str, change: impl Fn(&mut QuotaRow)) {
        let mut row = QuotaRow::default_of(project);
        change(&mut row);
        self.write(|txn| txn.put(&row)).await;
    }

    /// The control node's way to call.
    pub(crate) fn rpc(&self) -> Rpc {
        self.nodes[0].rpc().clone()
    }

    /// What was recorded so far.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.tracer.take(usize::MAX)
    }
}

/// A body that asks for one server.
pub(crate) fn server_body(name: &str) -> Value {
    json!({"server": {
        "name": name,
        "imageRef": IMAGE,
        "flavorRef": "1",
        "networks": [{"uuid": NETWORK}],
    }})
}

/// A request's body.
pub(crate) struct Sent(Body);

impl From<()> for Sent {
    fn from((): ()) -> Self {
        Self(Body::empty())
    }
}

impl From<Value> for Sent {
    fn from(value: Value) -> Self {
        Self(Body::from(value.to_string()))
    }
}

impl From<&str> for Sent {
    fn from(text: &str) -> Self {
        Self(Body::from(text.to_owned()))
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// The status and the words of an error.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, words: &str) {
        let body = self.json();
        let said = body.as_object().and_then(|body| body.values().next());
        let message = said.and_then(|said| said["message"].as_str()).unwrap_or_default();
        assert_eq!((self.status.as_u16(), message), (status, words));
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}
