//! The simulated machine of a compute host, and one menu of faults for all its drivers and for the database.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use updraft_cloud::HostDrivers;
use updraft_compute::{
    hypervisor::Hypervisor,
    simulated::{self, DiskFaults, DiskOp, SimulatedDisks, SimulatedHost, SimulatedHypervisor},
};
use updraft_network::{
    agent::{MemoryMetadata, MetadataConfig},
    driver::sim::{self, SimHost},
};
use updraft_protocol::hypervisor::{Answer, DriverError, GuestEvent, Op};
use updraft_runtime::{
    Env,
    store::{CommitFate, StoreFaults},
};
use updraft_transport::NodeId;
use updraft_volume::driver::{self as volume, SimulatedVolumes};

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
    /// The operation is not done and says so.
    Fails,
    /// The operation is done and says that it failed.
    Lies,
    /// The operation is done twice.
    Twice,
    /// The operation is done this much later, when nobody waits for it any more.
    Late(Duration),
}

type Decide = dyn Fn(&Point) -> Option<Fault> + Send + Sync;

/// Decides what goes wrong where; cheap to clone.
#[derive(Clone)]
pub struct Menu {
    decide: Arc<Decide>,
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
        Self { decide: Arc::new(decide), keeps_guests: false }
    }

    /// The same with hypervisors that break their promise: they say that a guest is removed, and keep it.
    #[must_use]
    pub fn keeping_guests(self) -> Self {
        Self { keeps_guests: true, ..self }
    }

    pub(super) fn store(&self, node: &NodeId) -> Arc<dyn StoreFaults> {
        Arc::new(Commits { menu: self.clone(), node: node.to_string() })
    }

    pub(super) fn driver(&self, host: &str, name: String) -> Option<Fault> {
        (self.decide)(&Point::Driver { host: host.to_owned(), name })
    }
}

struct Commits {
    menu: Menu,
    node: String,
}

impl StoreFaults for Commits {
    fn on_commit(&self, keys_written: &[Arc<str>]) -> CommitFate {
        let keys = keys_written.iter().map(ToString::to_string).collect();
        match (self.menu.decide)(&Point::Commit { node: self.node.clone(), keys }) {
            Some(Fault::Commit(fate)) => fate,
            _ => CommitFate::Proceed,
        }
    }
}

struct Host {
    menu: Menu,
    name: String,
}

impl Host {
    fn compute(&self, name: String) -> Option<simulated::Fault> {
        Some(match self.menu.driver(&self.name, name)? {
            Fault::Fails | Fault::Commit(_) => simulated::Fault::Fails,
            Fault::Lies => simulated::Fault::SucceedsButSaysFailure,
            Fault::Twice => simulated::Fault::Twice,
            Fault::Late(delay) => simulated::Fault::Late(delay),
        })
    }
}

impl simulated::Faults for Host {
    fn before(&self, op: &Op) -> Option<simulated::Fault> {
        let text = format!("{op:?}");
        let name = text.split(['(', ' ']).next().unwrap_or_default();
        self.compute(format!("hypervisor/{name}"))
    }
}

impl DiskFaults for Host {
    fn before(&self, op: DiskOp) -> Option<simulated::Fault> {
        self.compute(format!("disks/{op:?}"))
    }
}

impl sim::Faults for Host {
    fn fate(&self, operation: &sim::Operation) -> sim::Fate {
        let said = "an injected failure".to_owned();
        match self.menu.driver(&self.name, format!("network/{:?}", operation.kind)) {
            None => sim::Fate::Proceed,
            Some(Fault::Fails | Fault::Commit(_)) => sim::Fate::Fail(said),
            Some(Fault::Lies) => sim::Fate::DoneButFailed(said),
            Some(Fault::Twice) => sim::Fate::Twice,
            Some(Fault::Late(delay)) => sim::Fate::Late(delay),
        }
    }
}

impl volume::Faults for Host {
    fn decide(&self, operation: &volume::Operation) -> Option<volume::Fault> {
        Some(match self.menu.driver(&self.name, format!("volume/{:?}", operation.verb))? {
            Fault::Fails | Fault::Commit(_) => volume::Fault::Fails,
            Fault::Lies => volume::Fault::SucceedsButSaysFailure,
            Fault::Twice => volume::Fault::Twice,
            Fault::Late(delay) => volume::Fault::Late(delay),
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

    async fn next_event(&self) -> GuestEvent {
        self.0.next_event().await
    }
}

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
    pub(super) fn new(env: &Env) -> Self {
        Self {
            guests: SimulatedHost::new(16, 65_536, 1_000),
            disks: SimulatedDisks::default(),
            network: SimHost::new(env.clone()),
            volumes: SimulatedVolumes::new(env, 1_000),
            metadata: MemoryMetadata::default(),
        }
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
            dhcp: network,
            metadata: MetadataConfig::new(self.metadata.clone()),
            volumes: Arc::new(volumes),
        }
    }
}
