//! Random workloads: what users ask for, and what goes wrong meanwhile, as a value that can be printed, replayed
//! and shrunk.
//!
//! Owns the case and its run: users send requests to any control node without waiting for one another, faults
//! begin and end by themselves. When the last step is done and the last fault has ended, the cloud must come to rest with every invariant holding, nothing acknowledged lost, and nothing left once all is deleted.

mod foreign;
pub mod gen_case;
mod outage;
mod requests;
mod users;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use updraft_harness::campaign::Run;

use crate::{
    census::Audit,
    cloud::{Client, Menu, SimCloud, Size},
    flow,
    invariants::Broken,
    life,
};
use outage::Outage;
pub(crate) use users::ROTATED;
use users::Users;

/// How long after the last fault everything may take to come to rest: a build's own deadline is 600 s, and
/// what it was waiting for may take the longest deadline of a driver on top.
pub const SETTLES: Duration = Duration::from_secs(700);

/// How often it is looked whether everything is at rest.
const LOOKS: Duration = Duration::from_millis(250);

/// How long everybody has to hear of everybody again before the first thing comes that was held back.
const SHORTLY: Duration = Duration::from_secs(10);

/// The pause after each step.
const GAP: Duration = Duration::from_millis(30);

/// What must have been asked for and taken at least once over all cases: else they show nothing of it.
pub const MARKS: [&str; 15] = [
    "Attach",
    "ConfirmResize",
    "DeleteNetwork",
    "DeleteServer",
    "DeleteVolume",
    "Detach",
    "MakePort",
    "MakeServer",
    "MakeSnapshot",
    "Reboot",
    "Resize",
    "RevertResize",
    "Start",
    "Stop",
    "Upload",
];

/// A random case.
pub type Case = crate::scenario::Case<Step>;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A user sends a request by this control node, or by the next that runs.
    Ask(u8, Ask),
    /// Nothing, for so many milliseconds.
    Wait(u16),
    /// A server's guest stops by itself.
    GuestStops(u8),
    /// The keys of tokens are rotated.
    RotateKeys,
    /// The power of a host fails, and an operator sees to it.
    HostGoesDown(u8),
}

/// A request. A small number picks one of what there is of its kind, by counting around.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Make a network with a subnet.
    MakeNetwork,
    /// Delete one.
    DeleteNetwork(u8),
    /// Make a port on a network.
    MakePort(u8),
    /// Delete one.
    DeletePort(u8),
    /// Make a volume of so many GiB.
    MakeVolume(u8),
    /// Delete one.
    DeleteVolume(u8),
    /// Make a snapshot of a volume.
    MakeSnapshot(u8),
    /// Delete one.
    DeleteSnapshot(u8),
    /// Make a volume from a snapshot.
    MakeVolumeFrom(u8),
    /// Make an image without bytes.
    MakeImage,
    /// Upload bytes for one.
    Upload(u8),
    /// Delete one.
    DeleteImage(u8),
    /// Make a key pair.
    MakeKeyPair,
    /// Delete one.
    DeleteKeyPair(u8),
    /// Make a server.
    MakeServer(NewServer),
    /// Delete one.
    DeleteServer(u8),
    /// Stop one.
    Stop(u8),
    /// Start one.
    Start(u8),
    /// Reboot one, by pulling the plug or not.
    Reboot(u8, bool),
    /// Make one anew of another flavor.
    Resize(u8),
    /// Keep its new size.
    ConfirmResize(u8),
    /// Have its old size back.
    RevertResize(u8),
    /// What its user would do with a server next: start what was stopped, confirm or revert what was resized.
    Proceed(u8, bool),
    /// Attach a volume to a server, one of its host if there is any.
    Attach(u8, u8),
    /// Detach a volume from a server, one that it has if there is any.
    Detach(u8, u8),
    /// Get another token, which is used from then on.
    LogIn,
}

/// A server to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewServer {
    /// A port on this network.
    pub network: Option<u8>,
    /// This port.
    pub port: Option<u8>,
    /// This image, and not the one that was there before.
    pub image: Option<u8>,
    /// This key pair.
    pub key_pair: Option<u8>,
    /// This volume, attached from the beginning.
    pub volume: Option<u8>,
}

/// What it has besides an image; those that are picked by number count around.
impl fmt::Display for NewServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("network", self.network),
            ("port", self.port),
            ("image", self.image),
            ("key pair", self.key_pair),
            ("volume", self.volume),
        ];
        let parts = parts.iter().filter_map(|(name, which)| Some(format!("{name} {}", (*which)?)));
        let parts: Vec<String> = parts.collect();
        f.write_str(if parts.is_empty() { "with nothing" } else { "with " })?;
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(node, Ask::MakeServer(new)) => {
                write!(f, "ask control-{}: MakeServer {new}", node + 1)
            }
            Self::Ask(node, ask) => write!(f, "ask control-{}: {ask:?}", node + 1),
            Self::Wait(millis) => write!(f, "wait {millis} ms"),
            Self::GuestStops(which) => write!(f, "guest {which} stops"),
            Self::HostGoesDown(host) => write!(f, "the power of compute-{} fails", host + 1),
            Self::RotateKeys => f.write_str("the keys are rotated"),
        }
    }
}

/// How long a fault may be over before the world ends it, a step of it at most: some end with nodes that start again.
const ENDS_WITHIN: Duration = Duration::from_millis(5);

/// Runs a case.
///
/// # Panics
/// If the cloud does not keep what it promises.
pub fn run(case: &Case, run: &Run) {
    run_in(case, run, |_| ());
}

/// Runs a case in a cloud to which something more is done once its users have settled in.
///
/// # Panics
/// As [`run`].
pub fn run_in(case: &Case, run: &Run, prepare: impl FnOnce(&mut SimCloud)) {
    run_case(case, run, Size::default(), prepare, |_, _, _| ());
}

