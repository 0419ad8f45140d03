//! What now with a server? The pure heart of compute.
//!
//! Promises that a second host is tried only when the first has confirmed that nothing is left there, that
//! a claim stands as long as its placement, and that a server's ports and volumes are let go of only when
//! its guest is gone. Creation, retry, rescheduling and deletion are the same few lines.

mod faults;
mod moves;

use std::time::Duration;

use updraft_protocol::{
    compute::{Goal, Observation, Power, Stage},
    hypervisor::PowerState,
    network::PortInfo,
};
use updraft_runtime::{
    always,
    env::UnixMicros,
    planted::{Bug, is_planted},
    rows::Plan,
    sometimes,
};
use uuid::Uuid;

pub use self::{
    faults::without_host,
    moves::{is_moving, leaving, reverting, taken_from, why_not_anew},
};
use self::{
    faults::{exhausted, fault_of, in_error, timed_out},
    moves::{called_off, cannot_leave, forgotten, given_up, returned, taken_back, turns_back},
};
use crate::{
    rows::{
        ActionKind, FaultRow, Migration, MigrationPhase, Placement, Release, Resize, ResizePhase,
        ServerRow, VmState, VolumeRow,
    },
    servers::Servers,
};

/// How many hosts are tried before a server is in error, as in nova's `max_attempts`.
pub const HOSTS_MAX: usize = 3;

/// Most alternates that are kept with a placement: together with its host, as many as are ever tried.
pub const ALTERNATES_MAX: usize = HOSTS_MAX - 1;

/// How long a build may take, with all its hosts tried: bringing a large image to a host takes minutes.
pub const BUILD_MAX: Duration = Duration::from_secs(600);

/// How long a move may take once the disk is parked, with all its hosts tried: a large disk is copied for hours.
pub const MOVE_MAX: Duration = Duration::from_secs(6 * 3_600);

/// How long a host that has failed to detach a volume is left alone: long enough for what ails it to pass, and short
/// against how long a user waits for a volume.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What the plan of a server may know besides its row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The first of its alternates that can take it at this moment, if it has no host.
    pub alternate: Option<String>,
    /// The host that it is to leave, or to move to, is down by an operator's word, and nobody hears it.
    pub fenced: bool,
    /// The host that it was taken from is so still, and has not cleared away what it had.
    pub kept: bool,
}

/// What the plan of a server may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Cast to a scheduler: choose a host.
    SelectHost,
    /// Cast to the host: something is wanted.
    Converge {
        /// The host.
        host: String,
        /// The generation wanted.
        generation: u64,
    },
    /// Call the volume service: the guest sees it.
    AnnounceVolume {
        /// The attachment.
        attachment: Uuid,
    },
    /// Call the volume service: the attachment is over.
    ReleaseVolume {
        /// The attachment.
        attachment: Uuid,
    },
    /// Call the network service: no port is needed any longer.
    ReleaseNetwork,
    /// Call the network service: no port waits any longer for the host that the server was taken from.
    LeaveNetwork {
        /// That host.
        host: String,
    },
}

/// What can be learnt about a server.
#[derive(Clone, Debug)]
pub enum Learned {
    /// Its host reported.
    Observed {
        /// The host.
        host: String,
        /// What it sees.
        observation: Observation,
    },
    /// The volume service knows that the guest sees it.
    VolumeAnnounced(Uuid),
    /// The volume service has let go.
    VolumeReleased(Uuid),
    /// The network service has let go of everything.
    NetworkReleased,
    /// The network service waits no longer for the host that it was taken from.
    NetworkLeft,
    /// Its ports changed.
    Ports(Vec<PortInfo>),
    /// A client took this port, its interface of this index, away.
    PortTaken {
        /// The port.
        port: Uuid,
        /// The interface.
        index: u32,
    },
}

/// What now?
#[must_use]
pub fn plan(row: &ServerRow, facts: &Facts, now: UnixMicros) -> Plan<Servers> {
    match &row.placement {
        _ if row.goal == Goal::Absent && row.migration.is_some() => Plan::write(forgotten(row)),
        None if row.goal == Goal::Absent => clear_away(row),
        None if row.fault.is_some() => release(row),
        None => place(row, facts, now),
        Some(placement) if placement.goal == Goal::Absent => withdraw(row, placement, facts, now),
        Some(placement) if row.goal == Goal::Absent => want_absent(row, placement),
        Some(placement) if facts.fenced => Plan::write(taken_back(row, placement)),
        Some(placement) => converge(row, placement, now),
    }
}

