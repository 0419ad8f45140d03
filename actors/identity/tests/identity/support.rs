//! A small cloud: control nodes on one store, with and without identity, and time that is skipped.

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
use tokio::time::Instant;
use tower::ServiceExt;
use updraft_edge::{context::Context, verify::Verifier};
use updraft_identity::{BootstrapConfig, Config, HashCost, Identity, SnapshotKeeper, catalog_at};
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    node::{Node, Parts, Prepared},
    rpc::Rpc,
    store::{Store, StoreFaults},
    transport::{Incarnation, NodeId, PeerIdentity, mem::Switch},
};

/// 2025-01-01, when all of this begins.
pub(crate) const START: UnixMicros = UnixMicros(1_735_689_600_000_000);

/// The administrator's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// How far apart the clocks of two nodes are, in seconds; each node's is this much ahead of the last.
const SKEW_SECS: u64 = 1;

/// How long a frame is under way.
const LATENCY: Duration = Duration::from_millis(1);

struct Paused {
    started: Instant,
    /// Microseconds by which every wall clock was set forward.
    skipped: Arc<AtomicU64>,
    ahead: Duration,
    draws: AtomicU64,
    salt: u64,
}

impl World for Paused {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> UnixMicros {
        let skipped = Duration::from_micros(self.skipped.load(Ordering::Relaxed));
        START.plus(self.now() + self.ahead + skipped)
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

/// One control node.
pub(crate) struct Control {
    pub(crate) id: NodeId,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) context: Context,
    /// Without identity, nothing.
    pub(crate) identity: Option<Identity>,
    pub(crate) router: Router,
    env: Env,
    node: Node,
}

/// The cloud.
pub(crate) struct Cloud {
    pub(crate) nodes: Vec<Control>,
    pub(crate) env: Env,
    switch: Switch,
    skipped: Arc<AtomicU64>,
}

/// How a cloud is made.
pub(crate) struct Settings {
    /// For each control node, whether identity runs there.
    pub(crate) nodes: Vec<bool>,
    pub(crate) config: Config,
    pub(crate) store_faults: Option<Arc<dyn StoreFaults>>,
    /// Raw rows that are there before anything starts.
    pub(crate) rows: Vec<(String, Value)>,
}

impl Default for Settings {
    fn default() -> Self {
        let config = Config { hash_cost: HashCost::least(), ..Config::default() };
        Self { nodes: vec![true], config, store_faults: None, rows: Vec::new() }
    }
}

fn id(n: usize) -> NodeId {
    NodeId::new(&format!("control{n}")).expect("a name")
}

fn address() -> SocketAddr {
    "127.0.0.1:1".parse().expect("an address")
}

impl Cloud {
    /// One control node with all that a cloud begins with.
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    /// Control nodes with identity where it is wanted.
    pub(crate) async fn of(nodes: &[bool]) -> Self {
        Self::with(Settings { nodes: nodes.to_vec(), ..Settings::default() }).await
    }