/// Runs a case in a cloud of this size.
///
/// # Panics
/// As [`run`].
pub fn run_of(case: &Case, run: &Run, size: Size) {
    run_case(case, run, size, |_| (), |_, _, _| ());
}

/// Runs a case, and so much later what its faults have held back for as long; nothing may come of it. Of every other case
/// all that there was is deleted before.
///
/// # Panics
/// As [`run`].
pub fn run_and_later(case: &Case, run: &Run, later: Duration) {
    let deleted = case.seed.is_multiple_of(2);
    let stale = |cloud: &mut SimCloud, users: &mut Users, began: Duration| {
        if deleted {
            users.delete_all(cloud);
            rest(cloud, &mut Audit::begin(cloud), run);
        }
        let took = cloud.world.now() - began;
        let before = flow::inventory(cloud);
        if !cloud.world.skip(later.saturating_sub(took + SHORTLY)) {
            return;
        }
        cloud.world.run_for(took + SHORTLY);
        rest(cloud, &mut Audit::begin(cloud), run);
        users.log_in_again(cloud);
        let now = flow::inventory(cloud);
        let changed: Vec<_> = before.symmetric_difference(&now).collect();
        if !changed.is_empty() {
            run.violated("what is told weeks too late changes nothing", &format!("{changed:?}"));
        }
        if !deleted {
            users.check_promises(cloud);
        }
    };
    run_case(case, run, Size::default(), |_| (), stale);
}

fn run_case(
    case: &Case,
    run: &Run,
    size: Size,
    prepare: impl FnOnce(&mut SimCloud),
    afterwards: impl FnOnce(&mut SimCloud, &mut Users, Duration),
) {
    let mut cloud = SimCloud::start(case.seed, run.tier(), size, &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let small = client.flavor(&mut cloud, 32);
    let before = flow::inventory(&cloud);
    let mut users = Users::new(client, have, small);
    users.settle_in(&mut cloud, run);
    prepare(&mut cloud);
    let mut audit = Audit::begin(&cloud);
    let began = cloud.world.now();
    let faults = case.faults.clone().later(began);
    let over = faults.ends();
    cloud.world.follow(faults);
    cloud.world.tell_step(&"from now on anything may go wrong");
    for step in &case.steps {
        cloud.world.tell_step(step);
        match step {
            Step::Ask(node, ask) => users.ask(&mut cloud, *node, ask),
            Step::Wait(millis) => {
                let wait = Duration::from_millis((*millis).into());
                turn(&mut cloud, &mut users, &mut audit, wait, run);
            }
            Step::GuestStops(which) => stop_guest(&cloud, *which),
            Step::HostGoesDown(host) => {
                let (cloud, users, audit) = (&mut cloud, &mut users, &mut audit);
                Outage { cloud, users, audit, run }.of(*host);
            }
            Step::RotateKeys => users.have_keys_rotated(&mut cloud),
        }
        turn(&mut cloud, &mut users, &mut audit, GAP, run);
    }
    while users.are_waiting() || cloud.world.now() < over + ENDS_WITHIN {
        turn(&mut cloud, &mut users, &mut audit, GAP, run);
    }
    cloud.world.tell_step(&"nothing goes wrong any more, and everything is to come to rest");
    rest(&mut cloud, &mut audit, run);
    users.check_promises(&mut cloud);
    foreign::hosts_hear_of_their_own(&mut cloud, run);
    afterwards(&mut cloud, &mut users, began);
    cloud.world.tell_step(&"everything is deleted");
    users.delete_all(&mut cloud);
    rest(&mut cloud, &mut audit, run);
    life::leaves_nothing(&mut cloud, &before);
    for (kind, times) in cloud.world.struck() {
        run.struck(&kind.to_string(), times);
    }
}

/// Runs for so long.
fn turn(cloud: &mut SimCloud, users: &mut Users, audit: &mut Audit, duration: Duration, run: &Run) {
    let end = cloud.world.now() + duration;
    while cloud.world.now() < end {
        cloud.world.step();
        users.look(cloud, run);
        complain(run, &audit.after_step(cloud));
    }
    cloud.restart_failed();
    if cloud.database_serves() {
        complain(run, &audit.broken(cloud, false));
    }
}

/// A guest stops, one of those that there are.
fn stop_guest(cloud: &SimCloud, which: u8) {
    let machines: Vec<_> = cloud.hosts().iter().filter_map(|host| cloud.machine(host)).collect();
    let guests: Vec<_> = machines
        .iter()
        .flat_map(|machine| machine.guests.guests().into_iter().map(move |guest| (machine, guest)))
        .collect();
    if let Some(index) = usize::from(which).checked_rem(guests.len()) {
        let (machine, guest) = &guests[index];
        machine.guests.guest_dies(guest.guest.guest);
    }
}

/// Ends the run if anything is broken.
pub(crate) fn complain(run: &Run, broken: &[Broken]) {
    if let Some(first) = broken.first() {
        let words: Vec<&str> = broken.iter().map(|broken| broken.words.as_str()).collect();
        run.violated(first.name, &words.join("; "));
    }
}

fn rest(cloud: &mut SimCloud, audit: &mut Audit, run: &Run) {
    let until = cloud.world.now() + SETTLES;
    loop {
        let serves = cloud.stores_serve();
        let broken = if serves { audit.broken(cloud, true) } else { Vec::new() };
        if serves && broken.is_empty() {
            return;
        }
        if cloud.world.now() >= until {
            complain(run, &broken);
            run.violated("a store serves once its disk works", "one of them does not");
        }
        cloud.world.run_for(LOOKS);
        cloud.restart_failed();
    }
}
