use std::collections::BTreeMap;

use updraft_protocol::{compute::FlavorSpec, hypervisor::GuestRef, network::NicRequest};
use updraft_runtime::{rows::Change, rpc::TraceContext};

use super::*;

const GENERATION: u64 = 3;

fn flavor() -> FlavorSpec {
    FlavorSpec {
        id: "1".to_owned(),
        name: "small".to_owned(),
        vcpus: 1,
        ram_mib: 64,
        disk_gib: 1,
        ephemeral_gib: 0,
        swap_mib: 0,
        extra_specs: BTreeMap::new(),
    }
}

fn want(power: Power) -> GuestWant {
    GuestWant {
        server: Uuid::nil(),
        generation: GENERATION,
        goal: Goal::Present,
        power,
        reboots: Reboots::default(),
        instance_name: "instance-1".to_owned(),
        name: "vm".to_owned(),
        project_id: "project".to_owned(),
        flavor: flavor(),
        image: None,
        nics: Vec::new(),
        security_groups: Vec::new(),
        volumes: Vec::new(),
        trace: TraceContext::default(),
        context: Bytes::new(),
        seal: seal("first"),
        disk: RootDisk::Here,
    }
}

fn seal(word: &'static str) -> Seal {
    Seal(word.into())
}

/// A guest that is made and of which only the power may not be as wanted.
pub(in crate::node) fn made(wanted: Power, power: PowerState, had: bool) -> GuestRow {
    let now = UnixMicros::default();
    let mut row = GuestRow::heard_of(Uuid::nil(), GENERATION, 0, TraceContext::default(), now);
    row.want = Some(want(wanted));
    row.boot =
        Some(BootFiles { disk: None, kernel: None, ramdisk: None, command_line: String::new() });
    row.defined = Some(Defined { flavor: flavor(), ports: Vec::new() });
    row.guest = Some(GuestReport {
        guest: GuestRef { guest: Uuid::nil(), generation: GENERATION },
        power,
        disks: Vec::new(),
        mac_addresses: Vec::new(),
    });
    row.settled = had.then_some(GENERATION);
    row
}

#[test]
fn the_power_is_made_as_wanted_until_it_once_was() {
    use PowerState::{Paused, Running, Shutdown};
    let cases = [
        (Power::On, Shutdown, false, Some(Effect::Start)),
        (Power::On, Paused, false, Some(Effect::Start)),
        (Power::On, Running, false, None),
        (Power::On, Shutdown, true, None),
        (Power::On, Paused, true, None),
        (Power::Off, Running, false, Some(Effect::Stop)),
        (Power::Off, Paused, false, Some(Effect::Stop)),
        (Power::Off, Shutdown, false, None),
    ];
    for (wanted, power, had, expected) in cases {
        let row = made(wanted, power, had);
        let effect = spawn(&row, row.want.as_ref().expect("there is one"));
        assert_eq!(effect, expected, "wanted {wanted:?}, is {power:?}, had been so: {had}");
    }
}

#[test]
fn the_token_of_a_want_is_forgotten_once_all_is_as_wanted() {
    let mut row = made(Power::On, PowerState::Running, false);
    let want = GuestWant { context: Bytes::from_static(b"a token"), ..want(Power::On) };
    row.want = Some(want.clone());
    let Change::Write(settled) = settle(&row, &want).change else { panic!("nothing is written") };
    assert_eq!(settled.want, Some(GuestWant { context: Bytes::new(), ..want }));
}

/// A guest that waits for its ports.
fn without_ports() -> GuestRow {
    let mut row = made(Power::On, PowerState::Absent, false);
    let nic = NicRequest { index: 0, network: None, port: None, fixed_ip: None };
    row.want = Some(GuestWant { nics: vec![nic], ..want(Power::On) });
    row
}

fn effects(row: &GuestRow) -> Vec<Effect> {
    next(row, row.want.as_ref().expect("there is one")).1
}

