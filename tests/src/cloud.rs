//! A simulated cloud: control nodes on one shared database, compute hosts with simulated drivers, and a client
//! that speaks REST to any of them. On tier 3 the database is a file of the one control node, and each host has its own;
//! there the bytes of images, and what hosts have of guests and volumes, are on the drives of their nodes too.

mod bytes;
mod client;
mod compute;
mod drive_bytes;
mod drivers;
mod keys;
mod pending;
mod rest;
mod sse;
mod stores;

use std::{sync::Arc, time::Duration};

use object_store::{ObjectStore, memory::InMemory};
use parking_lot::Mutex;
use updraft_cloud::{Control, ControlConfig, Host, control::migrate, membership::Registrar};
use updraft_compute::{node::NodeConfig, rows::HostRow};
use updraft_harness::fault::Topology;
use updraft_harness::world::{Boot, NodeContext, Tier, World};
use updraft_identity::{BootstrapConfig, HashCost, catalog_at};
use updraft_image::ByteStore;
use updraft_runtime::store::Store;
use updraft_transport::{
    NodeId, PeerIdentity,
    ca::{CloudCa, Validity},
    key::NodeKey,
};

use crate::census;

use bytes::{Bytes, Gate};
pub use client::{Answer, Client, TOKENS, log_in};
pub use compute::running;
use drive_bytes::DriveBytes;
pub use drivers::{Fault, Machine, Menu, PUBLIC, Point};
pub use pending::Pending;
use rest::Door;
pub use sse::Event;
use stores::Damaged;

/// The administrator's password in every simulated cloud.
pub const PASSWORD: &str = "simulated";

/// How long the CA of a simulated cloud lasts: longer than any simulation.
const CA_LASTS: Duration = Duration::from_secs(3_600 * 24 * 365);

/// How long a start may take.
const START: Duration = Duration::from_secs(60);

/// How large a simulated cloud is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Control nodes.
    pub controls: usize,
    /// Compute hosts.
    pub hosts: usize,
    /// The memory of each host, in MiB.
    pub host_memory_mib: u64,
    /// Whether the hosts start after a pause that no seed decides: to show that a comparison of runs fails.
    pub unseeded: bool,
    /// How long a token lives.
    pub token_lifetime: Duration,
    /// Whether control nodes let hosts join.
    pub joins: bool,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            controls: 3,
            hosts: 3,
            host_memory_mib: 65_536,
            unseeded: false,
            token_lifetime: Duration::from_secs(3_600),
            joins: false,
        }
    }
}

/// What all control nodes share, and no crash takes.
#[derive(Clone, Default)]
struct Shared {
    database: Arc<Mutex<Option<Store>>>,
    images: Arc<InMemory>,
    /// Instead, on tier 3, as somebody sees them who looks on.
    on_drive: Arc<Mutex<Option<DriveBytes>>>,
}

impl Shared {
    /// The bytes of images as a control node has them.
    fn images_of(&self, context: &NodeContext, tier: Tier) -> Arc<dyn ObjectStore> {
        if tier != Tier::Disks {
            return self.images.clone();
        }
        *self.on_drive.lock() = Some(DriveBytes::looked_at(&context.drive));
        Arc::new(DriveBytes::new(&context.drive, &context.env))
    }
}

/// A node has left it that gave up its start, as a program that ends with an error.
#[derive(Clone)]
struct DidNotStart;

/// What a control node answers requests by: made once for each of its lives.
#[derive(Clone)]
struct Routes(axum::Router);

/// A cloud in a world.
pub struct SimCloud {
    /// The world.
    pub world: World,
    controls: Vec<NodeId>,
    hosts: Vec<NodeId>,
    /// The machine that requests come from, on a tier that has TCP.
    user: Option<NodeId>,
    shared: Shared,
}

impl SimCloud {
    /// A cloud that answers, with every host reported.
    #[must_use]
    pub fn start(seed: u64, tier: Tier, size: Size, menu: &Menu) -> Self {
        Self::start_at(seed, tier, size, menu, Topology::default())
    }