    #[allow(clippy::disallowed_methods, reason = "a test's world is a door of its own")]
    pub(crate) async fn with(settings: Settings) -> Self {
        let (started, switch) = (Instant::now(), Switch::new());
        let pump = switch.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                pump.advance(started.elapsed());
            }
        });
        let skipped = Arc::new(AtomicU64::new(0));
        let env = Env::new(Paused::new(started, &skipped, 0));
        let store = Store::memory(env.clone());
        store
            .transact::<_, updraft_runtime::store::StoreError>(|txn| {
                for (key, row) in &settings.rows {
                    txn.put_raw(key, row.to_string().into())?;
                }
                Ok(())
            })
            .await
            .expect("written");
        let mut nodes = Vec::new();
        for n in 0..settings.nodes.len() {
            let env = Env::new(Paused::new(started, &skipped, n as u64));
            nodes.push(Control::start(n, env, &switch, &store, &settings).await);
        }
        let cloud = Self { nodes, env, switch, skipped };
        cloud.cut_off(None);
        let first = cloud.nodes.iter().find_map(|node| node.identity.clone());
        first.expect("identity somewhere").bootstrap(&bootstrap()).await.expect("begun");
        cloud.pass(Duration::from_secs(3)).await;
        cloud
    }

    /// The cloud begins again, now with a password for its services.
    pub(crate) async fn give_services_a_password(&self, secret: &str) {
        let config = BootstrapConfig { service_password: Some(secret.to_owned()), ..bootstrap() };
        let identity = self.nodes[0].identity.as_ref().expect("identity");
        identity.bootstrap(&config).await.expect("begun again");
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        self.env.sleep(time).await;
    }

    /// Sets every wall clock forward, which is all that tokens and keys go by.
    pub(crate) fn skip(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).expect("within an age");
        self.skipped.fetch_add(micros, Ordering::Relaxed);
    }

    /// Cuts one node off from all others, or none.
    pub(crate) fn cut_off(&self, node: Option<NodeId>) {
        let fate = move |_, from: &NodeId, to: &NodeId, _, _: &[u8]| {
            let crosses = from != to && [from, to].contains(&node.as_ref().unwrap_or(from));
            if node.is_some() && crosses { Vec::new() } else { vec![LATENCY] }
        };
        self.switch.set_fate(fate);
    }

    /// What a request to the first node is answered.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        self.nodes[0].send(request).await
    }

    /// A token for whatever the body asks.
    pub(crate) async fn token(&self, body: Value) -> String {
        self.nodes[0].token(body).await
    }

    /// The administrator's token for the project `admin`.
    pub(crate) async fn admin(&self) -> Caller<'_> {
        let token = self.token(password("admin", PASSWORD, in_project("admin"))).await;
        Caller { node: &self.nodes[0], token }
    }

    /// A new user with this role in a new project of the same name; the password is the name.
    pub(crate) async fn user(&self, name: &str, role: &str) -> User<'_> {
        let admin = self.admin().await;
        let project = admin.made("/v3/projects", json!({"project": {"name": name}})).await;
        let user = json!({"user": {"name": name, "password": name}});
        let id = admin.made("/v3/users", user).await;
        let role = admin.role(role).await;
        let grant = format!("/v3/projects/{project}/users/{id}/roles/{role}");
        assert_eq!(admin.put(&grant, None).await.status, StatusCode::NO_CONTENT);
        let token = self.token(password(name, name, in_project(name))).await;
        User { caller: Caller { node: &self.nodes[0], token }, id, project }
    }
}

/// Somebody with a token at a node.
pub(crate) struct Caller<'a> {
    pub(crate) node: &'a Control,
    pub(crate) token: String,
}

/// A user made for a test, with a token for a project of its own.
pub(crate) struct User<'a> {
    pub(crate) caller: Caller<'a>,
    pub(crate) id: String,
    pub(crate) project: String,
}

impl Paused {
    fn new(started: Instant, skipped: &Arc<AtomicU64>, n: u64) -> Self {
        let (ahead, skipped) = (Duration::from_secs(SKEW_SECS * n), skipped.clone());
        Self { started, skipped, ahead, draws: AtomicU64::new(0), salt: n }
    }
}

impl Control {
    async fn start(
        n: usize,
        env: Env,
        switch: &Switch,
        store: &Store,
        settings: &Settings,
    ) -> Self {
        let has_identity = settings.nodes[n];
        let (transport, events) =
            switch.attach(PeerIdentity::new(id(n), &["control"]), Incarnation(1));
        let seeds = (0..settings.nodes.len()).map(|n| (id(n), address())).collect();
        let prepared = Prepared::new(Parts {
            env: env.clone(),
            transport,
            events,
            incarnation: Incarnation(1),
            address: address(),
            cell: "cell1".to_owned(),
            seeds,
        });
        let verifier = Arc::new(Verifier::new());
        let keeper = SnapshotKeeper::new(env.clone(), prepared.rpc(), verifier.clone());
        let store = match &settings.store_faults {
            Some(faults) => store.clone().with_faults(faults.clone()),
            None => store.clone(),
        };
        let context = Context {
            env: env.clone(),
            rpc: prepared.rpc(),
            store,
            tracer: prepared.tracer(),
            verifier: verifier.clone(),
            region: "RegionOne".to_owned(),
        };
        let identity =
            has_identity.then(|| Identity::new(context.clone(), settings.config.clone()));
        let mut services = vec![prepared.directory().service(), keeper.service()];
        services.extend(identity.iter().flat_map(Identity::services));
        let router = identity.as_ref().map(Identity::router).unwrap_or_default();
        let node = prepared.start(services).await.expect("started");
        keeper.start();
        if let Some(identity) = &identity {
            identity.start();
        }
        Self { id: id(n), verifier, context, identity, router, env, node }
    }