#[test]
fn a_seal_that_was_refused_is_asked_for_anew() {
    let now = UnixMicros::default();
    let mut row = without_ports();
    assert_eq!(effects(&row), [Effect::Allocate]);
    learn(&mut row, Learned::Unsealed(seal("first")), now);
    assert_eq!(effects(&row), [Effect::Allocate, Effect::FetchWant]);
    let renewed = GuestWant { seal: seal("second"), ..row.want.clone().expect("there is one") };
    learn(&mut row, Learned::Want(Box::new(renewed.clone())), now);
    assert_eq!(row.want, Some(renewed));
    assert_eq!(effects(&row), [Effect::Allocate]);
}

#[test]
fn an_older_want_renews_no_seal() {
    let mut row = without_ports();
    let before = row.clone();
    let older = GuestWant { generation: GENERATION - 1, seal: seal("old"), ..want(Power::On) };
    learn(&mut row, Learned::Want(Box::new(older)), UnixMicros::default());
    assert_eq!(row, before);
}

fn port(number: u8) -> PortInfo {
    PortInfo {
        port: Uuid::from_u128(number.into()),
        network: Uuid::nil(),
        network_name: "net".to_owned(),
        mac_address: format!("fa:16:3e:00:00:{number:02x}"),
        fixed_ips: Vec::new(),
        mtu: 1_450,
        device: Some(format!("tap{number}")),
        up: true,
    }
}

/// A guest that runs, with the interfaces of these ports, of which it still has those.
fn plugged(has: &[u8], ports: &[u8]) -> GuestRow {
    let mut row = made(Power::On, PowerState::Running, false);
    let nic = |index: usize| NicRequest {
        index: u32::try_from(index).unwrap_or_default(),
        network: None,
        port: None,
        fixed_ip: None,
    };
    let nics = (0..ports.len()).map(nic).collect();
    row.want = Some(GuestWant { nics, ..want(Power::On) });
    row.ports = Some(ports.iter().map(|number| port(*number)).collect());
    let macs = has.iter().map(|number| port(*number).mac_address).collect();
    row.guest = row.guest.take().map(|guest| GuestReport { mac_addresses: macs, ..guest });
    row
}

#[test]
fn a_guest_has_the_interfaces_of_its_ports() {
    let detach = |number| Effect::DetachInterface(port(number).mac_address);
    let cases = [
        (plugged(&[1, 2], &[1, 2]), vec![]),
        (plugged(&[1, 2], &[2]), vec![detach(1)]),
        (plugged(&[1], &[]), vec![detach(1)]),
        (plugged(&[1], &[2]), vec![detach(1)]),
        (plugged(&[], &[2]), vec![Effect::AttachInterface(port(2))]),
    ];
    for (row, expected) in cases {
        assert_eq!(effects(&row), expected, "{:?} with {:?}", row.guest, row.ports);
    }
}

#[test]
fn the_network_is_asked_anew_once_other_interfaces_are_wanted() {
    let mut row = plugged(&[1, 2], &[1, 2]);
    let want = row.want.clone().expect("there is one");
    let same = GuestWant { generation: GENERATION + 1, ..want.clone() };
    learn(&mut row, Learned::Want(Box::new(same)), UnixMicros::default());
    assert_eq!(effects(&row), []);
    let nics = want.nics[1..].to_vec();
    let fewer = GuestWant { generation: GENERATION + 2, nics, ..want };
    learn(&mut row, Learned::Want(Box::new(fewer)), UnixMicros::default());
    assert_eq!(effects(&row), [Effect::Allocate]);
    learn(&mut row, Learned::Ports(vec![port(2)]), UnixMicros::default());
    assert_eq!(effects(&row), [Effect::DetachInterface(port(1).mac_address)]);
}

#[test]
fn a_volume_that_goes_is_unplugged_though_it_is_not_seen_until_the_hypervisor_refuses_what_is_older()
 {
    let volume = VolumeWant {
        volume: Uuid::from_u128(1),
        attachment: Uuid::from_u128(2),
        boot: false,
        goal: Goal::Absent,
    };
    let mut row = made(Power::Off, PowerState::Shutdown, false);
    row.want = Some(GuestWant { volumes: vec![volume.clone()], ..want(Power::Off) });
    row.guest.as_mut().expect("there is one").guest.generation = GENERATION - 1;
    assert_eq!(effects(&row), [Effect::DetachDisk(volume)], "it may be about to be plugged");
    row.guest.as_mut().expect("there is one").guest.generation = GENERATION;
    assert_eq!(effects(&row), []);
}
