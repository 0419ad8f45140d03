//! A small cloud: a control node with the image service, a compute node that asks it, time that is skipped.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
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
use bytes::Bytes;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{task::AbortHandle, time::Instant};
use tower::ServiceExt;
use updraft_edge::{
    context::Context,
    token::{KeyRing, Methods, TokenContents, TokenScope},
    verify::Verifier,
};
use updraft_image::{ByteStore, Config, Image, Usage};
use updraft_protocol::identity::*;
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    node::{Node, Parts, Prepared},
    rpc::{Cx, TraceContext},
    store::{Store, StoreFaults},
    transport::{Incarnation, NodeId, PeerIdentity, mem::Switch},
};

/// 2025-01-01, when all of this begins.
pub(crate) const START: UnixMicros = UnixMicros(1_735_689_600_000_000);

pub(crate) const DEMO: &str = "d0000000000000000000000000000000";
pub(crate) const OTHER: &str = "e0000000000000000000000000000000";

/// Long enough for a dead upload's lease to end and its leftovers to be swept.
pub(crate) const A_WHILE: Duration = Duration::from_secs(130);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Admin,
    Member,
    Reader,
    Other,
}

impl Who {
    fn user(self) -> &'static str {
        match self {
            Self::Admin => "a1000000000000000000000000000000",
            Self::Member => "a2000000000000000000000000000000",
            Self::Reader => "a3000000000000000000000000000000",
            Self::Other => "a4000000000000000000000000000000",
        }
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

    const ALL: [Self; 4] = [Self::Admin, Self::Member, Self::Reader, Self::Other];
}

/// One life of a node: its tasks can be ended all at once, as by a crash.
#[derive(Clone, Default)]
struct Life(Arc<Mutex<Vec<AbortHandle>>>);

impl Life {
    fn env(&self, started: Instant, salt: u64) -> Env {
        Env::new(Paused { started, draws: AtomicU64::new(0), salt, life: self.clone() })
    }

    fn end(&self) {
        self.0.lock().drain(..).for_each(|task| task.abort());
    }
}

struct Paused {
    started: Instant,
    draws: AtomicU64,
    salt: u64,
    life: Life,
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
        self.life.0.lock().push(tokio::spawn(task).abort_handle());
    }

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        Box::pin(async move { Ok(work()) })
    }
}

pub(crate) fn identity() -> IdentitySnapshot {
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
        users: Who::ALL.map(|who| (who.user().to_owned(), user(who))).into(),
        projects: [DEMO, OTHER].map(|id| (id.to_owned(), project(id))).into(),
        domains: BTreeMap::from([("default".to_owned(), domain)]),
        roles: BTreeMap::from([
            ("r-admin".to_owned(), role("admin", &["r-member"])),
            ("r-member".to_owned(), role("member", &["r-reader"])),
            ("r-reader".to_owned(), role("reader", &[])),
        ]),
        assignments: Who::ALL.map(|who| (who.user().to_owned(), assigned(who))).into(),
        ..IdentitySnapshot::default()
    }
}

/// A token of this user that ends so long after the start.
pub(crate) fn token(who: Who, lasts: Duration) -> String {
    let contents = TokenContents {
        user_id: who.user().to_owned(),
        methods: Methods::of(["password"]),
        scope: TokenScope::Project { project_id: who.project().to_owned() },
        expires_at: START.plus(lasts),
        audit_ids: vec![AuditId([1; 16])],
    };
    let keys = KeyRing::new(&identity().fernet_keys).expect("two keys");
    keys.seal(&contents, START).expect("short").reveal().to_owned()
}

fn verifier() -> Arc<Verifier> {
    let verifier = Verifier::new();
    verifier.publish(Arc::new(identity()));
    Arc::new(verifier)
}

/// How a cloud is made.
pub(crate) struct Settings {
    pub(crate) bytes: ByteStore,
    pub(crate) size_max_bytes: u64,
    pub(crate) store_faults: Option<Arc<dyn StoreFaults>>,
    /// Whom the image service knows.
    pub(crate) verifier: Arc<Verifier>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bytes: ByteStore::memory(),
            size_max_bytes: 1 << 40,
            store_faults: None,
            verifier: verifier(),
        }
    }
}

/// The cloud.
pub(crate) struct Cloud {
    pub(crate) router: Router,
    pub(crate) image: Image,
    /// The image service's node.
    pub(crate) control: Node,
    /// A compute node, for its calls.
    pub(crate) compute: Node,
    pub(crate) env: Env,
    started: Instant,
    switch: Switch,
    store: Store,
    settings: Settings,
    life: Life,
    lives: u64,
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

fn prepare(env: &Env, switch: &Switch, name: &str, incarnation: u64) -> Prepared {
    let role = if name.starts_with("control") { "control" } else { "compute" };
    let incarnation = Incarnation(incarnation);
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

impl Cloud {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    #[allow(clippy::disallowed_methods, reason = "a test's world is a door of its own")]
    pub(crate) async fn with(settings: Settings) -> Self {
        let (started, switch, outside) = (Instant::now(), Switch::new(), Life::default());
        let (env, pump) = (outside.env(started, 0), switch.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                pump.advance(started.elapsed());
            }
        });
        let store = Store::memory(env.clone());
        let life = Life::default();
        let (control, image) = serve(&life, started, &switch, &store, &settings, 1).await;
        let prepared = prepare(&outside.env(started, 50), &switch, "host1", 1);
        let compute = prepared.start(Vec::new()).await.expect("started");
        let router = image.router();
        let cloud = Self {
            router,
            image,
            control,
            compute,
            env,
            started,
            switch,
            store,
            settings,
            life,
            lives: 1,
        };
        cloud.pass(Duration::from_secs(1)).await;
        cloud
    }

