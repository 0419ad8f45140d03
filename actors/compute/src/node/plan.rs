//! What now with a guest? Pure; the order is that of document 000, steps 10 to 28.

use std::time::Duration;

use bytes::Bytes;
use updraft_protocol::{
    compute::{
        BuildFault, Goal, GuestWant, Observation, Power, Reboots, RootDisk, Seal, Stage, VolumeWant,
    },
    hypervisor::{GuestReport, PowerState},
    image::ImageLocation,
    network::PortInfo,
    volume::Connection,
};
use updraft_runtime::{env::UnixMicros, rows::Plan};
use uuid::Uuid;

use super::{
    guest::{BootFiles, Defined, GuestRow, Parked, serial},
    perform::Guests,
};

/// A stage that lasts longer is reported; a build that takes milliseconds is spared the message.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// How often the hypervisor may refuse one generation before the want is given up.
const FAILURES_MAX: u32 = 3;

/// What the plan of a guest may ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Call a conductor: what is wanted?
    FetchWant,
    /// Call the image service: where is it?
    LocateImage(Uuid),
    /// Call the network service: give it its ports.
    Allocate,
    /// Call the volume service: how is it reached?
    Connect(VolumeWant),
    /// Bring the image to this host and make the root disk.
    PrepareBoot,
    /// Ask the hypervisor what it knows.
    Describe,
    /// Tell the hypervisor what the guest is made of.
    Define,
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Reboot it.
    Reboot(Reboots),
    /// Plug a volume.
    AttachDisk(VolumeWant),
    /// Unplug a volume.
    DetachDisk(VolumeWant),
    /// Plug a port.
    AttachInterface(PortInfo),
    /// Unplug what has this MAC address: it is no port's any longer.
    DetachInterface(String),
    /// Remove the guest and its files; of one whose disk is to stay the guest alone.
    Remove,
    /// Find out what its root disk is known by, which is to stay.
    Digest,
    /// Call a conductor: this is how it is.
    Report(Observation),
}

impl Effect {
    /// Whether a guest may run, or have more, by it: what was wanted of a host before it went down may be another's by
    /// the time that it comes back.
    #[must_use]
    pub fn gives_life(&self) -> bool {
        matches!(
            self,
            Self::Define
                | Self::Start
                | Self::Reboot(_)
                | Self::AttachDisk(_)
                | Self::AttachInterface(_)
        )
    }
}

/// What can be learnt about a guest.
#[derive(Clone, Debug)]
pub enum Learned {
    /// A newer generation may be wanted.
    Wanted(u64),
    /// What is wanted.
    Want(Box<GuestWant>),
    /// Nothing is wanted here.
    Unwanted,
    /// Where the images are.
    Images(Vec<ImageLocation>),
    /// Its ports.
    Ports(Vec<PortInfo>),
    /// How a volume is reached.
    Connection(Uuid, Connection),
    /// What it boots from.
    Boot(BootFiles),
    /// What the hypervisor knows, after what it was told.
    Guest {
        /// The turn of the operation answered; operations on one guest take turns.
        turn: u64,
        /// Its report.
        report: GuestReport,
        /// What it was made of, if it was defined.
        defined: Option<Defined>,
        /// The reboots carried out, if it was started or rebooted.
        reboots: Option<Reboots>,
    },
    /// Nothing is left of it: removed at this generation.
    Gone {
        /// The generation that it was removed for.
        generation: u64,
    },
    /// Its root disk is parked at this generation.
    Parked {
        /// The generation.
        generation: u64,
        /// What it is known by.
        parked: Parked,
    },
    /// The hypervisor refused.
    Refused {
        /// The generation that it was asked for.
        generation: u64,
        /// Its words.
        message: String,
    },
    /// The want of this generation cannot be met.
    Fault(u64, BuildFault),
    /// A seal does not hold any more.
    Unsealed(Seal),
    /// A conductor took a report.
    Taken {
        /// Of this generation.
        generation: u64,
        /// With this counter.
        counter: u64,
        /// What is wanted now.
        wanted: Option<u64>,
    },
}

/// What now?
#[must_use]
pub fn plan(row: &GuestRow, now: UnixMicros) -> Plan<Guests> {
    if row.unwanted {
        return if row.gone { Plan::delete() } else { Plan::act(vec![Effect::Remove]) };
    }
    let Some(want) = row.want.as_ref().filter(|want| want.generation >= row.wanted) else {
        return Plan::act(vec![Effect::FetchWant]);
    };
    if want.goal == Goal::Absent {
        return remove(row, want);
    }
    if row.fault_of(want.generation).is_some() {
        return report(row, want);
    }
    let (stage, effects) = next(row, want);
    if stage == Stage::Settled {
        return settle(row, want);
    }
    show(row, want, stage, effects, now)
}

