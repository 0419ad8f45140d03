//! What a node knows of one server.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use updraft_protocol::{
    compute::{BuildFault, FlavorSpec, GuestWant, Observation, Reboots, Seal, Stage},
    hypervisor::{DiskFormat, GuestReport, PowerState},
    image::ImageLocation,
    network::PortInfo,
    volume::Connection,
};
use updraft_runtime::{env::UnixMicros, rpc::TraceContext, store::Record};
use uuid::Uuid;

/// A server on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestRow {
    /// The server.
    pub server: Uuid,
    /// The newest generation heard of.
    pub wanted: u64,
    /// What is wanted, as a conductor last said.
    pub want: Option<GuestWant>,
    /// A conductor said that nothing is wanted here.
    pub unwanted: bool,
    /// Where the image is, and the kernel and ramdisk it names.
    pub images: Option<Vec<ImageLocation>>,
    /// What the guest boots from, once it is on this host.
    pub boot: Option<BootFiles>,
    /// Its ports, as the network service last said.
    pub ports: Option<Vec<PortInfo>>,
    /// How to reach its volumes, by attachment.
    pub connections: BTreeMap<Uuid, Connection>,
    /// What the hypervisor was last told to make.
    pub defined: Option<Defined>,
    /// What the hypervisor last said.
    pub guest: Option<GuestReport>,
    /// The turn of the operation that it said so after: an answer to an earlier one comes late.
    pub turn: u64,
    /// The reboots carried out.
    pub reboots: Reboots,
    /// The generation for which everything was so at least once.
    pub settled: Option<u64>,
    /// Why the want of this generation cannot be met.
    pub fault: Option<(u64, BuildFault)>,
    /// Failures of the hypervisor for this generation.
    pub failures: u32,
    /// How far it is, and since when.
    pub stage: (Stage, UnixMicros),
    /// The stage last reported.
    pub shown: Stage,
    /// Nothing is left of it here.
    pub gone: bool,
    /// Grows with every change worth a report.
    pub counter: u64,
    /// The report last taken: generation and counter.
    pub taken: Option<(u64, u64)>,
    /// The seal last refused: it is older than any key.
    #[serde(default)]
    pub unsealed: Option<Seal>,
    /// What its root disk is known by, once that is parked.
    #[serde(default)]
    pub parked: Option<Parked>,
    /// The request that last asked for something.
    pub trace: TraceContext,
}

/// A root disk that nobody writes to, for another host to copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Its digest, in hexadecimal digits; `None` if the server has no root disk of its own.
    pub digest: Option<String>,
}

/// What a guest boots from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootFiles {
    /// Its root disk, if it has one of its own.
    pub disk: Option<(PathBuf, DiskFormat)>,
    /// The kernel, for a boot without a boot loader.
    pub kernel: Option<PathBuf>,
    /// The ramdisk.
    pub ramdisk: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
}

/// What the hypervisor was told to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defined {
    /// Of this size.
    pub flavor: FlavorSpec,
    /// With these interfaces.
    pub ports: Vec<Uuid>,
}

impl Record for GuestRow {
    const TABLE: &'static str = "node/guest";
    fn key(&self) -> String {
        self.server.to_string()
    }
}

impl GuestRow {
    /// A server just heard of. `counter` starts above every report of the node's former lives, since what
    /// was not yet written is lost with a life.
    #[must_use]
    pub fn heard_of(
        server: Uuid,
        wanted: u64,
        counter: u64,
        trace: TraceContext,
        now: UnixMicros,
    ) -> Self {
        Self {
            server,
            wanted,
            want: None,
            unwanted: false,
            images: None,
            boot: None,
            ports: None,
            connections: BTreeMap::new(),
            defined: None,
            guest: None,
            turn: 0,
            reboots: Reboots::default(),
            settled: None,
            fault: None,
            failures: 0,
            stage: (Stage::Accepted, now),
            shown: Stage::Accepted,
            gone: false,
            counter,
            taken: None,
            unsealed: None,
            parked: None,
            trace,
        }
    }