/// When a build, or a move, that has not ended is given up. What is launched, or in error, or not wanted has no such time.
#[must_use]
pub fn deadline(row: &ServerRow) -> Option<UnixMicros> {
    // Nobody can say when a host that is down comes back, nor how long one needs that stops a guest.
    let waits = row.evacuation.as_ref().is_some_and(|evacuation| evacuation.release.is_none());
    let moving = |migration: &Migration| migration.phase == MigrationPhase::Moving;
    if waits || !row.migration.as_ref().is_none_or(moving) {
        return None;
    }
    let is_building = row.launched.is_none() || row.placement.is_none();
    let is_wanted = row.goal == Goal::Present && row.fault.is_none();
    (is_building && is_wanted).then_some(row.build_deadline)
}

/// Nothing is left on any host: let go of what the server owns, then of the server.
fn clear_away(row: &ServerRow) -> Plan<Servers> {
    if row.network_released && row.volumes.is_empty() {
        return Plan::delete();
    }
    release(row)
}

fn release(row: &ServerRow) -> Plan<Servers> {
    let mut effects: Vec<_> = row
        .volumes
        .iter()
        .map(|volume| Effect::ReleaseVolume { attachment: volume.attachment })
        .collect();
    if !row.network_released {
        effects.push(Effect::ReleaseNetwork);
    }
    Plan::act(effects)
}

/// Nothing of it is on any host. An alternate that can take it is claimed in the transaction that says so; a
/// scheduler is asked when there is none.
fn place(row: &ServerRow, facts: &Facts, now: UnixMicros) -> Plan<Servers> {
    if row.tried.len() >= HOSTS_MAX {
        return Plan::write(without_host(row, exhausted(row, now), facts.kept));
    }
    if now >= row.build_deadline {
        return Plan::write(without_host(row, timed_out(row, now), facts.kept));
    }
    let Some(host) = &facts.alternate else {
        return Plan::act(vec![Effect::SelectHost]);
    };
    let later = row.alternates.iter().skip_while(|known| *known != host).skip(1);
    Plan::write(placed(row, host, later.cloned().collect()))
}

/// The server once this host is to make it, and these are where to go on should it fail.
#[must_use]
pub fn placed(row: &ServerRow, host: &str, alternates: Vec<String>) -> ServerRow {
    let left = row.placement.as_ref();
    always!(left.is_none(), "a server is placed when no host has anything of it", "{left:?}");
    let mut next = row.clone();
    next.generation += 1;
    next.placement = Some(Placement { host: host.to_owned(), goal: Goal::Present });
    next.alternates = alternates;
    next.observed = None;
    next.network_released = next.nics.is_empty();
    next
}

/// The host is to confirm that it has nothing, or to be known to run nothing; only then does the placement, and the
/// claim, end.
fn withdraw(
    row: &ServerRow,
    placement: &Placement,
    facts: &Facts,
    now: UnixMicros,
) -> Plan<Servers> {
    let gone = row.current().is_some_and(|seen| seen.stage == Stage::Gone);
    let release = match (gone, facts.fenced) {
        (true, _) => Some(Release::Confirmed),
        (false, true) => Some(Release::ForcedDown),
        (false, false) => None,
    };
    sometimes!(!gone && row.goal == Goal::Present, "a server waits for the host it is to leave");
    sometimes!(
        release == Some(Release::ForcedDown),
        "a server is taken from a host that is down by an operator's word"
    );
    if let Some(why) = cannot_leave(row, release) {
        return Plan::write(called_off(row, &why));
    }
    let moves_on = row.goal == Goal::Present && is_planted(Bug::SecondCopyBeforeFirstGone);
    match release {
        None if !moves_on => Plan::act(vec![tell(row, placement)]),
        _ if turns_back(row) => Plan::write(returned(row)),
        _ => Plan::write(left(row, release, now)),
    }
}

/// The server once the host that it was to leave has nothing of it that runs.
fn left(row: &ServerRow, release: Option<Release>, now: UnixMicros) -> ServerRow {
    let mut next = row.clone();
    next.placement = None;
    next.observed = None;
    if let Some(evacuation) = next.evacuation.as_mut().filter(|known| known.release.is_none()) {
        evacuation.release = release;
        next.build_deadline = now.plus(BUILD_MAX);
    }
    let leaving = |known: &&mut Migration| known.phase == MigrationPhase::Leaving;
    if let Some(migration) = next.migration.as_mut().filter(leaving) {
        migration.phase = MigrationPhase::Moving;
        migration.parked = row.generation;
        next.build_deadline = now.plus(MOVE_MAX);
    }
    next
}

fn want_absent(row: &ServerRow, placement: &Placement) -> Plan<Servers> {
    let mut next = row.clone();
    next.generation += 1;
    next.placement = Some(Placement { goal: Goal::Absent, ..placement.clone() });
    Plan::write(next)
}

fn tell(row: &ServerRow, placement: &Placement) -> Effect {
    Effect::Converge { host: placement.host.clone(), generation: row.generation }
}