fn remove(row: &GuestRow, want: &GuestWant) -> Plan<Guests> {
    let parks = want.disk == RootDisk::Parked;
    if parks && row.fault_of(want.generation).is_some() {
        return report(row, want);
    }
    if !row.gone {
        // A guest whose disk is of use may write what it has in memory.
        let stops = parks && row.power() == PowerState::Running;
        return Plan::act(vec![if stops { Effect::Stop } else { Effect::Remove }]);
    }
    if parks && row.parked.is_none() {
        return Plan::act(vec![Effect::Digest]);
    }
    if row.taken == Some((want.generation, row.counter)) {
        return if parks { Plan::settled() } else { Plan::delete() };
    }
    report(row, want)
}

fn report(row: &GuestRow, want: &GuestWant) -> Plan<Guests> {
    if row.taken == Some((want.generation, row.counter)) {
        return Plan::settled();
    }
    Plan::act(vec![Effect::Report(row.observation(want))])
}

fn settle(row: &GuestRow, want: &GuestWant) -> Plan<Guests> {
    if row.settled == Some(want.generation) {
        return report(row, want);
    }
    let mut next = row.clone();
    next.settled = Some(want.generation);
    next.counter += 1;
    next.failures = 0;
    if let Some(want) = &mut next.want {
        // The token that the want came with has done its work, and this row is on the host's disk.
        want.context = Bytes::new();
    }
    Plan::write(next)
}

/// Does what is next; a stage that lasts is reported on the way.
fn show(
    row: &GuestRow,
    want: &GuestWant,
    stage: Stage,
    mut effects: Vec<Effect>,
    now: UnixMicros,
) -> Plan<Guests> {
    let mut next = row.clone();
    let at = row.stage.1.plus(SHOW_AFTER);
    if stage != row.stage.0 {
        next.stage = (stage, now);
    } else if row.shown != stage && now >= at {
        next.shown = stage;
        next.counter += 1;
    }
    if next != *row {
        return Plan::write(next);
    }
    if row.shown != stage {
        return Plan::act(effects).wake_at(at);
    }
    // Acceptance alone is no news: whoever placed the server knows.
    if stage != Stage::Accepted {
        effects.extend(report(row, want).effects);
    }
    Plan::act(effects)
}

/// The first thing that is not as wanted, and what is to be done about it.
fn next(row: &GuestRow, want: &GuestWant) -> (Stage, Vec<Effect>) {
    if let (Some(image), None) = (want.image, &row.images) {
        return (Stage::Accepted, vec![Effect::LocateImage(image)]);
    }
    let networked = row.ports.as_ref().is_some_and(|ports| ports.iter().all(|port| port.up));
    if !want.nics.is_empty() && !networked {
        return (Stage::Networking, sealed(row, want, vec![Effect::Allocate]));
    }
    let unconnected: Vec<_> = want
        .volumes
        .iter()
        .filter(|volume| volume.goal == Goal::Present)
        .filter(|volume| !row.connections.contains_key(&volume.attachment))
        .map(|volume| Effect::Connect(volume.clone()))
        .collect();
    if !unconnected.is_empty() {
        return (Stage::BlockDeviceMapping, sealed(row, want, unconnected));
    }
    if row.boot.is_none() {
        return (Stage::Spawning, vec![Effect::PrepareBoot]);
    }
    spawn(row, want).map_or((Stage::Settled, Vec::new()), |effect| (Stage::Spawning, vec![effect]))
}

/// What is asked with the seal of a want; once it was refused, a conductor is asked for another one too.
fn sealed(row: &GuestRow, want: &GuestWant, mut effects: Vec<Effect>) -> Vec<Effect> {
    if row.unsealed.as_ref() == Some(&want.seal) {
        effects.push(Effect::FetchWant);
    }
    effects
}

/// What the hypervisor is to do, if anything.
fn spawn(row: &GuestRow, want: &GuestWant) -> Option<Effect> {
    let power = row.power();
    let running = matches!(power, PowerState::Running | PowerState::Paused);
    let had = row.settled == Some(want.generation);
    match (&row.guest, running) {
        (None, _) => return Some(Effect::Describe),
        (Some(_), _) if power == PowerState::Absent => return Some(Effect::Define),
        (Some(_), true) if resized(row, want) => return Some(Effect::Stop),
        (Some(_), false) if resized(row, want) => return Some(Effect::Define),
        _ => {}
    }
    match (want.power, running) {
        // It stopped by itself after it had been as wanted: that is reported, not undone.
        (Power::On, _) if had && power != PowerState::Running => None,
        // A driver that is replaced in the middle of a start may leave it paused.
        (Power::On, _) if power != PowerState::Running => Some(Effect::Start),
        (Power::Off, true) => Some(Effect::Stop),
        (Power::On, true) if row.reboots != want.reboots => Some(Effect::Reboot(want.reboots)),
        (Power::On, _) | (Power::Off, false) => {
            change_disk(row, want).or_else(|| change_interface(row))
        }
    }
}

fn resized(row: &GuestRow, want: &GuestWant) -> bool {
    row.defined.as_ref().is_none_or(|defined| defined.flavor != want.flavor)
}