    /// The same, whose nodes stand there: `control-1` and so on, `compute-1` and so on.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start_at(seed: u64, tier: Tier, size: Size, menu: &Menu, topology: Topology) -> Self {
        let id = |kind: &str, number: usize| NodeId::new(&format!("{kind}-{number}"));
        // A file is one node's.
        let controls = if tier == Tier::Disks { 1 } else { size.controls };
        let controls: Vec<NodeId> =
            (1..=controls).filter_map(|number| id("control", number).ok()).collect();
        let hosts: Vec<NodeId> =
            (1..=size.hosts).filter_map(|number| id("compute", number).ok()).collect();
        let shared = Shared::default();
        let user = NodeId::new("user").ok().filter(|_| tier.is_over_quic());
        let mut cloud = Self { world: World::on_tier(seed, tier), controls, hosts, user, shared };
        let database = cloud.shared.database.clone();
        census::tell_of_rows(&mut cloud.world, move || database.lock().clone());
        cloud.world.stand(topology);
        let seeds = cloud.controls.clone();
        for node in cloud.controls.clone() {
            let boot = control(cloud.shared.clone(), seeds.clone(), menu.clone(), size, tier);
            cloud.world.add(PeerIdentity::new(node, &["control"]), boot);
        }
        for node in cloud.hosts.clone() {
            let boot = host(seeds.clone(), menu.clone(), size, tier);
            cloud.world.add(PeerIdentity::new(node, &["compute"]), boot);
        }
        if let Some(user) = cloud.user.clone() {
            let boot: Boot = Arc::new(|context| Box::pin(async move { leave_tcp(&context) }));
            cloud.world.add(PeerIdentity::new(user, &["user"]), boot);
        }
        let up = cloud.world.run_until(START, |world| {
            cloud.controls.iter().all(|node| world.handle::<Control>(node).is_some())
        });
        assert!(up, "the control nodes did not start");
        let ready = cloud.hosts_ready();
        assert!(ready, "the hosts did not report");
        cloud
    }

    fn hosts_ready(&mut self) -> bool {
        let Some(database) = self.shared.database.lock().clone() else { return false };
        let node = self.controls[0].clone();
        let wanted = self.hosts.len();
        let until = self.world.now() + START;
        while self.world.now() < until {
            self.world.run_for(Duration::from_millis(50));
            let database = database.clone();
            let reported = self.world.on(&node, START, async move {
                let hosts = database
                    .scoped("compute/")
                    .read(|txn| txn.scan_keys::<HostRow>(None, usize::MAX))
                    .await;
                hosts.map(|hosts| hosts.len()).unwrap_or_default()
            });
            if reported == Some(wanted) {
                return true;
            }
        }
        false
    }

    /// The control nodes.
    #[must_use]
    pub fn controls(&self) -> &[NodeId] {
        &self.controls
    }

    /// The compute hosts.
    #[must_use]
    pub fn hosts(&self) -> &[NodeId] {
        &self.hosts
    }

    /// Starts those again that gave up their start, as a machine does with its services.
    ///
    /// # Panics
    /// If a store is damaged: nothing that a disk does is a reason.
    pub fn restart_failed(&mut self) {
        let nodes = self.controls.iter().chain(&self.hosts);
        for node in nodes.clone() {
            if let Some(Damaged(why)) = self.world.handle(node) {
                panic!("the store of {node} is damaged: {why}");
            }
        }
        let failed = |node: &&NodeId| self.world.handle::<DidNotStart>(node).is_some();
        for node in nodes.filter(failed).cloned().collect::<Vec<_>>() {
            self.world.crash(&node);
            self.world.start(&node);
        }
    }

    /// Where the bytes of images are.
    #[must_use]
    pub fn image_bytes(&self) -> Arc<dyn ObjectStore> {
        match self.shared.on_drive.lock().clone() {
            Some(bytes) => Arc::new(bytes),
            None => self.shared.images.clone(),
        }
    }

    /// What a host's machine holds, guests and devices.
    #[must_use]
    pub fn machine(&self, host: &NodeId) -> Option<Machine> {
        self.world.disk(host)?.get()
    }

    /// A control node that runs.
    #[must_use]
    pub fn serving(&self) -> Option<NodeId> {
        Some(self.door(0)?.node().clone())
    }

    /// The way of a request to this control node, or to the next that runs, counting around.
    fn door(&self, number: usize) -> Option<Door> {
        let count = self.controls.len().max(1);
        let nodes = self.controls.iter().cycle().skip(number % count).take(count);
        nodes.into_iter().find_map(|node| {
            let Routes(router) = self.world.handle(node)?;
            Some(match &self.user {
                Some(user) => {
                    let tcp = self.world.handle(user)?;
                    Door::Tcp { user: user.clone(), tcp, node: node.clone() }
                }
                None => Door::Router { node: node.clone(), router },
            })
        })
    }
}

