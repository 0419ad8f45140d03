//! What goes wrong, and until when.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use updraft_harness::world::Links;
use updraft_runtime::store::CommitFate;
use updraft_transport::NodeId;

use super::Trouble;
use crate::cloud::{Fault, Menu, Point, SimCloud};

/// How late a driver is that is late: beyond the deadlines of the network's drivers (6 s) and of all others
/// (30 s).
const LATE: Duration = Duration::from_secs(32);

/// The chances that the database and the drivers ask.
struct Odds {
    rng: ChaCha8Rng,
    unknown: f64,
    drivers: Vec<(f64, Fault)>,
}

impl Odds {
    fn decide(&mut self, point: &Point) -> Option<Fault> {
        match point {
            Point::Commit { .. } => {
                let applied = self.rng.random_bool(0.5);
                let fate = if applied {
                    CommitFate::UnknownApplied
                } else {
                    CommitFate::UnknownNotApplied
                };
                self.rng.random_bool(self.unknown).then_some(Fault::Commit(fate))
            }
            Point::Driver { .. } => {
                let Self { rng, drivers, .. } = self;
                drivers.iter().find(|(share, _)| rng.random_bool(*share)).map(|(_, fault)| *fault)
            }
        }
    }
}

/// All troubles of a run.
pub(super) struct Troubles {
    odds: Arc<Mutex<Odds>>,
    present: Vec<(Trouble, Duration)>,
}

impl Troubles {
    pub(super) fn new(seed: u64) -> (Self, Menu) {
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7472_6f75);
        let odds = Arc::new(Mutex::new(Odds { rng, unknown: 0.0, drivers: Vec::new() }));
        let asked = odds.clone();
        let menu = Menu::new(move |point| asked.lock().decide(point));
        (Self { odds, present: Vec::new() }, menu)
    }

    pub(super) fn are_over(&self) -> bool {
        self.present.is_empty()
    }

    pub(super) fn begin(&mut self, cloud: &mut SimCloud, trouble: Trouble, until: Duration) {
        match trouble {
            Trouble::ControlCrash(_) | Trouble::HostCrash(_) => {
                let node = node(cloud, trouble);
                if !cloud.world.is_up(&node) {
                    return;
                }
                cloud.world.crash(&node);
            }
            Trouble::GuestStops(which) => return stop_guest(cloud, which),
            _ => {}
        }
        self.present.push((trouble, until));
        self.apply(cloud);
    }

    /// Ends what is over.
    pub(super) fn look(&mut self, cloud: &mut SimCloud) {
        let now = cloud.world.now();
        let over = |(_, until): &mut (Trouble, Duration)| *until <= now;
        let ended: Vec<_> = self.present.extract_if(.., over).collect();
        if ended.is_empty() {
            return;
        }
        for (trouble, _) in ended {
            if matches!(trouble, Trouble::ControlCrash(_) | Trouble::HostCrash(_)) {
                let node = node(cloud, trouble);
                cloud.world.start(&node);
            }
        }
        self.apply(cloud);
    }

    /// Makes the world as bad as it now is.
    fn apply(&self, cloud: &mut SimCloud) {
        let (mut links, mut loss, mut doubling) = (Links::default(), 0.0, 0.0);
        let mut odds = self.odds.lock();
        (odds.unknown, odds.drivers) = (0.0, Vec::new());
        cloud.world.heal();
        for (trouble, _) in &self.present {
            match *trouble {
                Trouble::Loss(percent) => loss = share(percent),
                Trouble::Doubling(percent) => doubling = share(percent),
                Trouble::Slowness(millis) => {
                    links.latency_max = Duration::from_millis(u64::from(millis) + 5);
                }
                Trouble::Partition(one, other) => {
                    let (one, other) = (any(cloud, one), any(cloud, other));
                    cloud.world.partition(&one, &other);
                }
                Trouble::Unknown(percent) => odds.unknown = share(percent),
                Trouble::DriverFails(percent) => odds.drivers.push((share(percent), Fault::Fails)),
                Trouble::DriverLies(percent) => odds.drivers.push((share(percent), Fault::Lies)),
                Trouble::DriverLate(percent) => {
                    odds.drivers.push((share(percent), Fault::Late(LATE)));
                }
                Trouble::ControlCrash(_) | Trouble::HostCrash(_) | Trouble::GuestStops(_) => {}
            }
        }
        cloud.world.network().set_links(links);
        cloud.world.set_loss(loss);
        cloud.world.set_disorder(doubling, 0.0);
    }
}

fn share(percent: u8) -> f64 {
    f64::from(percent.min(100)) / 100.0
}

fn pick(nodes: &[NodeId], which: u8) -> NodeId {
    nodes[usize::from(which) % nodes.len()].clone()
}

fn node(cloud: &SimCloud, trouble: Trouble) -> NodeId {
    match trouble {
        Trouble::HostCrash(which) => pick(cloud.hosts(), which),
        Trouble::ControlCrash(which) => pick(cloud.controls(), which),
        other => unreachable!("{other:?} crashes nobody"),
    }
}

fn any(cloud: &SimCloud, which: u8) -> NodeId {
    let nodes: Vec<NodeId> = cloud.controls().iter().chain(cloud.hosts()).cloned().collect();
    pick(&nodes, which)
}

fn stop_guest(cloud: &SimCloud, which: u8) {
    let machines: Vec<_> = cloud.hosts().iter().filter_map(|host| cloud.machine(host)).collect();
    let guests: Vec<_> = machines
        .iter()
        .flat_map(|machine| machine.guests.guests().into_iter().map(move |guest| (machine, guest)))
        .collect();
    if guests.is_empty() {
        return;
    }
    let (machine, guest) = &guests[usize::from(which) % guests.len()];
    machine.guests.guest_dies(guest.guest.guest);
}
