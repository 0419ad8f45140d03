//! Carries out what a guest's plan asks for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};
use updraft_protocol::{
    compute::{BuildFault, GetServer, GuestWant, ReportServer, VolumeWant},
    hypervisor::{Answer, Boot, Disk, DriverError, GuestRef, GuestSpec, Interface, Op},
    image::{CHUNK_MAX_BYTES, ImageLocation, Locate, Read},
    network::Allocate,
    volume::Connect,
};
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
    rows::{Kind, Plan},
    rpc::{Address, CallError, Cx, Fault, FaultKind, Rpc, TraceContext},
    store::{StoreError, Txn},
    trace::{Step, StepKind, Tracer},
};
use uuid::Uuid;

use super::{
    actor::absent,
    guest::{BootFiles, Defined, GuestRow, serial},
    plan::{self, Effect, Learned},
};
use crate::{
    disks::{DiskError, Disks},
    hypervisor::Hypervisor,
};

/// How long the hypervisor may take for one operation; QEMU under emulation takes two seconds to destroy.
const OPERATION: Duration = Duration::from_secs(30);

/// How long a guest may take to shut down by itself before the plug is pulled.
const GRACE_MS: u32 = 10_000;

/// The guests of one host, as rows that converge.
#[derive(Clone)]
pub struct Guests {
    pub(super) env: Env,
    pub(super) rpc: Rpc,
    pub(super) tracer: Tracer,
    pub(super) hypervisor: Arc<dyn Hypervisor>,
    pub(super) disks: Arc<dyn Disks>,
    pub(super) turns: Arc<Turns>,
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

    /// Only what is wanted must survive a crash; all else is asked for again.
    fn accompany(
        &self,
        txn: &mut Txn,
        old: &GuestRow,
        new: Option<&GuestRow>,
    ) -> Result<(), StoreError> {
        let generation = |row: &GuestRow| row.want.as_ref().map(|want| want.generation);
        if new.is_some_and(|new| generation(new) == generation(old)) {
            txn.relax();
        }
        Ok(())
    }

