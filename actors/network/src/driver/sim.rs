//! A simulated host: bridges, taps, tunnels, security groups, DHCP servers and routers in memory, and a menu of what can go wrong.
//!
//! The host outlives the agent, as a real one does: a harness holds it, gives it to each life of the agent,
//! and looks at it. Every operation asks [`Faults`] for its fate first, so a test can number operations and
//! let each fail in turn. It does what the real drivers promise and no more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use updraft_protocol::network::{DhcpWant, FilterWant, OverlayWant, RouterWant};
use updraft_runtime::Env;
use uuid::Uuid;

use super::{
    DhcpDriver, DriverError, FoundDhcp, FoundRouter, Health, L2Driver, L2Inventory, L3Driver,
    Serving, TapSpec, judge::Connection,
};

mod reach;
mod state;

pub use reach::{Frame, carries, reached, tunnel};
pub use state::{SimBridge, SimDhcp, SimOffer, SimOverlay, SimRouter, SimState, SimTap};

/// How many of the latest operations are kept for a look.
const OPERATIONS_KEPT: usize = 4_096;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    /// [`L2Driver::ensure_bridge`].
    EnsureBridge,
    /// [`L2Driver::ensure_tap`].
    EnsureTap,
    /// [`L2Driver::remove_tap`].
    RemoveTap,
    /// [`L2Driver::remove_bridge_if_empty`].
    RemoveBridge,
    /// [`L2Driver::ensure_filter`].
    EnsureFilter,
    /// [`L2Driver::remove_filter`].
    RemoveFilter,
    /// [`L2Driver::ensure_overlay`].
    EnsureOverlay,
    /// [`L2Driver::remove_overlay`].
    RemoveOverlay,
    /// [`L2Driver::inventory`].
    ListDevices,
    /// [`L2Driver::purge`].
    PurgeDevices,
    /// [`DhcpDriver::serve`].
    Serve,
    /// [`DhcpDriver::stop`].
    Stop,
    /// [`DhcpDriver::health`].
    Health,
    /// [`DhcpDriver::inventory`].
    ListNamespaces,
    /// [`DhcpDriver::purge`].
    PurgeDhcp,
    /// [`L3Driver::ensure_router`].
    EnsureRouter,
    /// [`L3Driver::remove_router`].
    RemoveRouter,
    /// [`L3Driver::inventory`].
    ListRouters,
    /// [`L3Driver::purge`].
    PurgeRouters,
}

/// One operation on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Counts from 0 on each host, over all kinds.
    pub number: u64,
    /// What it does.
    pub kind: OperationKind,
    /// The port, network, security group or router it is about; nil for the whole host.
    pub subject: Uuid,
}

/// What becomes of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Proceed,
    /// It is not done, and says so.
    Fail(String),
    /// It is not done and never answers.
    Hang,
    /// It is done, and says that it failed.
    DoneButFailed(String),
    /// It is done twice.
    Twice,
    /// It is done, and answers, this much later; also when nobody waits any more.
    Late(Duration),
    /// It is done, and then the host loses everything it had, as by a restart.
    LoseState,
}

/// Decides what becomes of each operation.
pub trait Faults: Send + Sync + 'static {
    /// The operation's fate.
    fn fate(&self, operation: &Operation) -> Fate;
}

impl<F> Faults for F
where
    F: Fn(&Operation) -> Fate + Send + Sync + 'static,
{
    fn fate(&self, operation: &Operation) -> Fate {
        self(operation)
    }
}

#[derive(Default)]
struct Inner {
    state: SimState,
    operations: Vec<Operation>,
    number: u64,
}

/// A host on which nothing is real; clones are the same one.
#[derive(Clone)]
pub struct SimHost {
    env: Env,
    inner: Arc<Mutex<Inner>>,
    faults: Arc<Mutex<Arc<dyn Faults>>>,
}

impl SimHost {
    /// An empty host on which everything works.
    #[must_use]
    pub fn new(env: Env) -> Self {
        let perfect: Arc<dyn Faults> = Arc::new(|_: &Operation| Fate::Proceed);
        Self { env, inner: Arc::default(), faults: Arc::new(Mutex::new(perfect)) }
    }

