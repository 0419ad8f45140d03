//! The simulated machine of a compute host, and one menu of faults for all its drivers and for the database.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use updraft_cloud::HostDrivers;
use updraft_compute::{
    hypervisor::{ConsoleEnd, Hypervisor},
    simulated::{self, DiskFaults, DiskOp, SimulatedDisks, SimulatedHost, SimulatedHypervisor},
};
use updraft_harness::{
    fault::{DriverTrouble, Faults},
    world::NodeContext,
};
use updraft_network::{
    agent::{MemoryMetadata, MetadataConfig},
    driver::sim::{self, SimHost},
};
use updraft_protocol::hypervisor::{Answer, ConsoleKind, DriverError, GuestEvent, Op};
use updraft_runtime::{
    Env,
    store::{BeginFate, CommitFate, StoreFaults},
};
use updraft_transport::NodeId;
use updraft_volume::driver::{self as volume, SimulatedVolumes};
use uuid::Uuid;

/// A place where something can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A commit of a node, to the shared database or to its own store, by the keys it writes.
    Commit {
        /// The node.
        node: String,
        /// The keys and logs.
        keys: Vec<String>,
    },
    /// An operation of a driver, or of the store of images' bytes.
    Driver {
        /// The node.
        host: String,
        /// What is done.
        name: String,
    },
}

/// What goes wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The commit ends so.
    Commit(CommitFate),
    /// The operation goes wrong so.
    Driver(DriverTrouble),
}

type Decide = dyn Fn(&Point) -> Option<Fault> + Send + Sync;

/// Decides what goes wrong where, before the faults of the world do; cheap to clone.
#[derive(Clone)]
pub struct Menu {
    decide: Arc<Decide>,
    /// What else goes wrong, once the menu is a node's.
    faults: Option<Faults>,
    keeps_guests: bool,
}

impl Default for Menu {
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl Menu {
    /// Asks this at every point.
    pub fn new(decide: impl Fn(&Point) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self { decide: Arc::new(decide), faults: None, keeps_guests: false }
    }

    /// The same with hypervisors that break their promise: they say that a guest is removed, and keep it.
    #[must_use]
    pub fn keeping_guests(self) -> Self {
        Self { keeps_guests: true, ..self }
    }

    /// The same with the faults of a node's world besides.
    pub(super) fn with_faults_of(&self, context: &NodeContext) -> Self {
        Self { faults: Some(context.faults.clone()), ..self.clone() }
    }

    pub(super) fn store(&self, context: &NodeContext) -> Arc<dyn StoreFaults> {
        let (node, others) = (context.node().to_string(), context.store_faults());
        Arc::new(Commits { menu: self.clone(), node, others })
    }

    pub(super) fn driver(&self, host: &str, name: &str) -> Option<DriverTrouble> {
        let point = Point::Driver { host: host.to_owned(), name: name.to_owned() };
        match (self.decide)(&point) {
            Some(Fault::Driver(trouble)) => Some(trouble),
            // An operation commits nothing.
            Some(Fault::Commit(_)) | None => self.faults.as_ref()?.on(host, name),
        }
    }
}

struct Commits {
    menu: Menu,
    node: String,
    others: Arc<dyn StoreFaults>,
}

impl StoreFaults for Commits {
    fn on_begin(&self) -> BeginFate {
        self.others.on_begin()
    }