/// What requests are sent by.
fn leave_tcp(context: &NodeContext) {
    if let Some(tcp) = context.tcp() {
        context.handles().keep(|| tcp);
    }
}

fn control(shared: Shared, seeds: Vec<NodeId>, menu: Menu, size: Size, tier: Tier) -> Boot {
    Arc::new(move |context: NodeContext| {
        let (shared, seeds, menu) = (shared.clone(), seeds.clone(), menu.clone());
        Box::pin(async move {
            let opened = stores::of_control(&context, &shared.database, tier).await;
            let Some(database) = opened else { return };
            let menu = menu.with_faults_of(&context);
            let database = database.with_faults(menu.store(&context));
            let (env, node) = (context.env.clone(), context.node());
            let images = shared.images_of(&context, tier);
            let gate = Gate { shared: images.clone(), env, menu, node };
            let bytes = Bytes { shared: images, gate };
            let handles = context.handles();
            let registrar = size.joins.then(|| registrar(&context, &database)).flatten();
            let tcp = context.tcp();
            let parts = context.parts(&seeds);
            let config = ControlConfig {
                region: "RegionOne".to_owned(),
                registrar,
                identity: updraft_identity::Config {
                    hash_cost: HashCost::least(),
                    token_lifetime: size.token_lifetime,
                    ..updraft_identity::Config::default()
                },
                image: updraft_image::Config {
                    bytes: ByteStore::on(Arc::new(bytes)),
                    ..updraft_image::Config::default()
                },
                ..ControlConfig::default()
            };
            let bootstrap = BootstrapConfig {
                admin_password: PASSWORD.to_owned(),
                service_password: None,
                region: "RegionOne".to_owned(),
                catalog: catalog_at("http://cloud.example"),
                keeps_passwords: false,
                keeps_addresses: false,
            };
            let started = async {
                migrate(&database).await?;
                Control::start(parts, database, config, &bootstrap).await
            };
            match started.await {
                Ok(control) => {
                    if let Some(tcp) = tcp {
                        rest::answer(&control, &tcp);
                    }
                    handles.keep(|| control.node().rpc().clone());
                    handles.keep(|| Routes(control.router()));
                    handles.keep(|| control);
                }
                Err(error) => {
                    tracing::error!(%error, "a control node did not start");
                    handles.keep(|| DidNotStart);
                }
            }
        })
    })
}

/// Who lets hosts join, by a CA that is the same on every control node.
fn registrar(context: &NodeContext, database: &Store) -> Option<Registrar> {
    let lasts = Validity::starting(context.env.wall().secs(), CA_LASTS);
    let ca = CloudCa::create("simulated", NodeKey::from_seed(&[1; 32]).ok()?, lasts).ok()?;
    Some(Registrar::new(&context.env, database, ca, context.node()))
}

/// A pause of up to 4 s from the machine's own entropy, around every seed.
fn unseeded_pause() -> Duration {
    use std::io::Read;
    let mut bytes = [0; 2];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if let Err(error) = read {
        tracing::error!(%error, "no entropy");
    }
    Duration::from_millis(u64::from(u16::from_le_bytes(bytes) % 4_000))
}

fn host(seeds: Vec<NodeId>, menu: Menu, size: Size, tier: Tier) -> Boot {
    Arc::new(move |context: NodeContext| {
        let (seeds, menu) = (seeds.clone(), menu.clone());
        Box::pin(async move {
            let env = context.env.clone();
            if size.unseeded {
                env.sleep(unseeded_pause()).await;
            }
            let machine: Machine = context.disk.keep(|| Machine::new(&env, size.host_memory_mib));
            let Some(machine) = stores::machine(&context, machine, tier).await else { return };
            let Some(store) = stores::of_host(&context, tier).await else { return };
            let menu = menu.with_faults_of(&context);
            let drivers = machine.drivers(&env, &context.node(), &menu);
            let store = store.with_faults(menu.store(&context));
            let handles = context.handles();
            let parts = context.parts(&seeds);
            match Host::start(parts, store, drivers, NodeConfig::default()).await {
                Ok(host) => {
                    handles.keep(|| host.node().rpc().clone());
                    handles.keep(|| host);
                }
                Err(error) => {
                    tracing::error!(%error, "a compute host did not start");
                    handles.keep(|| DidNotStart);
                }
            }
        })
    })
}