    /// Replaces what decides about operations from now on.
    pub fn set_faults(&self, faults: impl Faults) {
        *self.faults.lock() = Arc::new(faults);
    }

    /// Everything there is, as it is now.
    #[must_use]
    pub fn state(&self) -> SimState {
        self.look(SimState::clone)
    }

    /// Looks at everything there is, and takes no copy.
    pub fn look<T>(&self, look: impl FnOnce(&SimState) -> T) -> T {
        look(&self.inner.lock().state)
    }

    /// Changes the host behind the agent's back.
    pub fn meddle(&self, change: impl FnOnce(&mut SimState)) {
        change(&mut self.inner.lock().state);
    }

    /// The latest operations, oldest first.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.inner.lock().operations.clone()
    }

    /// What a guest that is plugged into the port's tap hears when it asks for an address.
    #[must_use]
    pub fn offer(&self, port: Uuid) -> Option<SimOffer> {
        self.inner.lock().state.offer(port)
    }

    /// Whether this connection may be opened on a network; `None` if that is not known here.
    #[must_use]
    pub fn may_open(&self, network: Uuid, connection: &Connection) -> Option<bool> {
        self.inner.lock().state.may_open(network, connection)
    }

    fn begin(&self, kind: OperationKind, subject: Uuid) -> Fate {
        let operation = {
            let mut inner = self.inner.lock();
            let operation = Operation { number: inner.number, kind, subject };
            inner.number += 1;
            if inner.operations.len() == OPERATIONS_KEPT {
                inner.operations.remove(0);
            }
            inner.operations.push(operation);
            operation
        };
        let faults = self.faults.lock().clone();
        faults.fate(&operation)
    }

    async fn perform<T: Send + 'static>(
        &self,
        kind: OperationKind,
        subject: Uuid,
        effect: impl Fn(&mut SimState) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let act = |host: &Self| effect(&mut host.inner.lock().state);
        match self.begin(kind, subject) {
            Fate::Proceed => act(self),
            Fate::Fail(reason) => Err(simulated(kind, reason)),
            Fate::Hang => std::future::pending().await,
            Fate::DoneButFailed(reason) => {
                act(self)?;
                Err(simulated(kind, reason))
            }
            Fate::Twice => {
                act(self)?;
                act(self)
            }
            Fate::Late(by) => {
                let (sender, receiver) = oneshot::channel();
                let host = self.clone();
                self.env.spawn("late operation", async move {
                    host.env.sleep(by).await;
                    let result = effect(&mut host.inner.lock().state);
                    // Whoever asked may have given up; that is the point.
                    let _ = sender.send(result);
                });
                receiver.await.unwrap_or_else(|_| Err(simulated(kind, "the host ended".into())))
            }
            Fate::LoseState => {
                let result = act(self);
                self.inner.lock().state.lose();
                result
            }
        }
    }
}

fn simulated(kind: OperationKind, reason: String) -> DriverError {
    DriverError::failed(format!("simulated {kind:?}"), reason)
}

#[async_trait]
impl L2Driver for SimHost {
    async fn ensure_bridge(&self, network: Uuid, mtu: u32) -> Result<(), DriverError> {
        let effect = move |state: &mut SimState| state.ensure_bridge(network, mtu);
        self.perform(OperationKind::EnsureBridge, network, effect).await
    }

    async fn ensure_tap(&self, tap: &TapSpec) -> Result<(), DriverError> {
        let spec = tap.clone();
        let effect = move |state: &mut SimState| state.ensure_tap(&spec);
        self.perform(OperationKind::EnsureTap, tap.port, effect).await
    }

    async fn remove_tap(&self, port: Uuid) -> Result<(), DriverError> {
        let effect = move |state: &mut SimState| {
            state.remove_tap(port);
            Ok(())
        };
        self.perform(OperationKind::RemoveTap, port, effect).await
    }

    async fn remove_bridge_if_empty(&self, network: Uuid) -> Result<(), DriverError> {
        let effect = move |state: &mut SimState| {
            state.remove_bridge_if_empty(network);
            Ok(())
        };
        self.perform(OperationKind::RemoveBridge, network, effect).await
    }