    /// For sending messages as this node.
    pub(crate) fn rpc(&self) -> &Rpc {
        self.node.rpc()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(body.to_vec()).expect("text");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// What a request for a token is answered.
    pub(crate) async fn authenticate(&self, body: Value) -> Answer {
        self.send(posted("/v3/auth/tokens", &body)).await
    }

    pub(crate) async fn token(&self, body: Value) -> String {
        let answer = self.authenticate(body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.header("x-subject-token").expect("a token").to_owned()
    }

    /// Whether this node lets a token pass.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        self.verifier.verify(token, self.env.wall(), Duration::ZERO).is_ok()
    }
}

impl Caller<'_> {
    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header("x-auth-token", &self.token)
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.node.send(request.expect("a request")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.call("HEAD", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Option<Value>) -> Answer {
        self.call("PUT", path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call("PATCH", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None).await
    }

    /// The same with another token in question.
    pub(crate) async fn about(&self, method: &str, path: &str, subject: &str) -> Answer {
        let request = self.request(method, path).header("x-subject-token", subject);
        self.node.send(request.body(Body::empty()).expect("a request")).await
    }

    /// The id of something new.
    pub(crate) async fn made(&self, path: &str, body: Value) -> String {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let body = answer.json();
        let made = body.as_object().and_then(|body| body.values().next()).expect("one thing");
        made["id"].as_str().expect("an id").to_owned()
    }

    /// The id of the role of this name.
    pub(crate) async fn role(&self, name: &str) -> String {
        let body = self.get(&format!("/v3/roles?name={name}")).await.json();
        body["roles"][0]["id"].as_str().expect("a role").to_owned()
    }

    /// The names in a list.
    pub(crate) async fn names(&self, path: &str) -> Vec<String> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let body = answer.json();
        let list = body.as_object().and_then(|body| body.values().find_map(Value::as_array));
        let name = |one: &Value| one["name"].as_str().unwrap_or_default().to_owned();
        let mut names: Vec<String> = list.expect("a list").iter().map(name).collect();
        names.sort();
        names
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The message of an error.
    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().expect("a message").to_owned()
    }
}

pub(crate) fn bootstrap() -> BootstrapConfig {
    BootstrapConfig {
        admin_password: PASSWORD.to_owned(),
        service_password: None,
        region: "RegionOne".to_owned(),
        catalog: catalog_at("http://controller"),
        keeps_passwords: false,
        keeps_addresses: false,
    }
}

pub(crate) fn posted(path: &str, body: &Value) -> Request<Body> {
    Request::builder()
        .method("POST")
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request")
}

/// A request for a token by a password, in the default domain.
pub(crate) fn password(user: &str, password: &str, scope: Value) -> Value {
    let user = json!({"name": user, "password": password, "domain": {"id": "default"}});
    asking(&json!({"methods": ["password"], "password": {"user": user}}), scope)
}

/// A request for a token by a token.
pub(crate) fn by_token(token: &str, scope: Value) -> Value {
    asking(&json!({"methods": ["token"], "token": {"id": token}}), scope)
}

fn asking(identity: &Value, scope: Value) -> Value {
    match scope {
        Value::Null => json!({"auth": {"identity": identity}}),
        scope => json!({"auth": {"identity": identity, "scope": scope}}),
    }
}

pub(crate) fn in_project(name: &str) -> Value {
    json!({"project": {"name": name, "domain": {"name": "Default"}}})
}

pub(crate) fn in_domain(id: &str) -> Value {
    json!({"domain": {"id": id}})
}

pub(crate) fn on_system() -> Value {
    json!({"system": {"all": true}})
}
