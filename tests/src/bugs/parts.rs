//! The users' cloud with one part of it in use, and its drivers in trouble: images, networks or volumes.

use std::time::Duration;

use proptest::{collection, prelude::*};
use updraft_harness::{
    campaign::Run,
    fault::{FaultKind, Swarm},
    world::Tier,
};

use crate::{
    scenario::drawn,
    workload::{self, Ask, Case, NewServer, Step, gen_case},
};

/// Most steps of a case.
const STEPS_MAX: usize = 40;

/// For how long things go wrong.
const FAULTS_MAX: Duration = Duration::from_secs(20);

/// What goes wrong.
const KINDS: [FaultKind; 8] = [
    FaultKind::Crash,
    FaultKind::SlowCommit,
    FaultKind::LatencySpike,
    FaultKind::DriverFails,
    FaultKind::DriverHangs,
    FaultKind::DriverLies,
    FaultKind::DriverTwice,
    FaultKind::DriverLate,
];

/// A part of the cloud.
#[derive(Clone, Copy)]
enum Part {
    Images,
    Networks,
    Volumes,
}

impl Part {
    /// Each in its turn.
    fn of(seed: u64) -> Self {
        match seed % 3 {
            0 => Self::Images,
            1 => Self::Networks,
            _ => Self::Volumes,
        }
    }

    /// How the names of its drivers' operations begin.
    fn operations(self) -> &'static str {
        match self {
            Self::Images => "bytes/",
            Self::Networks => "network/",
            Self::Volumes => "volume/",
        }
    }

    fn asks(self) -> BoxedStrategy<Ask> {
        let which = || 0..6_u8;
        match self {
            Self::Images => prop_oneof![
                2 => Just(Ask::MakeImage),
                4 => which().prop_map(Ask::Upload),
                1 => which().prop_map(Ask::DeleteImage),
            ]
            .boxed(),
            Self::Networks => prop_oneof![
                1 => Just(Ask::MakeNetwork),
                3 => which().prop_map(Ask::MakePort),
                2 => which().prop_map(Ask::DeletePort),
                3 => which().prop_map(|network| Ask::MakeServer(on(network))),
                2 => which().prop_map(Ask::DeleteServer),
            ]
            .boxed(),
            Self::Volumes => prop_oneof![
                2 => Just(Ask::MakeVolume(1)),
                2 => which().prop_map(Ask::DeleteVolume),
                2 => which().prop_map(Ask::MakeSnapshot),
                1 => which().prop_map(Ask::DeleteSnapshot),
                2 => which().prop_map(Ask::MakeVolumeFrom),
                4 => (which(), which()).prop_map(|(server, volume)| Ask::Attach(server, volume)),
                4 => (which(), which()).prop_map(|(server, volume)| Ask::Detach(server, volume)),
            ]
            .boxed(),
        }
    }

    fn steps(self) -> impl Strategy<Value = Vec<Step>> {
        let ask = (0..3_u8, self.asks()).prop_map(|(node, ask)| Step::Ask(node, ask));
        let wait = (0..2_000_u16).prop_map(Step::Wait);
        collection::vec(prop_oneof![5 => ask, 1 => wait], 5..=STEPS_MAX)
    }
}

fn on(network: u8) -> NewServer {
    NewServer { network: Some(network), ..NewServer::default() }
}

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let part = Part::of(seed);
    let mut targets = gen_case::targets(Tier::Memory);
    targets.operations = vec![part.operations().to_owned()];
    targets.kinds = KINDS.to_vec();
    targets.duration = FAULTS_MAX;
    Case { seed, steps: drawn(&part.steps(), seed), faults: Swarm::draw(seed, &targets) }
}

/// Runs a case.
///
/// # Panics
/// If a promise or an invariant of the cloud is broken.
pub fn run(case: &Case) {
    workload::run(case, &Run::new(Tier::Memory));
}