    fn perform(&self, row: GuestRow, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        let guests = self.clone();
        Box::pin(async move {
            if let Effect::FetchWant = effect {
                return guests.fetch_want(&row).await;
            }
            let Some(want) = row.want.clone() else { return guests.remove(&row, 0).await };
            match effect {
                Effect::Remove => guests.remove(&row, want.generation).await,
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
        match effect {
            Effect::LocateImage(image) => self.locate(row, want, image).await,
            Effect::Allocate => self.allocate(row, want).await,
            Effect::Connect(volume) => self.connect(row, want, volume).await,
            Effect::PrepareBoot => self.prepare_boot(row, want).await,
            Effect::Describe => {
                let result = self.ask(row, Op::Describe { guest: row.server }).await;
                self.saw(want, result, None, false)
            }
            Effect::Define => self.define(row, want).await,
            Effect::Start => {
                let result = self.ask(row, Op::Start(guest(want))).await;
                self.saw(want, result, None, true)
            }
            Effect::Stop => {
                let op = Op::Stop { guest: guest(want), grace_ms: GRACE_MS };
                self.saw(want, self.ask(row, op).await, None, false)
            }
            Effect::Reboot(reboots) => {
                let hard = reboots.hard != row.reboots.hard;
                let op = Op::Reboot { guest: guest(want), hard };
                self.saw(want, self.ask(row, op).await, None, true)
            }
            Effect::AttachDisk(volume) => self.attach(row, want, &volume).await,
            Effect::DetachDisk(volume) => {
                let op = Op::DetachDisk { guest: guest(want), serial: serial(volume.volume) };
                self.saw(want, self.ask(row, op).await, None, false)
            }
            Effect::FetchWant | Effect::Remove | Effect::Report(_) => None,
        }
    }

    async fn fetch_want(&self, row: &GuestRow) -> Option<Learned> {
        let message = GetServer { server: row.server };
        match self.rpc.call(&Address::any(), &message, &self.cx(row)).await {
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
        match self.rpc.call(&Address::any(), &message, &self.cx(row)).await {
            Ok(taken) => {
                Some(Learned::Taken { generation, counter, wanted: taken.wanted_generation })
            }
            Err(error) if is(&error, FaultKind::NotFound) => Some(Learned::Unwanted),
            Err(error) => unheard(row, &error),
        }
    }

    async fn locate(&self, row: &GuestRow, want: &GuestWant, image: Uuid) -> Option<Learned> {
        let mut images = Vec::new();
        let mut wanted = vec![image];
        while let Some(image) = wanted.pop() {
            let message = Locate { image };
            match self.rpc.call(&Address::any(), &message, &self.cx(row)).await {
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
        };
        match self.rpc.call(&Address::any(), &message, &self.cx(row)).await {
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
        };
        match self.rpc.call(&Address::any(), &message, &self.cx(row)).await {
            Ok(connection) => Some(Learned::Connection(volume.attachment, connection)),
            Err(error) => refused(row, want, &error),
        }
    }

    async fn prepare_boot(&self, row: &GuestRow, want: &GuestWant) -> Option<Learned> {
        match self.boot_files(row, want).await {
            Ok(boot) => Some(Learned::Boot(boot)),
            Err(Unready::Disk(error)) => Some(Learned::Fault(
                want.generation,
                BuildFault { message: error.to_string(), elsewhere: true },
            )),
            Err(Unready::Call(error)) => refused(row, want, &error),
        }
    }

    async fn boot_files(&self, row: &GuestRow, want: &GuestWant) -> Result<BootFiles, Unready> {
        let mut boot =
            BootFiles { disk: None, kernel: None, ramdisk: None, command_line: String::new() };
        let Some((root, parts)) = row.images.as_ref().and_then(|images| images.split_first())
        else {
            return Ok(boot);
        };
        self.bring(row, root).await?;
        boot.disk = Some(self.disks.make_root(row.server, root, want.flavor.disk_gib).await?);
        for part in parts {
            self.bring(row, part).await?;
            let file = self.disks.cached(part).await?;
            if Some(part.image) == root.kernel {
                boot.kernel = file;
            } else {
                boot.ramdisk = file;
            }
        }
        let line = root.properties.get("os_command_line");
        boot.command_line = line.map_or_else(|| "console=ttyS0".to_owned(), Clone::clone);
        Ok(boot)
    }

    /// Brings an image to this host, unless it is here.
    async fn bring(&self, row: &GuestRow, image: &ImageLocation) -> Result<(), Unready> {
        if self.disks.cached(image).await?.is_some() {
            return Ok(());
        }
        let mut incoming = self.disks.receive(image).await?;
        let mut offset_bytes = 0;
        let mut cx = self.cx(row);
        while offset_bytes < image.size_bytes {
            let message = Read { image: image.image, offset_bytes, length_bytes: CHUNK_MAX_BYTES };
            let piece: Bytes = self.rpc.call(&Address::any(), &message, &cx).await?;
            // One piece is a step of the flow; the thousand others would hide the rest of it.
            cx.trace = TraceContext::default();
            if piece.is_empty() {
                break;
            }
            offset_bytes += piece.len() as u64;
            incoming.write(piece).await?;
        }
        Ok(incoming.finish().await?)
    }

    async fn define(&self, row: &GuestRow, want: &GuestWant) -> Option<Learned> {
        let spec = match self.spec(row, want).await {
            Ok(spec) => spec,
            Err(message) => {
                return Some(Learned::Fault(
                    want.generation,
                    BuildFault { message, elsewhere: true },
                ));
            }
        };
        let defined = Defined {
            flavor: want.flavor.clone(),
            ports: spec.interfaces.iter().map(|interface| interface.port).collect(),
        };
        let result = self.ask(row, Op::Define(Box::new(spec))).await;
        self.saw(want, result, Some(defined), false)
    }

    async fn spec(&self, row: &GuestRow, want: &GuestWant) -> Result<GuestSpec, String> {
        let boot = row.boot.clone().ok_or("nothing to boot from")?;
        let mut disks = Vec::new();
        if let Some((path, format)) = boot.disk.clone() {
            disks.push(Disk { serial: "root".to_owned(), path, format, read_only: false });
        }
        for volume in want.volumes.iter().filter(|volume| volume.goal == crate::Goal::Present) {
            disks.push(self.volume_disk(row, volume)?);
        }
        let console_log = self.disks.console_log(row.server).await.map_err(|e| e.to_string())?;
        let ports = row.ports.as_deref().unwrap_or_default();
        let interfaces = ports.iter().map(|port| {
            let tap = port.device.clone().ok_or(format!("port {} has no device", port.port))?;
            let mac_address = port.mac_address.clone();
            Ok(Interface { port: port.port, mac_address, tap, mtu: port.mtu })
        });
        Ok(GuestSpec {
            guest: guest(want),
            name: want.instance_name.clone(),
            title: want.name.clone(),
            vcpus: want.flavor.vcpus,
            memory_mib: want.flavor.ram_mib,
            boot: how(boot),
            disks,
            interfaces: interfaces.collect::<Result<_, String>>()?,
            console_log,
        })
    }

    fn volume_disk(&self, row: &GuestRow, volume: &VolumeWant) -> Result<Disk, String> {
        let connection = row
            .connections
            .get(&volume.attachment)
            .ok_or(format!("volume {} is not connected", volume.volume))?;
        let here = self.rpc.local().as_str();
        if connection.volume.host != here {
            return Err(format!(
                "volume {} is on host {} and this server on host {here}; a volume is reached on its own \
                 host only",
                volume.volume, connection.volume.host
            ));
        }
        Ok(Disk {
            serial: serial(volume.volume),
            path: connection.path.clone(),
            format: connection.format,
            read_only: false,
        })
    }

    async fn attach(
        &self,
        row: &GuestRow,
        want: &GuestWant,
        volume: &VolumeWant,
    ) -> Option<Learned> {
        match self.volume_disk(row, volume) {
            Ok(disk) => {
                let op = Op::AttachDisk { guest: guest(want), disk };
                self.saw(want, self.ask(row, op).await, None, false)
            }
            Err(message) => {
                Some(Learned::Fault(want.generation, BuildFault { message, elsewhere: false }))
            }
        }
    }

    async fn remove(&self, row: &GuestRow, generation: u64) -> Option<Learned> {
        let generation = generation.max(row.wanted);
        let op = Op::Remove(GuestRef { guest: row.server, generation });
        match self.ask(row, op).await.1 {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(server = %row.server, %error, "a guest is not removed yet");
                return None;
            }
        }
        if let Err(error) = self.disks.remove(row.server).await {
            tracing::warn!(server = %row.server, %error, "a guest's files are not removed yet");
            return None;
        }
        self.turns.forget(row.server);
        Some(Learned::Gone { generation })
    }

    /// Asks the hypervisor when it is this operation's turn, and records what it has done.
    async fn ask(&self, row: &GuestRow, op: Op) -> (u64, Result<Answer, DriverError>) {
        let name = format!("hypervisor/{}", name(&op));
        let turn = self.turns.take(row.server).await;
        let answer = self.hypervisor.perform(op, OPERATION).await;
        if answer.is_ok() {
            self.record(row, name);
        }
        (turn.number, answer)
    }

    fn record(&self, row: &GuestRow, name: String) {
        let here = self.rpc.local().to_string();
        self.tracer.record(Step {
            trace_id: row.trace.trace_id,
            at: self.env.wall(),
            kind: StepKind::Driver,
            name,
            from: updraft_protocol::compute::NODE.to_owned(),
            from_node: here.clone(),
            to: "hypervisor".to_owned(),
            to_node: here,
        });
    }

    /// What an answer of the hypervisor teaches.
    fn saw(
        &self,
        want: &GuestWant,
        (turn, result): (u64, Result<Answer, DriverError>),
        defined: Option<Defined>,
        rebooted: bool,
    ) -> Option<Learned> {
        let reboots = rebooted.then_some(want.reboots);
        match result {
            Ok(Answer::Guest(report)) => Some(Learned::Guest { turn, report, defined, reboots }),
            Ok(other) => {
                tracing::error!(?other, "the hypervisor answered something else");
                None
            }
            Err(DriverError::NoGuest(_)) => {
                let report = absent(want.server);
                Some(Learned::Guest { turn, report, defined: None, reboots: None })
            }
            Err(DriverError::Stale { served, .. }) => Some(Learned::Wanted(served)),
            Err(DriverError::Failed(message)) => {
                Some(Learned::Refused { generation: want.generation, message })
            }
            // It may work later, or may have worked: the plan looks again.
            Err(error @ (DriverError::Unavailable(_) | DriverError::Unknown(_))) => {
                tracing::warn!(server = %want.server, %error, "the hypervisor did not answer");
                None
            }
        }
    }
}

/// Orders the operations on each guest: one begins when the one before has ended, so that the number of its
/// turn tells which answer is the newer.
pub(super) struct Turns {
    next: AtomicU64,
    guests: parking_lot::Mutex<BTreeMap<Uuid, Arc<Mutex<()>>>>,
}

/// A turn; the next begins when it is dropped.
pub(super) struct Turn {
    pub(super) number: u64,
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    /// Turns above those of the node's former lives.
    pub(super) fn new(lives: u64) -> Self {
        Self { next: AtomicU64::new((lives << 32) + 1), guests: parking_lot::Mutex::default() }
    }

    pub(super) async fn take(&self, guest: Uuid) -> Turn {
        let queue = self.guests.lock().entry(guest).or_default().clone();
        let held = queue.lock_owned().await;
        Turn { number: self.next.fetch_add(1, Ordering::Relaxed), _held: held }
    }

    /// Forgets a guest that is gone.
    fn forget(&self, guest: Uuid) {
        self.guests.lock().remove(&guest);
    }
}

enum Unready {
    Disk(DiskError),
    Call(CallError),
}

impl From<DiskError> for Unready {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<CallError> for Unready {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

fn how(boot: BootFiles) -> Boot {
    match boot.kernel {
        Some(kernel) => {
            Boot::Kernel { kernel, ramdisk: boot.ramdisk, command_line: boot.command_line }
        }
        None => Boot::Disk,
    }
}

fn guest(want: &GuestWant) -> GuestRef {
    GuestRef { guest: want.server, generation: want.generation }
}

fn name(op: &Op) -> &'static str {
    match op {
        Op::Probe => "probe",
        Op::List => "list",
        Op::Describe { .. } => "describe",
        Op::Define(_) => "define",
        Op::Start(_) => "start",
        Op::Stop { .. } => "stop",
        Op::Reboot { .. } => "reboot",
        Op::Remove(_) => "remove",
        Op::AttachDisk { .. } => "attach_disk",
        Op::DetachDisk { .. } => "detach_disk",
        Op::AttachInterface { .. } => "attach_interface",
        Op::DetachInterface { .. } => "detach_interface",
        Op::ConsoleLog { .. } => "console_log",
    }
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
fn refused(row: &GuestRow, want: &GuestWant, error: &CallError) -> Option<Learned> {
    match error.fault() {
        None | Some(Fault { kind: FaultKind::Unavailable | FaultKind::Internal, .. }) => {
            unheard(row, error)
        }
        Some(Fault { kind: FaultKind::Stale, .. }) => Some(Learned::Wanted(want.generation + 1)),
        Some(fault) => Some(Learned::Fault(
            want.generation,
            BuildFault { message: fault.message.clone(), elsewhere: false },
        )),
    }
}