    async fn ensure_filter(&self, want: &FilterWant) -> Result<(), DriverError> {
        let (group, want) = (want.group, want.clone());
        let effect = move |state: &mut SimState| state.ensure_filter(&want);
        self.perform(OperationKind::EnsureFilter, group, effect).await
    }

    async fn remove_filter(&self, group: Uuid) -> Result<(), DriverError> {
        let effect = move |state: &mut SimState| state.remove_filter(group);
        self.perform(OperationKind::RemoveFilter, group, effect).await
    }

    async fn ensure_overlay(&self, want: &OverlayWant) -> Result<(), DriverError> {
        let (network, want) = (want.network, want.clone());
        let effect = move |state: &mut SimState| state.ensure_overlay(&want);
        self.perform(OperationKind::EnsureOverlay, network, effect).await
    }

    async fn remove_overlay(&self, network: Uuid) -> Result<(), DriverError> {
        let effect = move |state: &mut SimState| {
            state.remove_overlay(network);
            Ok(())
        };
        self.perform(OperationKind::RemoveOverlay, network, effect).await
    }

    async fn inventory(&self) -> Result<L2Inventory, DriverError> {
        let effect = |state: &mut SimState| Ok(state.devices());
        self.perform(OperationKind::ListDevices, Uuid::nil(), effect).await
    }

    async fn purge(&self) -> Result<(), DriverError> {
        let effect = |state: &mut SimState| {
            state.purge_devices();
            Ok(())
        };
        self.perform(OperationKind::PurgeDevices, Uuid::nil(), effect).await
    }
}

#[async_trait]
impl DhcpDriver for SimHost {
    async fn serve(&self, want: &DhcpWant) -> Result<Serving, DriverError> {
        let (network, want) = (want.network, want.clone());
        let effect = move |state: &mut SimState| state.serve(&want);
        self.perform(OperationKind::Serve, network, effect).await
    }

    async fn stop(&self, network: Uuid) -> Result<(), DriverError> {
        let effect = move |state: &mut SimState| {
            state.stop(network);
            Ok(())
        };
        self.perform(OperationKind::Stop, network, effect).await
    }

    async fn health(&self, network: Uuid) -> Result<Health, DriverError> {
        let effect = move |state: &mut SimState| Ok(state.health(network));
        self.perform(OperationKind::Health, network, effect).await
    }

    async fn inventory(&self) -> Result<BTreeMap<Uuid, FoundDhcp>, DriverError> {
        let effect = |state: &mut SimState| Ok(state.namespaces());
        self.perform(OperationKind::ListNamespaces, Uuid::nil(), effect).await
    }

    async fn purge(&self) -> Result<(), DriverError> {
        let effect = |state: &mut SimState| {
            state.dhcp.retain(|_, dhcp| !dhcp.mine);
            Ok(())
        };
        self.perform(OperationKind::PurgeDhcp, Uuid::nil(), effect).await
    }
}

#[async_trait]
impl L3Driver for SimHost {
    async fn ensure_router(&self, want: &RouterWant) -> Result<(), DriverError> {
        let (router, want) = (want.router, want.clone());
        let effect = move |state: &mut SimState| state.ensure_router(&want);
        self.perform(OperationKind::EnsureRouter, router, effect).await
    }

    async fn remove_router(&self, router: Uuid, generation: u64) -> Result<(), DriverError> {
        let effect = move |state: &mut SimState| state.remove_router(router, generation);
        self.perform(OperationKind::RemoveRouter, router, effect).await
    }

    /// Where there is no router there is nothing that could go wrong.
    async fn inventory(&self) -> Result<BTreeMap<Uuid, FoundRouter>, DriverError> {
        if self.look(|state| state.routers.is_empty()) {
            return Ok(BTreeMap::new());
        }
        let effect = |state: &mut SimState| Ok(state.found_routers());
        self.perform(OperationKind::ListRouters, Uuid::nil(), effect).await
    }

    async fn purge(&self) -> Result<(), DriverError> {
        let effect = |state: &mut SimState| {
            state.routers.retain(|_, router| !router.mine);
            Ok(())
        };
        self.perform(OperationKind::PurgeRouters, Uuid::nil(), effect).await
    }
}
