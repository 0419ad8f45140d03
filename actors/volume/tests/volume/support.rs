//! A small cloud: a control node with the volume service, hosts with volume nodes, time that is skipped.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
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
    seal::Placement,
    token::{KeyRing, Methods, TokenContents, TokenScope},
    verify::Verifier,
};
use updraft_protocol::{
    compute::Seal,
    identity::*,
    image::{self, Fetch, ImageLocation, Locate},
    volume::{Api, Attached, Connect, Connection, FileWant, GetFile, Release, Reserve, VolumeInfo},
};
use updraft_runtime::{
    Env,
    bulk::{Algorithm, Memory},
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    node::{Node, Parts, Prepared},
    rpc::{CallError, Cx, Fault, FaultKind, Rpc, Service, TraceContext},
    store::{Store, StoreFaults},
    transport::{Incarnation, NodeId, PeerIdentity, mem::Switch},
};
use updraft_volume::{
    AgentContext, Config, Usage, Volume, VolumeAgent,
    driver::{Faults, NoFaults, SimulatedVolumes},
};
use uuid::Uuid;

/// 2025-01-01, when all of this begins.
pub(crate) const START: UnixMicros = UnixMicros(1_735_689_600_000_000);

pub(crate) const DEMO: &str = "d0000000000000000000000000000000";
pub(crate) const OTHER: &str = "e0000000000000000000000000000000";

/// Long enough for every retry that ends.
pub(crate) const A_WHILE: Duration = Duration::from_secs(120);

/// The image that the cloud has, a little larger than one piece.
pub(crate) const IMAGE: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_8555_6666_7777_8888);

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

/// What a volume service wants that only answers, of each file.
pub(crate) type Wanted = Arc<Mutex<BTreeMap<Uuid, FileWant>>>;

/// How a cloud is made.
pub(crate) struct Settings {
    /// What is wanted, in place of the volume service's own rows.
    pub(crate) wanted: Option<Wanted>,
    pub(crate) hosts: usize,
    /// Room of each host.
    pub(crate) total_gib: u64,
    pub(crate) store_faults: Option<Arc<dyn StoreFaults>>,
    pub(crate) driver_faults: Arc<dyn Faults>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wanted: None,
            hosts: 1,
            total_gib: 2_000,
            store_faults: None,
            driver_faults: Arc::new(NoFaults),
        }
    }
}

/// A host with a volume node.
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) agent: VolumeAgent,
    pub(crate) files: SimulatedVolumes,
    store: Store,
    life: Life,
    lives: u64,
}

/// The cloud.
pub(crate) struct Cloud {
    pub(crate) router: Router,
    pub(crate) volume: Volume,
    pub(crate) control: Node,
    pub(crate) hosts: Vec<Host>,
    pub(crate) env: Env,
    started: Instant,
    switch: Switch,
    store: Store,
    settings: Settings,
    life: Life,
    lives: u64,
}

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