fn converge(row: &ServerRow, placement: &Placement, now: UnixMicros) -> Plan<Servers> {
    let building = row.launched.is_none();
    let Some(seen) = row.current() else {
        return tell_until(row, placement, now, building);
    };
    if let Some(fault) = &seen.fault {
        let fault = fault_of(placement, &fault.message, now);
        return match (building, &row.fault) {
            (true, _) => give_up_host(row, placement, fault, seen),
            (false, None) => Plan::write(fail_action(row, fault)),
            (false, Some(known)) => ask_again(row, known, now),
        };
    }
    match seen.stage {
        Stage::Settled => settled(row, seen, now),
        _ => tell_until(row, placement, now, building),
    }
}

/// A server in error stays as it is until its user acts. But a volume that is to leave it is kept from everybody
/// meanwhile, so its host is asked for that again now and then.
fn ask_again(row: &ServerRow, known: &FaultRow, now: UnixMicros) -> Plan<Servers> {
    if row.volumes.iter().all(|volume| volume.goal == Goal::Present) {
        return Plan::settled();
    }
    let at = known.created.plus(ASK_AGAIN_AFTER);
    if now < at {
        return Plan::settled().wake_at(at);
    }
    sometimes!(true, "a host that has failed to detach a volume is asked again");
    let mut next = row.clone();
    next.generation += 1;
    next.fault = Some(FaultRow { created: now, ..known.clone() });
    Plan::write(next)
}

fn tell_until(
    row: &ServerRow,
    placement: &Placement,
    now: UnixMicros,
    building: bool,
) -> Plan<Servers> {
    if building && now >= row.build_deadline {
        sometimes!(true, "a build takes longer than it may");
        // An evacuation or a move that fails goes back, if it can, when this host has nothing of it.
        let fault = timed_out(row, now);
        let mut next = match (&row.evacuation, &row.migration) {
            (Some(_), _) => row.clone(),
            (None, Some(_)) => given_up(row, &fault.message),
            (None, None) => in_error(row, fault),
        };
        next.generation += 1;
        next.placement = Some(Placement { goal: Goal::Absent, ..placement.clone() });
        return Plan::write(next);
    }
    let mut effects = vec![tell(row, placement)];
    effects.extend(leave_network(row));
    if is_planted(Bug::VolumeDetachedInUse) {
        let leaving = row.volumes.iter().filter(|volume| volume.goal == Goal::Absent);
        effects.extend(leaving.map(|v| Effect::ReleaseVolume { attachment: v.attachment }));
    }
    Plan::act(effects)
}

/// The ports of a server that was taken from a host which nobody can ask would wait for that host.
fn leave_network(row: &ServerRow) -> Option<Effect> {
    let evacuation = row.evacuation.as_ref()?;
    let unasked = evacuation.release == Some(Release::ForcedDown) && !evacuation.ports_left;
    (unasked && !row.nics.is_empty())
        .then(|| Effect::LeaveNetwork { host: evacuation.from.clone() })
}

/// A build failed: clear the host, then try another or be in error.
fn give_up_host(
    row: &ServerRow,
    placement: &Placement,
    fault: FaultRow,
    seen: &Observation,
) -> Plan<Servers> {
    let mut next = row.clone();
    next.tried.push((placement.host.clone(), fault.message.clone()));
    let nowhere = seen.fault.as_ref().is_some_and(|fault| !fault.elsewhere);
    match (&row.evacuation, &row.migration) {
        _ if !nowhere => {}
        (Some(_), _) => {}
        (None, Some(_)) => next = given_up(&next, &fault.message),
        (None, None) => next = in_error(&next, fault),
    }
    next.generation += 1;
    next.placement = Some(Placement { goal: Goal::Absent, ..placement.clone() });
    Plan::write(next)
}

/// An action on a server that ran before could not be carried out: the want goes back to what is possible.
fn fail_action(row: &ServerRow, fault: FaultRow) -> ServerRow {
    let mut next = row.clone();
    next.updated = fault.created;
    next.action = None;
    next.auth = None;
    let attaching = |volume: &VolumeRow| volume.goal == Goal::Present && volume.device.is_none();
    if let Some(resize) = next.resize.take_if(|_| row.migration.is_none()) {
        next.flavor = resize.old_flavor;
        next.generation += 1;
    } else if next.volumes.iter().any(attaching) {
        for volume in next.volumes.iter_mut().filter(|volume| attaching(volume)) {
            volume.goal = Goal::Absent;
        }
        next.generation += 1;
    } else {
        next.state = VmState::Error;
        next.fault = Some(fault);
    }
    next
}

