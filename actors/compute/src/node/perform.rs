//! Carries out what a guest's plan asks for.

mod boot;
mod copy;
mod hypervise;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use updraft_protocol::{
    compute::{
        BuildFault, Conductor, GetServer, Goal, GuestWant, NOT_SEALED, ReportServer, RootDisk,
        VolumeWant,
    },
    hypervisor::Op,
    image::{self, Locate},
    network::{self, Allocate},
    volume::{self, Connect},
};
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
    rows::{Kind, Plan},
    rpc::{CallError, Cx, Fault, FaultKind, Rpc, TraceContext},
    sometimes,
    store::{Store, StoreError, Txn},
    trace::Tracer,
};
use uuid::Uuid;

pub use self::hypervise::{guest, interface, is_removed, saw, spec_of, volume_disk};
use super::{
    guest::{GuestRow, serial},
    plan::{self, Effect, Learned},
    turns::Turns,
};
use crate::{disks::Disks, hypervisor::Hypervisor};

/// How long a guest may take to shut down by itself before the plug is pulled.
const GRACE_MS: u32 = 10_000;

/// The guests of one host, as rows that converge.
#[derive(Clone)]
pub struct Guests {
    pub(super) env: Env,
    pub(super) rpc: Rpc,
    pub(super) store: Store,
    pub(super) tracer: Tracer,
    pub(super) hypervisor: Arc<dyn Hypervisor>,
    pub(super) disks: Arc<dyn Disks>,
    pub(super) turns: Arc<Turns>,
    /// Whether this life of the node has heard what is wanted of it.
    pub(super) heard: Arc<AtomicBool>,
    /// One fetch at a time of each image, by its digest.
    pub(super) fetching: updraft_runtime::turns::Turns<String>,
}

impl Kind for Guests {
    type Row = GuestRow;
    type Facts = ();
    type Effect = Effect;
    type Learned = Learned;

    fn facts(&self, _txn: &Txn, _row: &GuestRow) -> Result<(), StoreError> {
        Ok(())
    }

    fn plan(row: &GuestRow, (): &(), now: UnixMicros) -> Plan<Self> {
        plan::plan(row, now)
    }

    fn learn(row: &mut GuestRow, learned: Learned, now: UnixMicros) -> bool {
        plan::learn(row, learned, now)
    }

    /// Only what is wanted, and what the guest is made of once it is told of, must survive a crash.
    fn accompany(
        &self,
        txn: &mut Txn,
        old: &GuestRow,
        new: Option<&GuestRow>,
    ) -> Result<(), StoreError> {
        if new.is_some_and(|new| new.can_be_learnt_again(old)) {
            txn.relax();
        }
        Ok(())
    }

    fn trace(row: &GuestRow) -> TraceContext {
        row.trace
    }

    fn perform(&self, row: GuestRow, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        let guests = self.clone();
        Box::pin(async move {
            if let Effect::FetchWant = effect {
                return guests.fetch_want(&row).await;
            }
            let Some(want) = row.want.clone() else { return guests.remove(&row).await };
            match effect {
                Effect::Remove => guests.remove(&row).await,
                Effect::Report(observation) => guests.report(&row, observation).await,
                other => guests.advance(&row, &want, other).await,
            }
        })
    }
}

impl Guests {
    fn cx(&self, row: &GuestRow) -> Cx {
        let context = row.want.as_ref().map(|want| want.context.clone()).unwrap_or_default();
        Cx::new(updraft_protocol::compute::NODE, row.trace).with_context(context)
    }

    async fn advance(&self, row: &GuestRow, want: &GuestWant, effect: Effect) -> Option<Learned> {
        if effect.gives_life() && !self.heard.load(Ordering::Acquire) {
            sometimes!(true, "a host that comes back asks before it makes a guest run");
            return None;
        }
        match effect {
            Effect::LocateImage(image) => self.locate(row, want, image).await,
            Effect::Allocate => self.allocate(row, want).await,
            Effect::Connect(volume) => self.connect(row, want, volume).await,
            Effect::PrepareBoot => self.prepare_boot(row, want).await,
            Effect::Describe => {
                let result = self.ask(row, Op::Describe { guest: row.server }).await;
                saw(want, result, None, false)
            }
            Effect::Define => self.define(row, want).await,
            Effect::Start => {
                let result = self.ask(row, Op::Start(guest(want))).await;
                saw(want, result, None, true)
            }
            Effect::Stop => {
                let op = Op::Stop { guest: guest(want), grace_ms: GRACE_MS };
                saw(want, self.ask(row, op).await, None, false)
            }
            Effect::Reboot(reboots) => {
                let hard = reboots.hard != row.reboots.hard;
                let op = Op::Reboot { guest: guest(want), hard };
                saw(want, self.ask(row, op).await, None, true)
            }
            Effect::AttachDisk(volume) => self.attach(row, want, &volume).await,
            Effect::DetachDisk(volume) => {
                let op = Op::DetachDisk { guest: guest(want), serial: serial(volume.volume) };
                saw(want, self.ask(row, op).await, None, false)
            }
            Effect::AttachInterface(port) => self.plug(row, want, &port).await,
            Effect::DetachInterface(mac_address) => {
                let op = Op::DetachInterface { guest: guest(want), mac_address };
                saw(want, self.ask(row, op).await, None, false)
            }
            Effect::Digest => self.digest(row, want).await,
            Effect::FetchWant | Effect::Remove | Effect::Report(_) => None,
        }
    }

