//! How random cases are drawn. Smaller numbers and fewer steps are simpler, which is what shrinking goes for.

use std::time::Duration;

use proptest::{collection, option, prelude::*};
use updraft_harness::{fault::Targets, world::Tier};

use super::{Ask, NewServer, Step};

/// Most steps of a case: as many as make a few servers and change each of them a few times.
const STEPS_MAX: usize = 60;

/// For how long things go wrong.
pub(crate) const FAULTS_MAX: Duration = Duration::from_secs(60);

/// The nodes of a cloud of default size.
const NODES: [&str; 6] =
    ["control-1", "control-2", "control-3", "compute-1", "compute-2", "compute-3"];

/// Those of them that have guests.
pub(crate) const HOSTS: [&str; 3] = ["compute-1", "compute-2", "compute-3"];

/// The control nodes that share a database with the first.
const OTHERS: [&str; 2] = ["control-2", "control-3"];

/// Whose state comes back by itself: bridges, filters and DHCP servers are made again from rows. The bytes of volumes,
/// of guests' disks and of images are kept nowhere else, so nothing that the cloud promises survives their loss.
const FORGETFUL: [&str; 1] = ["network/"];

/// Draws what users do.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    collection::vec(step(), 1..=STEPS_MAX)
}

/// What may go wrong in the cloud of this tier.
#[must_use]
pub fn targets(tier: Tier) -> Targets {
    // On tier 3 there is one control node.
    let nodes: Vec<_> = match tier {
        Tier::Disks => NODES.into_iter().filter(|node| !OTHERS.contains(node)).collect(),
        _ => NODES.to_vec(),
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    Targets {
        operations: names(&["hypervisor/", "disks/", "network/", "volume/", "bytes/", ""]),
        forgetful: names(&FORGETFUL),
        ..Targets::new(&nodes, FAULTS_MAX)
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        14 => (0..3_u8, ask()).prop_map(|(node, ask)| Step::Ask(node, ask)),
        6 => (0..3_000_u16).prop_map(Step::Wait),
        1 => any_of().prop_map(Step::GuestStops),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        3 => of_networks(),
        5 => of_volumes(),
        2 => of_images(),
        4 => new_server().prop_map(Ask::MakeServer),
        9 => of_servers(),
        4 => (any_of(), any_of()).prop_map(|(server, volume)| Ask::Attach(server, volume)),
        3 => (any_of(), any_of()).prop_map(|(server, volume)| Ask::Detach(server, volume)),
    ]
}

fn any_of() -> impl Strategy<Value = u8> {
    0..6_u8
}

fn of_networks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        2 => Just(Ask::MakeNetwork),
        1 => any_of().prop_map(Ask::DeleteNetwork),
        2 => any_of().prop_map(Ask::MakePort),
        1 => any_of().prop_map(Ask::DeletePort),
    ]
}

fn of_volumes() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => (1..3_u8).prop_map(Ask::MakeVolume),
        2 => any_of().prop_map(Ask::DeleteVolume),
        2 => any_of().prop_map(Ask::MakeSnapshot),
        1 => any_of().prop_map(Ask::DeleteSnapshot),
        1 => any_of().prop_map(Ask::MakeVolumeFrom),
    ]
}

fn of_images() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::MakeImage),
        any_of().prop_map(Ask::Upload),
        any_of().prop_map(Ask::DeleteImage),
        Just(Ask::MakeKeyPair),
        any_of().prop_map(Ask::DeleteKeyPair),
    ]
}

fn of_servers() -> impl Strategy<Value = Ask> {
    prop_oneof![
        1 => any_of().prop_map(Ask::DeleteServer),
        5 => (any_of(), any::<bool>()).prop_map(|(server, further)| Ask::Proceed(server, further)),
        1 => any_of().prop_map(Ask::Stop),
        1 => any_of().prop_map(Ask::Start),
        1 => (any_of(), any::<bool>()).prop_map(|(server, hard)| Ask::Reboot(server, hard)),
        1 => any_of().prop_map(Ask::Resize),
        1 => any_of().prop_map(Ask::ConfirmResize),
        1 => any_of().prop_map(Ask::RevertResize),
    ]
}

pub(crate) fn new_server() -> impl Strategy<Value = NewServer> {
    let some = || option::of(any_of());
    let rarely = || option::weighted(0.2, any_of());
    (some(), rarely(), rarely(), rarely(), rarely()).prop_map(
        |(network, port, image, key_pair, volume)| NewServer {
            network,
            port,
            image,
            key_pair,
            volume,
        },
    )
}