    fn on_commit(&self, keys_written: &[Arc<str>]) -> CommitFate {
        let keys = keys_written.iter().map(ToString::to_string).collect();
        match (self.menu.decide)(&Point::Commit { node: self.node.clone(), keys }) {
            Some(Fault::Commit(fate)) => fate,
            _ => self.others.on_commit(keys_written),
        }
    }
}

struct Host {
    menu: Menu,
    name: String,
}

impl Host {
    fn compute(&self, name: &str) -> Option<simulated::Fault> {
        Some(match self.menu.driver(&self.name, name)? {
            DriverTrouble::Fails => simulated::Fault::Fails,
            DriverTrouble::Hangs => simulated::Fault::Hangs,
            DriverTrouble::Lies => simulated::Fault::SucceedsButSaysFailure,
            DriverTrouble::Twice => simulated::Fault::Twice,
            DriverTrouble::Late { by } => simulated::Fault::Late(by),
            DriverTrouble::LosesState => simulated::Fault::LosesState,
        })
    }
}

impl simulated::Faults for Host {
    fn before(&self, op: &Op) -> Option<simulated::Fault> {
        let text = format!("{op:?}");
        let name = text.split(['(', ' ']).next().unwrap_or_default();
        self.compute(&format!("hypervisor/{name}"))
    }
}

impl DiskFaults for Host {
    fn before(&self, op: DiskOp) -> Option<simulated::Fault> {
        self.compute(&format!("disks/{op:?}"))
    }
}

impl sim::Faults for Host {
    fn fate(&self, operation: &sim::Operation) -> sim::Fate {
        let said = "an injected failure".to_owned();
        match self.menu.driver(&self.name, &format!("network/{:?}", operation.kind)) {
            None => sim::Fate::Proceed,
            Some(DriverTrouble::Fails) => sim::Fate::Fail(said),
            Some(DriverTrouble::Hangs) => sim::Fate::Hang,
            Some(DriverTrouble::Lies) => sim::Fate::DoneButFailed(said),
            Some(DriverTrouble::Twice) => sim::Fate::Twice,
            Some(DriverTrouble::Late { by }) => sim::Fate::Late(by),
            Some(DriverTrouble::LosesState) => sim::Fate::LoseState,
        }
    }
}

impl volume::Faults for Host {
    fn decide(&self, operation: &volume::Operation) -> Option<volume::Fault> {
        Some(match self.menu.driver(&self.name, &format!("volume/{:?}", operation.verb))? {
            DriverTrouble::Fails => volume::Fault::Fails,
            DriverTrouble::Hangs => volume::Fault::Hangs,
            DriverTrouble::Lies => volume::Fault::SucceedsButSaysFailure,
            DriverTrouble::Twice => volume::Fault::Twice,
            DriverTrouble::Late { by } => volume::Fault::Late(by),
            DriverTrouble::LosesState => volume::Fault::LosesState,
        })
    }
}

/// Does not remove guests, and says that it did.
struct KeepsGuests(SimulatedHypervisor);

#[async_trait]
impl Hypervisor for KeepsGuests {
    async fn perform(&self, op: Op, deadline: Duration) -> Result<Answer, DriverError> {
        match op {
            Op::Remove(_) => Ok(Answer::Done),
            op => self.0.perform(op, deadline).await,
        }
    }

    async fn console(
        &self,
        guest: Uuid,
        kind: ConsoleKind,
        deadline: Duration,
    ) -> Result<ConsoleEnd, DriverError> {
        self.0.console(guest, kind, deadline).await
    }

    async fn next_event(&self) -> GuestEvent {
        self.0.next_event().await
    }
}

/// The physical network that every host has a way to.
pub const PUBLIC: &str = "public";

/// What a compute host is made of; outlives its node.
#[derive(Clone)]
pub struct Machine {
    /// Its guests.
    pub guests: SimulatedHost,
    /// Their files.
    pub disks: SimulatedDisks,
    /// Its bridges, taps and DHCP servers.
    pub network: SimHost,
    /// Its volumes.
    pub volumes: SimulatedVolumes,
    /// How guests reach metadata.
    pub metadata: MemoryMetadata,
}

impl Machine {
    pub(super) fn new(env: &Env, memory_mib: u64) -> Self {
        Self {
            guests: SimulatedHost::new(16, memory_mib, 1_000),
            disks: SimulatedDisks::default(),
            network: SimHost::new(env.clone()),
            volumes: SimulatedVolumes::new(env, 1_000),
            metadata: MemoryMetadata::default(),
        }
    }

    /// The same machine with what a real one has on its disk on that of this life's, where it is read: guests that run go
    /// on, and what they are defined as, volumes and all fences are what the disk has of them. Blocks.
    pub(super) fn on_disk(self, env: &Env) -> io::Result<Self> {
        let guests = self.guests.kept_in(env, Path::new("guests"))?;
        let volumes = self.volumes.with_env(env).kept_in(Path::new("volumes"))?;
        Ok(Self { guests, volumes, ..self })
    }

    pub(super) fn drivers(&self, env: &Env, host: &NodeId, menu: &Menu) -> HostDrivers {
        let faults = || Host { menu: menu.clone(), name: host.to_string() };
        self.network.set_faults(faults());
        let network = Arc::new(self.network.clone());
        let hypervisor =
            SimulatedHypervisor::new(env.clone(), self.guests.clone(), Arc::new(faults()));
        let disks = self.disks.clone().with_faults(env.clone(), Arc::new(faults()));
        let volumes = self.volumes.clone().with_env(env).with_faults(Arc::new(faults()));
        HostDrivers {
            hypervisor: match menu.keeps_guests {
                true => Arc::new(KeepsGuests(hypervisor)),
                false => Arc::new(hypervisor),
            },
            disks: Arc::new(disks),
            l2: network.clone(),
            dhcp: network.clone(),
            l3: network,
            physical_networks: [PUBLIC.to_owned()].into(),
            metadata: MetadataConfig::new(self.metadata.clone()),
            tunnel_address: Some(tunnel_address(host)),
            volumes: Arc::new(volumes),
        }
    }
}

/// Where the tunnels of a host end: every one has an address of its own, whatever carries the nodes' messages.
fn tunnel_address(host: &NodeId) -> IpAddr {
    let number = host.as_str().rsplit('-').next().and_then(|number| number.parse::<u32>().ok());
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 128, 0, 0).to_bits() + number.unwrap_or_default()).into()
}