    async fn fetch_want(&self, row: &GuestRow) -> Option<Learned> {
        let message = GetServer { server: row.server };
        match self.rpc.client::<Conductor>().call(&message, &self.cx(row)).await {
            Ok(want) => Some(Learned::Want(Box::new(want))),
            Err(error) if is(&error, FaultKind::NotFound) => Some(Learned::Unwanted),
            Err(error) => unheard(row, &error),
        }
    }

    async fn report(
        &self,
        row: &GuestRow,
        observation: updraft_protocol::compute::Observation,
    ) -> Option<Learned> {
        let (generation, counter) = (observation.generation, observation.counter);
        let message = ReportServer { server: row.server, observation };
        match self.rpc.client::<Conductor>().call(&message, &self.cx(row)).await {
            Ok(taken) => {
                Some(Learned::Taken { generation, counter, wanted: taken.wanted_generation })
            }
            Err(error) if is(&error, FaultKind::NotFound) => Some(Learned::Unwanted),
            Err(error) => unheard(row, &error),
        }
    }

    async fn locate(&self, row: &GuestRow, want: &GuestWant, image: Uuid) -> Option<Learned> {
        if let RootDisk::CopyOf { host, generation } = &want.disk {
            return self.kept_images(row, host, *generation).await;
        }
        let mut images = Vec::new();
        let mut wanted = vec![image];
        while let Some(image) = wanted.pop() {
            let message = Locate { image };
            match self.rpc.client::<image::Api>().call(&message, &self.cx(row)).await {
                Ok(location) => {
                    if images.is_empty() {
                        wanted.extend(location.ramdisk);
                        wanted.extend(location.kernel);
                    }
                    images.push(location);
                }
                Err(error) => return refused(row, want, &error),
            }
        }
        Some(Learned::Images(images))
    }

    async fn allocate(&self, row: &GuestRow, want: &GuestWant) -> Option<Learned> {
        let message = Allocate {
            server: row.server,
            host: self.rpc.local().to_string(),
            generation: want.generation,
            project_id: want.project_id.clone(),
            hostname: want.name.clone(),
            nics: want.nics.clone(),
            security_groups: want.security_groups.clone(),
            seal: want.seal.clone(),
        };
        match self.rpc.client::<network::Server>().call(&message, &self.cx(row)).await {
            Ok(info) => Some(Learned::Ports(info.ports)),
            Err(error) => refused(row, want, &error),
        }
    }

    async fn connect(
        &self,
        row: &GuestRow,
        want: &GuestWant,
        volume: VolumeWant,
    ) -> Option<Learned> {
        let host = self.rpc.local().to_string();
        let message = Connect {
            volume: volume.volume,
            attachment: volume.attachment,
            server: row.server,
            host: host.clone(),
            generation: want.generation,
            seal: want.seal.clone(),
        };
        match self.rpc.client::<volume::Api>().call(&message, &self.cx(row)).await {
            Ok(connection) => Some(Learned::Connection(volume.attachment, connection)),
            Err(error) => refused(row, want, &error),
        }
    }
}

/// Whether a guest's files are to go, by what the host knows now: what was asked for before may be done late.
#[must_use]
pub fn may_clear(row: Option<&GuestRow>) -> bool {
    let leaves = |want: &GuestWant| want.goal == Goal::Absent && want.disk != RootDisk::Parked;
    row.is_none_or(|row| row.unwanted || row.want.as_ref().is_some_and(leaves))
}

fn is(error: &CallError, kind: FaultKind) -> bool {
    error.fault().is_some_and(|fault| fault.kind == kind)
}

/// A call that may go better later.
fn unheard(row: &GuestRow, error: &CallError) -> Option<Learned> {
    tracing::info!(server = %row.server, %error, "asked again later");
    None
}

/// What a refusal by another service teaches.
#[must_use]
pub fn refused(row: &GuestRow, want: &GuestWant, error: &CallError) -> Option<Learned> {
    match error.fault() {
        None | Some(Fault { kind: FaultKind::Unavailable | FaultKind::Internal, .. }) => {
            unheard(row, error)
        }
        Some(Fault { kind: FaultKind::Stale, .. }) => Some(Learned::Wanted(want.generation + 1)),
        Some(Fault { code, .. }) if code == NOT_SEALED => {
            Some(Learned::Unsealed(want.seal.clone()))
        }
        Some(fault) => Some(Learned::Fault(
            want.generation,
            BuildFault { message: fault.message.clone(), elsewhere: false },
        )),
    }
}

#[cfg(test)]
mod tests {
    use updraft_protocol::{compute::Power, hypervisor::PowerState};

    use super::*;

    fn taught(kind: FaultKind, code: &str) -> Option<Learned> {
        let row = plan::tests::made(Power::On, PowerState::Absent, false);
        let want = row.want.as_ref().expect("there is one");
        refused(&row, want, &CallError::Rejected(Fault::new(kind, code, "no")))
    }

    #[test]
    fn what_may_go_better_later_fails_no_server() {
        assert!(taught(FaultKind::Unavailable, "NotReady").is_none());
        assert!(matches!(taught(FaultKind::Forbidden, NOT_SEALED), Some(Learned::Unsealed(_))));
        assert!(matches!(taught(FaultKind::Forbidden, "Policy"), Some(Learned::Fault(..))));
    }
}
