//! Tells the hypervisor what a guest is made of and what it shall do.

use std::{path::PathBuf, time::Duration};

use updraft_protocol::{
    compute::{BuildFault, GuestWant, VolumeWant},
    hypervisor::{Answer, Boot, Disk, DriverError, GuestRef, GuestSpec, Interface, Op},
    network::PortInfo,
};
use updraft_runtime::trace::{Step, StepKind};

use super::{Guests, may_clear};
use crate::node::{
    actor::absent,
    guest::{BootFiles, Defined, GuestRow, serial},
    plan::Learned,
};

/// How long the hypervisor may take for one operation; QEMU under emulation takes two seconds to destroy.
const OPERATION: Duration = Duration::from_secs(30);

impl Guests {
    pub(super) async fn define(&self, row: &GuestRow, want: &GuestWant) -> Option<Learned> {
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
        saw(want, result, Some(defined), false)
    }

    async fn spec(&self, row: &GuestRow, want: &GuestWant) -> Result<GuestSpec, String> {
        let console_log = self.disks.console_log(row.server).await.map_err(|e| e.to_string())?;
        spec_of(row, want, self.rpc.local().as_str(), console_log)
    }

    pub(super) async fn attach(
        &self,
        row: &GuestRow,
        want: &GuestWant,
        volume: &VolumeWant,
    ) -> Option<Learned> {
        match volume_disk(row, volume, self.rpc.local().as_str()) {
            Ok(disk) => {
                let op = Op::AttachDisk { guest: guest(want), disk };
                saw(want, self.ask(row, op).await, None, false)
            }
            Err(message) => {
                Some(Learned::Fault(want.generation, BuildFault { message, elsewhere: false }))
            }
        }
    }

    pub(super) async fn plug(
        &self,
        row: &GuestRow,
        want: &GuestWant,
        port: &PortInfo,
    ) -> Option<Learned> {
        match interface(port) {
            Ok(interface) => {
                let op = Op::AttachInterface { guest: guest(want), interface };
                saw(want, self.ask(row, op).await, None, false)
            }
            Err(message) => {
                Some(Learned::Fault(want.generation, BuildFault { message, elsewhere: false }))
            }
        }
    }

    pub(super) async fn remove(&self, row: &GuestRow) -> Option<Learned> {
        let generation = row.leaving_at();
        let op = Op::Remove(GuestRef { guest: row.server, generation });
        let answer = self.ask(row, op).await.1;
        let gone = match is_removed(&answer) {
            Some(gone) => gone,
            None => self.has_no_guest(row).await,
        };
        if !gone {
            tracing::warn!(server = %row.server, ?answer, "a guest is not removed yet");
            return None;
        }
        let _turn = self.turns.take(row.server).await;
        let known =
            self.store.read(|txn| txn.get::<GuestRow>(&row.server.to_string())).await.ok()?;
        if may_clear(known.as_ref())
            && let Err(error) = self.disks.remove(row.server).await
        {
            tracing::warn!(server = %row.server, %error, "a guest's files are not removed yet");
            return None;
        }
        Some(Learned::Gone { generation })
    }

    async fn has_no_guest(&self, row: &GuestRow) -> bool {
        let described = self.ask(row, Op::Describe { guest: row.server }).await.1;
        matches!(described, Err(DriverError::NoGuest(_)))
    }

    /// Asks the hypervisor when it is this operation's turn, and records what it has done.
    pub(super) async fn ask(&self, row: &GuestRow, op: Op) -> (u64, Result<Answer, DriverError>) {
        let (looks, name) =
            (matches!(op, Op::Describe { .. }), format!("hypervisor/{}", name(&op)));
        let turn = self.turns.take(row.server).await;
        let answer = self.hypervisor.perform(op, OPERATION).await;
        if answer.is_ok() {
            if !looks {
                tracing::info!(server = %row.server, what = name, "done");
            }
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
}

/// What the hypervisor is to make of a guest on this host; `Err` says in words what is missing.
pub fn spec_of(
    row: &GuestRow,
    want: &GuestWant,
    here: &str,
    console_log: PathBuf,
) -> Result<GuestSpec, String> {
    let boot = row.boot.clone().ok_or("nothing to boot from")?;
    let mut disks = Vec::new();
    if let Some((path, format)) = boot.disk.clone() {
        let (serial, remote) = ("root".to_owned(), None);
        disks.push(Disk { serial, path, format, read_only: false, remote });
    }
    for volume in want.volumes.iter().filter(|volume| volume.goal == crate::Goal::Present) {
        disks.push(volume_disk(row, volume, here)?);
    }
    let ports = row.ports.as_deref().unwrap_or_default();
    Ok(GuestSpec {
        guest: guest(want),
        name: want.instance_name.clone(),
        title: want.name.clone(),
        vcpus: want.flavor.vcpus,
        memory_mib: want.flavor.ram_mib,
        boot: how(boot),
        disks,
        interfaces: ports.iter().map(interface).collect::<Result<_, String>>()?,
        console_log,
    })
}

/// The interface that a guest has a port by; `Err` says in words why it can have none.
pub fn interface(port: &PortInfo) -> Result<Interface, String> {
    let tap = port.device.clone().ok_or(format!("port {} has no device", port.port))?;
    let mac_address = port.mac_address.clone();
    Ok(Interface { port: port.port, mac_address, tap, mtu: port.mtu })
}

/// The disk that a guest on this host sees a volume as; `Err` says in words why it can see none.
pub fn volume_disk(row: &GuestRow, volume: &VolumeWant, here: &str) -> Result<Disk, String> {
    let connection = row
        .connections
        .get(&volume.attachment)
        .ok_or(format!("volume {} is not connected", volume.volume))?;
    if connection.volume.host != here && connection.remote.is_none() {
        return Err(format!(
            "volume {} is on host {}, and nothing says where it is served to host {here}",
            volume.volume, connection.volume.host
        ));
    }
    Ok(Disk {
        serial: serial(volume.volume),
        path: connection.path.clone(),
        format: connection.format,
        read_only: false,
        remote: connection.remote.clone(),
    })
}

/// Whether an answer to a removal says that nothing is left of the guest; `None` if only a look at it can tell.
#[must_use]
pub fn is_removed(answer: &Result<Answer, DriverError>) -> Option<bool> {
    match answer {
        Ok(_) => Some(true),
        // The row was forgotten when all was gone, and a late message made it anew, with an old generation.
        Err(DriverError::Stale { .. }) => None,
        Err(_) => Some(false),
    }
}

/// What an answer of the hypervisor teaches.
#[must_use]
pub fn saw(
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

fn how(boot: BootFiles) -> Boot {
    match boot.kernel {
        Some(kernel) => {
            Boot::Kernel { kernel, ramdisk: boot.ramdisk, command_line: boot.command_line }
        }
        None => Boot::Disk,
    }
}

/// The guest at the generation that is wanted.
#[must_use]
pub fn guest(want: &GuestWant) -> GuestRef {
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
        Op::Console { .. } => "console",
        Op::Screenshot { .. } => "screenshot",
        Op::ConsoleLog { .. } => "console_log",
    }
}