    /// The image service's process dies without a word and starts again.
    pub(crate) async fn restart(&mut self) {
        self.life.end();
        self.switch.detach(&id("control"));
        self.lives += 1;
        self.life = Life::default();
        let (control, image) =
            serve(&self.life, self.started, &self.switch, &self.store, &self.settings, self.lives)
                .await;
        self.router = image.router();
        (self.control, self.image) = (control, image);
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        self.env.sleep(time).await;
    }

    /// What images take once everything has come to rest; fails if anything leaks.
    pub(crate) async fn settled(&self) -> Usage {
        self.pass(A_WHILE).await;
        let usage = self.image.usage().await.expect("compared");
        assert!(usage.leaked.is_empty(), "leaked: {:?}", usage.leaked);
        assert!(usage.damaged.is_empty(), "without their bytes: {:?}", usage.damaged);
        assert!(usage.unsettled.is_empty(), "not at rest: {:?}", usage.unsettled);
        usage
    }

    /// A context for calls on behalf of this user.
    pub(crate) fn cx(&self, who: Who, token: &str) -> Cx {
        let verified = verifier().verify(token, START, Duration::ZERO).expect("a good token");
        let context = AuthContext {
            token: Token::new(token),
            principal: verified,
            request_id: "req-1".to_owned(),
        };
        let bytes = context.encode().expect("short");
        assert_eq!(context.principal.project_id(), Some(who.project()));
        Cx::new("compute.node", TraceContext::fresh(&self.env)).with_context(bytes.into())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, who: Who, path: &str) -> Answer {
        self.send(request(who, "GET", path).body(Body::empty()).expect("a request")).await
    }

    pub(crate) async fn delete(&self, who: Who, path: &str) -> Answer {
        self.send(request(who, "DELETE", path).body(Body::empty()).expect("a request")).await
    }

    pub(crate) async fn post(&self, who: Who, path: &str, body: Value) -> Answer {
        let request = request(who, "POST", path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    pub(crate) async fn put(&self, who: Who, path: &str, body: Value) -> Answer {
        let request = request(who, "PUT", path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    pub(crate) async fn patch(&self, who: Who, path: &str, body: Value) -> Answer {
        let kind = "application/openstack-images-v2.1-json-patch";
        let request = request(who, "PATCH", path).header("content-type", kind);
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    pub(crate) async fn upload(&self, who: Who, image: &str, body: impl Into<Body>) -> Answer {
        let path = format!("/v2/images/{image}/file");
        let request = request(who, "PUT", &path).header("content-type", "application/octet-stream");
        self.send(request.body(body.into()).expect("a request")).await
    }

    /// The id of a new raw image of the demo project, without bytes.
    pub(crate) async fn queued(&self) -> String {
        self.made(json!({"name": "i", "disk_format": "raw", "container_format": "bare"})).await
    }

    pub(crate) async fn made(&self, body: Value) -> String {
        let answer = self.post(Who::Member, "/v2/images", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// The id of a new raw image of the demo project with these bytes.
    pub(crate) async fn active(&self, bytes: &'static [u8]) -> String {
        let image = self.queued().await;
        let answer = self.upload(Who::Member, &image, bytes).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        image
    }

    pub(crate) async fn status(&self, image: &str) -> String {
        let answer = self.get(Who::Admin, &format!("/v2/images/{image}")).await;
        answer.json()["status"].as_str().expect("a status").to_owned()
    }
}

async fn serve(
    life: &Life,
    started: Instant,
    switch: &Switch,
    store: &Store,
    settings: &Settings,
    incarnation: u64,
) -> (Node, Image) {
    let env = life.env(started, 100 + incarnation);
    let prepared = prepare(&env, switch, "control", incarnation);
    let store = match &settings.store_faults {
        Some(faults) => store.clone().with_faults(faults.clone()),
        None => store.clone(),
    };
    let context = Context {
        env,
        rpc: prepared.rpc(),
        store,
        tracer: prepared.tracer(),
        verifier: settings.verifier.clone(),
        region: "RegionOne".to_owned(),
    };
    let config = Config {
        bytes: settings.bytes.clone(),
        size_max_bytes: settings.size_max_bytes,
        ..Config::default()
    };
    let image = Image::new(context, config);
    let mut services = image.services();
    services.push(prepared.directory().service());
    let node = prepared.start(services).await.expect("started");
    image.start();
    (node, image)
}

pub(crate) fn request(who: Who, method: &str, path: &str) -> axum::http::request::Builder {
    let day = Duration::from_secs(86_400);
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "cloud")
        .header("x-auth-token", token(who, day))
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Fails unless the answer has this status and says these words.
    pub(crate) fn says(&self, status: u16, words: &str) {
        let text = self.text().replace("&#x27;", "'").replace("&quot;", "\"");
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}