/// The host has what is wanted: fold what that means, then tell the services that own the parts.
fn settled(row: &ServerRow, seen: &Observation, now: UnixMicros) -> Plan<Servers> {
    if row.details.held_in_error {
        return Plan::settled();
    }
    let next = settle(row, seen, now);
    if next != *row {
        return Plan::write(next);
    }
    let announce = |volume: &VolumeRow| match (volume.goal, &volume.device) {
        (Goal::Present, Some(_)) if !volume.announced => {
            Some(Effect::AnnounceVolume { attachment: volume.attachment })
        }
        (Goal::Absent, None) => Some(Effect::ReleaseVolume { attachment: volume.attachment }),
        _ => None,
    };
    Plan::act(row.volumes.iter().filter_map(announce).collect())
}

fn settle(row: &ServerRow, seen: &Observation, now: UnixMicros) -> ServerRow {
    let mut next = row.clone();
    moves::arrive(&mut next);
    next.launched.get_or_insert(now);
    next.alternates.clear();
    next.evacuation = None;
    for volume in &mut next.volumes {
        let seen = seen.attached.iter().find(|(attachment, _)| *attachment == volume.attachment);
        volume.device = seen.map(|(_, device)| device.clone());
    }
    // The guest stopped by itself: that is what the user now has, until told otherwise.
    if row.power == Power::On && seen.power != PowerState::Running {
        next.power = Power::Off;
        next.generation += 1;
    }
    match next.resize.as_ref().map(|resize| resize.phase) {
        Some(ResizePhase::Resizing) => {
            next.resize =
                next.resize.take().map(|resize| Resize { phase: ResizePhase::Verify, ..resize });
        }
        Some(ResizePhase::Reverting) => next.resize = None,
        Some(ResizePhase::Verify) | None => {}
    }
    next.state = match (&next.resize, seen.power) {
        (Some(_), _) => VmState::Resized,
        (None, PowerState::Running | PowerState::Paused) => VmState::Active,
        (None, _) => VmState::Stopped,
    };
    let ends = row.action.as_ref().is_some_and(|action| action.kind != ActionKind::Delete);
    if ends {
        next.action = None;
        next.auth = None;
    }
    next.fault = None;
    if next != *row {
        next.updated = now;
    }
    next
}

/// Folds in what was learnt; what belongs to another host or generation changes nothing.
pub fn learn(row: &mut ServerRow, learned: Learned) -> bool {
    match learned {
        Learned::Observed { host, observation } => observe(row, &host, observation),
        Learned::VolumeAnnounced(attachment) => {
            let volume = row.volumes.iter_mut().find(|volume| volume.attachment == attachment);
            volume.is_some_and(|volume| !std::mem::replace(&mut volume.announced, true))
        }
        Learned::VolumeReleased(attachment) => {
            let before = row.volumes.len();
            row.volumes.retain(|volume| volume.attachment != attachment);
            row.volumes.len() != before
        }
        Learned::NetworkLeft => row
            .evacuation
            .as_mut()
            .is_some_and(|evacuation| !std::mem::replace(&mut evacuation.ports_left, true)),
        Learned::NetworkReleased => !std::mem::replace(&mut row.network_released, true),
        Learned::Ports(ports) => {
            let changed = row.ports != ports;
            row.ports = ports;
            changed
        }
        Learned::PortTaken { port, index } => lose_port(row, port, index),
    }
}

/// The server does without the interface from now on; its host, if it has one, is to unplug it.
fn lose_port(row: &mut ServerRow, port: Uuid, index: u32) -> bool {
    let (nics, ports) = (row.nics.len(), row.ports.len());
    row.ports.retain(|known| known.port != port);
    row.nics.retain(|nic| nic.index != index);
    let lost = row.nics.len() != nics;
    let host = row.placement.as_ref().filter(|placement| placement.goal == Goal::Present);
    if lost && host.is_some() {
        row.generation += 1;
    }
    lost || row.ports.len() != ports
}

fn observe(row: &mut ServerRow, host: &str, observation: Observation) -> bool {
    let here = row.placement.as_ref().is_some_and(|placement| placement.host == host);
    let mut observation = observation;
    if is_planted(Bug::StaleReportFolded) {
        observation.generation = row.generation;
    }
    sometimes!(!here, "a host reports about a server that it is to have no longer");
    sometimes!(
        here && observation.generation < row.generation,
        "a host reports about what was wanted before"
    );
    if !here || observation.generation != row.generation {
        return false;
    }
    let newer = row.observed.as_ref().is_none_or(|known| {
        (known.generation, known.counter) < (observation.generation, observation.counter)
    });
    sometimes!(!newer, "an older report comes after a newer one");
    if !newer && !is_planted(Bug::LateObservationFolded) {
        return false;
    }
    if !observation.ports.is_empty() {
        row.ports.clone_from(&observation.ports);
    }
    row.observed = Some(observation);
    true
}