    /// The fault, if it is of this generation.
    #[must_use]
    pub fn fault_of(&self, generation: u64) -> Option<&BuildFault> {
        self.fault.as_ref().filter(|(of, _)| *of == generation).map(|(_, fault)| fault)
    }

    /// Whether a removal for this generation is the one that is wanted: one for an older generation says
    /// nothing about what was made since.
    #[must_use]
    pub fn leaves_at(&self, generation: u64) -> bool {
        let absent = |want: &GuestWant| {
            want.goal == updraft_protocol::compute::Goal::Absent && want.generation <= generation
        };
        self.unwanted || self.want.as_ref().is_some_and(absent)
    }

    /// Whether what is new in this row, since it was as `old`, can be learnt again after a crash: all but what is
    /// wanted, and that everything is so. A guest that was told of must not be taken for one that nobody knows what it
    /// is made of: that one is stopped and made anew.
    #[must_use]
    pub fn can_be_learnt_again(&self, old: &Self) -> bool {
        let generation = |row: &Self| row.want.as_ref().map(|want| want.generation);
        generation(self) == generation(old) && self.settled == old.settled
    }

    /// The generation that the guest is removed for: the newest heard of.
    #[must_use]
    pub fn leaving_at(&self) -> u64 {
        self.want.as_ref().map_or(0, |want| want.generation).max(self.wanted)
    }

    /// What the guest does, as far as is known.
    #[must_use]
    pub fn power(&self) -> PowerState {
        self.guest.as_ref().map_or(PowerState::Absent, |guest| guest.power)
    }

    /// The newest generation that the hypervisor has served of the guest, as far as is known: it refuses older ones.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.guest.as_ref().map_or(0, |guest| guest.guest.generation)
    }

    /// Whether the guest has the disk of this serial.
    #[must_use]
    pub fn has_disk(&self, serial: &str) -> bool {
        self.guest.as_ref().is_some_and(|guest| guest.disks.iter().any(|disk| disk == serial))
    }

    /// The MAC addresses of the guest's interfaces.
    #[must_use]
    pub fn mac_addresses(&self) -> &[String] {
        self.guest.as_ref().map_or(&[], |guest| &guest.mac_addresses)
    }

    /// What to tell a conductor.
    #[must_use]
    pub fn observation(&self, want: &GuestWant) -> Observation {
        let fault = self.fault_of(want.generation).cloned();
        let stage = match (self.gone, self.settled == Some(want.generation)) {
            (true, _) => Stage::Gone,
            (false, true) => Stage::Settled,
            (false, false) => self.stage.0,
        };
        let attached = want.volumes.iter().enumerate().filter_map(|(index, volume)| {
            let seen = self.has_disk(&serial(volume.volume));
            seen.then(|| (volume.attachment, device_name(index, volume.boot, want)))
        });
        Observation {
            generation: want.generation,
            counter: self.counter,
            stage,
            power: self.power(),
            reboots: self.reboots,
            ports: self.ports.clone().unwrap_or_default(),
            attached: attached.collect(),
            fault,
        }
    }
}

/// How a volume is named inside the guest: virtio gives a serial 20 characters.
#[must_use]
pub fn serial(volume: Uuid) -> String {
    volume.to_string().chars().take(20).collect()
}

/// The device that a guest most likely shows the volume as; the serial is what is certain.
fn device_name(index: usize, boot: bool, want: &GuestWant) -> String {
    let root = usize::from(want.image.is_some());
    let place = if boot { 0 } else { index + root };
    let letter = char::from(b'a' + u8::try_from(place.min(25)).unwrap_or(25));
    format!("/dev/vd{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> GuestRow {
        GuestRow::heard_of(Uuid::nil(), 1, 0, TraceContext::default(), UnixMicros(0))
    }

    #[test]
    fn what_was_told_of_survives_a_crash() {
        let old = row();
        let learnt = GuestRow { turn: 1, counter: 1, ..old.clone() };
        assert!(learnt.can_be_learnt_again(&old));
        let settled = GuestRow { settled: Some(1), ..old.clone() };
        assert!(!settled.can_be_learnt_again(&old));
    }
}