/// A volume that is to go is unplugged though it is not seen, as long as the hypervisor has not heard of this generation:
/// what it was told before may still be under way, or what came of it may not have been heard. From then on it refuses.
fn change_disk(row: &GuestRow, want: &GuestWant) -> Option<Effect> {
    want.volumes.iter().find_map(|volume| {
        match (volume.goal, row.has_disk(&serial(volume.volume))) {
            (Goal::Present, false) => Some(Effect::AttachDisk(volume.clone())),
            (Goal::Absent, seen) if seen || row.served() < want.generation => {
                Some(Effect::DetachDisk(volume.clone()))
            }
            _ => None,
        }
    })
}

fn change_interface(row: &GuestRow) -> Option<Effect> {
    let (ports, has) = (row.ports.as_deref().unwrap_or_default(), row.mac_addresses());
    let is_port = |mac: &&String| ports.iter().any(|port| port.mac_address == **mac);
    if let Some(mac) = has.iter().find(|mac| !is_port(mac)) {
        return Some(Effect::DetachInterface(mac.clone()));
    }
    let lacks = ports.iter().find(|port| !has.contains(&port.mac_address));
    lacks.cloned().map(Effect::AttachInterface)
}

/// Folds in what was learnt.
pub fn learn(row: &mut GuestRow, learned: Learned, now: UnixMicros) -> bool {
    let before = row.clone();
    match learned {
        Learned::Wanted(generation) => row.wanted = row.wanted.max(generation),
        Learned::Want(want) => take_want(row, *want, now),
        Learned::Unwanted => {
            row.unwanted = true;
            row.gone = false;
        }
        Learned::Images(images) => row.images = Some(images),
        Learned::Ports(ports) => row.ports = Some(ports),
        Learned::Connection(attachment, connection) => {
            row.connections.insert(attachment, connection);
        }
        Learned::Boot(boot) => row.boot = Some(boot),
        Learned::Guest { turn, report, defined, reboots } => {
            if turn <= row.turn {
                return false;
            }
            row.turn = turn;
            see_guest(row, report, defined, reboots);
        }
        Learned::Gone { generation } => {
            if !row.leaves_at(generation) {
                return false;
            }
            row.gone = true;
            row.counter += 1;
            (row.guest, row.boot, row.ports, row.defined, row.settled) =
                (None, None, None, None, None);
            row.connections.clear();
        }
        Learned::Parked { generation, parked } => {
            let here =
                |want: &GuestWant| want.generation == generation && want.disk == RootDisk::Parked;
            if !row.gone || !row.want.as_ref().is_some_and(here) {
                return false;
            }
            row.parked = Some(parked);
            row.counter += 1;
        }
        Learned::Refused { generation, message } => refuse(row, generation, message),
        Learned::Unsealed(seal) => row.unsealed = Some(seal),
        Learned::Fault(generation, fault) => fail(row, generation, fault),
        Learned::Taken { generation, counter, wanted } => {
            row.taken = row.taken.max(Some((generation, counter)));
            row.wanted = row.wanted.max(wanted.unwrap_or_default());
        }
    }
    *row != before
}

fn take_want(row: &mut GuestRow, want: GuestWant, now: UnixMicros) {
    if let Some(known) = row.want.as_mut().filter(|known| want.generation <= known.generation) {
        // The same want, under a newer key.
        if want.generation == known.generation {
            known.seal = want.seal;
        }
        return;
    }
    // Only what was once put in place may be let go of later without being known again.
    let kept =
        |attachment: &Uuid| want.volumes.iter().any(|volume| volume.attachment == *attachment);
    row.connections.retain(|attachment, _| kept(attachment));
    if row.want.as_ref().is_some_and(|known| known.nics != want.nics) {
        // What ports these interfaces have only the network service knows.
        row.ports = None;
    }
    row.wanted = row.wanted.max(want.generation);
    row.trace = want.trace;
    row.gone = false;
    row.parked = None;
    row.failures = 0;
    row.stage = (Stage::Accepted, now);
    row.want = Some(want);
}

fn see_guest(
    row: &mut GuestRow,
    report: GuestReport,
    defined: Option<Defined>,
    reboots: Option<Reboots>,
) {
    let settled = row.want.as_ref().is_some_and(|want| row.settled == Some(want.generation));
    if settled && row.guest.as_ref() != Some(&report) {
        row.counter += 1;
    }
    row.guest = Some(report);
    row.defined = defined.or(row.defined.take());
    row.reboots = reboots.unwrap_or(row.reboots);
}

fn refuse(row: &mut GuestRow, generation: u64, message: String) {
    if row.want.as_ref().is_none_or(|want| want.generation != generation) {
        return;
    }
    row.failures += 1;
    // What the hypervisor has now is not what it last said.
    row.guest = None;
    let leaving = row.want.as_ref().is_some_and(|want| want.goal == Goal::Absent);
    if row.failures >= FAILURES_MAX && !leaving {
        fail(row, generation, BuildFault { message, elsewhere: true });
    }
}

fn fail(row: &mut GuestRow, generation: u64, fault: BuildFault) {
    if row.want.as_ref().is_some_and(|want| want.generation == generation) {
        row.fault = Some((generation, fault));
        row.counter += 1;
    }
}

#[cfg(test)]
pub(super) mod tests;