fn host_name(index: usize) -> String {
    format!("host{}", index + 1)
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

/// The bytes of [`IMAGE`].
pub(crate) fn image_bytes() -> Bytes {
    static BYTES: LazyLock<Bytes> =
        LazyLock::new(|| (0..(1_u32 << 20) + 5).map(|n| (n % 251) as u8).collect());
    BYTES.clone()
}

fn location() -> ImageLocation {
    let sha512 = <sha2::Sha512 as sha2::Digest>::digest(image_bytes());
    ImageLocation {
        image: IMAGE,
        name: "disk".to_owned(),
        uri: format!("updraft+image:///{IMAGE}"),
        status: "active".to_owned(),
        disk_format: "raw".to_owned(),
        container_format: "bare".to_owned(),
        size_bytes: image_bytes().len() as u64,
        virtual_size_bytes: None,
        sha512: sha512.iter().map(|byte| format!("{byte:02x}")).collect(),
        min_disk_gib: 1,
        min_ram_mib: 64,
        kernel: None,
        ramdisk: None,
        properties: [("os_type".to_owned(), "linux".to_owned())].into(),
    }
}

/// An image service that has one image, for whoever brings a token.
fn images(rpc: &Rpc) -> Service {
    let known = |ctx: &updraft_runtime::rpc::Ctx, image: Uuid| {
        let context = AuthContext::decode(&ctx.context);
        match (context.is_ok(), image == IMAGE) {
            (true, true) => Ok(()),
            (true, false) => Err(Fault::new(FaultKind::NotFound, "ImageNotFound", "no such image")),
            (false, _) => Err(Fault::new(FaultKind::Unauthenticated, "Unauthorized", "no token")),
        }
    };
    Service::of::<image::Api>()
        .call(move |ctx, Locate { image }: Locate| {
            let answer = known(&ctx, image).map(|()| location());
            async move { answer }
        })
        .body(rpc, move |ctx, Fetch { image }: Fetch| {
            let bytes = Memory::new(image_bytes(), Algorithm::Sha512);
            let answer = known(&ctx, image).map(|()| bytes);
            async move { answer }
        })
        .into()
}

impl Host {
    #[allow(clippy::too_many_arguments, reason = "everything a host is made of")]
    async fn start(
        name: &str,
        started: Instant,
        switch: &Switch,
        store: Store,
        files: SimulatedVolumes,
        salt: u64,
        lives: u64,
    ) -> Self {
        let life = Life::default();
        let env = life.env(started, salt + lives);
        let prepared = prepare(&env, switch, name, lives);
        let context = AgentContext {
            env: env.clone(),
            rpc: prepared.rpc(),
            store: store.clone(),
            tracer: prepared.tracer(),
            host: id(name),
        };
        let files = files.with_env(&env);
        let agent = VolumeAgent::new(context, Arc::new(files.clone()));
        let node = prepared.start(agent.services()).await.expect("started");
        agent.start();
        Self { node, agent, files, store, life, lives }
    }
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
                tokio::time::sleep(Duration::from_millis(40)).await;
                pump.advance(started.elapsed());
            }
        });
        let store = Store::memory(env.clone());
        let life = Life::default();
        let (control, volume) = serve(&life, started, &switch, &store, &settings, 1).await;
        let mut hosts = Vec::new();
        for index in 0..settings.hosts {
            let files = SimulatedVolumes::new(&env, settings.total_gib)
                .with_faults(settings.driver_faults.clone());
            let disk = Store::memory(env.clone());
            let salt = 1_000 * (index as u64 + 1);
            let name = host_name(index);
            hosts.push(Host::start(&name, started, &switch, disk, files, salt, 1).await);
        }
        let router = volume.router();
        let cloud = Self {
            router,
            volume,
            control,
            hosts,
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

    /// The control node's process dies without a word and starts again.
    pub(crate) async fn restart_control(&mut self) {
        self.life.end();
        self.switch.detach(&id("control"));
        self.lives += 1;
        self.life = Life::default();
        let (control, volume) =
            serve(&self.life, self.started, &self.switch, &self.store, &self.settings, self.lives)
                .await;
        self.router = volume.router();
        (self.control, self.volume) = (control, volume);
    }

    /// A host dies without a word.
    pub(crate) fn crash_host(&mut self, index: usize) {
        self.hosts[index].life.end();
        self.switch.detach(&id(&host_name(index)));
    }

    /// A host starts again with what it has on disk.
    pub(crate) async fn restart_host(&mut self, index: usize) {
        self.crash_host(index);
        let host = &self.hosts[index];
        let (files, store, lives) = (host.files.clone(), host.store.clone(), host.lives + 1);
        let salt = 1_000 * (index as u64 + 1);
        let name = host_name(index);
        let (started, switch) = (self.started, self.switch.clone());
        self.hosts[index] = Host::start(&name, started, &switch, store, files, salt, lives).await;
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        self.env.sleep(time).await;
    }

    /// What volumes take once everything has come to rest; fails if a file has no row or a row no file.
    pub(crate) async fn settled(&self) -> Usage {
        self.pass(A_WHILE).await;
        let usage = self.volume.usage().await.expect("read");
        assert!(usage.unsettled.is_empty(), "not at rest: {:?}", usage.unsettled);
        let mut files: Vec<Uuid> = Vec::new();
        for host in &self.hosts {
            files.extend(host.files.simulated_files().into_keys());
        }
        files.sort_unstable();
        let rows: Vec<Uuid> = usage.files.keys().copied().collect();
        let failed = self.failed().await;
        files.retain(|file| !failed.contains(file));
        assert_eq!(files, rows, "files and rows differ");
        usage
    }

    /// Waits for the volume, however long its copies may take, and for everything to come to rest.
    pub(crate) async fn settled_for(&self, volume: &str) {
        for _ in 0..2_000 {
            self.pass(Duration::from_secs(5)).await;
            let usage = self.volume.usage().await.expect("read");
            if usage.unsettled.is_empty() {
                return;
            }
        }
        panic!("{volume} does not come to rest: {}", self.shown(volume).await);
    }

    /// Volumes in error: what was made of them goes when they do.
    async fn failed(&self) -> BTreeSet<Uuid> {
        let list = self.get(Who::Admin, "/v3/volumes/detail?all_tenants=1&status=error").await;
        let list = list.json();
        let volumes = list["volumes"].as_array().expect("a list");
        volumes.iter().map(|row| row["id"].as_str().expect("id").parse().expect("id")).collect()
    }

    /// A context for calls on behalf of this user.
    pub(crate) fn cx(&self, who: Who) -> Cx {
        let token = token(who, Duration::from_secs(86_400));
        let verified = verifier().verify(&token, START, Duration::ZERO).expect("a good token");
        let context = AuthContext {
            token: Token::new(token),
            principal: verified,
            request_id: "req-1".to_owned(),
        };
        let bytes = context.encode().expect("short");
        Cx::new("compute.node", TraceContext::fresh(&self.env)).with_context(bytes.into())
    }

    /// The word of a control node that a server is placed there.
    pub(crate) fn seal(server: Uuid, host: &str, generation: u64) -> Seal {
        verifier().seal(&Placement { server, host, generation }).expect("there are keys")
    }

    pub(crate) async fn reserve(
        &self,
        who: Who,
        message: Reserve,
    ) -> Result<VolumeInfo, CallError> {
        self.control.rpc().client::<Api>().call(&message, &self.cx(who)).await
    }

    pub(crate) async fn connect(&self, message: Connect) -> Result<Connection, CallError> {
        self.connect_by(0, message).await
    }

    /// Asked by the node of this host.
    pub(crate) async fn connect_by(
        &self,
        host: usize,
        message: Connect,
    ) -> Result<Connection, CallError> {
        self.hosts[host].node.rpc().client::<Api>().call(&message, &self.cx(Who::Member)).await
    }

    pub(crate) async fn attached(&self, message: Attached) -> Result<(), CallError> {
        self.control.rpc().client::<Api>().call(&message, &self.cx(Who::Member)).await
    }

    pub(crate) async fn release(&self, message: Release) -> Result<(), CallError> {
        self.control.rpc().client::<Api>().call(&message, &self.cx(Who::Member)).await
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

    /// The id of a new volume of the demo project.
    pub(crate) async fn made(&self, volume: Value) -> String {
        let answer = self.post(Who::Member, "/v3/volumes", json!({"volume": volume})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.json()["volume"]["id"].as_str().expect("an id").to_owned()
    }

    /// The id of a new volume of 1 GiB that is available.
    pub(crate) async fn available(&self) -> String {
        let volume = self.made(json!({"size": 1})).await;
        self.until(&volume, "available").await;
        volume
    }

    pub(crate) async fn shown(&self, volume: &str) -> Value {
        self.get(Who::Admin, &format!("/v3/volumes/{volume}")).await.json()["volume"].clone()
    }

    /// Waits until the volume has this status.
    pub(crate) async fn until(&self, volume: &str, status: &str) {
        for _ in 0..200 {
            if self.shown(volume).await["status"] == status {
                return;
            }
            self.pass(Duration::from_millis(500)).await;
        }
        panic!("{volume} is not {status}: {}", self.shown(volume).await);
    }
}

async fn serve(
    life: &Life,
    started: Instant,
    switch: &Switch,
    store: &Store,
    settings: &Settings,
    incarnation: u64,
) -> (Node, Volume) {
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
        verifier: verifier(),
        region: "RegionOne".to_owned(),
    };
    let volume = Volume::new(context, Config::default());
    let mut services = match &settings.wanted {
        Some(wanted) => vec![answers(wanted.clone())],
        None => volume.services(),
    };
    services.push(prepared.directory().service());
    services.push(images(&prepared.rpc()));
    let node = prepared.start(services).await.expect("started");
    volume.start();
    (node, volume)
}

/// A volume service that says what is wanted, and nothing else.
fn answers(wanted: Wanted) -> Service {
    Service::of::<Api>()
        .call(move |_, GetFile { id }: GetFile| {
            let want = wanted.lock().get(&id).cloned();
            async move { Ok(want) }
        })
        .into()
}

/// A request by the newest version that the service has.
pub(crate) fn request(who: Who, method: &str, path: &str) -> axum::http::request::Builder {
    let day = Duration::from_secs(86_400);
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "cloud")
        .header("openstack-api-version", "volume 3.65")
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

    /// Fails unless the answer has this status and says these words.
    pub(crate) fn says(&self, status: u16, words: &str) {
        let text = self.text().replace("\\\"", "\"");
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}
