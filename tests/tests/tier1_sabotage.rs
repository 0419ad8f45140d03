//! Each invariant can fail: it is fed an honest world that was tampered with, and must say what is wrong with it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use updraft_harness::world::Tier;
use updraft_protocol::network::{FloatingAddress, Leg, Outlet, Routing};
use updraft_tests::{
    census::{self, Census, Claim, Object, Reservation, Server},
    cloud::{Client, Menu, SimCloud, Size},
    invariants, life,
};
use uuid::Uuid;

const SEED: u64 = 6;

const NOBODY: Uuid = Uuid::from_u128(7);

/// A world that breaks an invariant: the invariant, what is done to an honest world, and what is then said.
type Sabotage = (&'static str, fn(&mut Census), &'static str);

const SABOTAGES: [Sabotage; 66] = [
    ("a server has at most one guest", second_guest, "has guests on compute-1, compute-"),
    ("a volume is in at most one guest", volume_in_two_guests, "is in guests"),
    ("a volume belongs to at most one server", volume_of_two_servers, "is given to servers"),
    ("a placement has its claim, and a claim its placement", leaked_claim, "leaked claim"),
    ("a placement has its claim, and a claim its placement", lost_claim, "without a claim"),
    ("a placement has its claim, and a claim its placement", small_claim, "vcpus: 0"),
    ("a host has what is claimed of it", |w| host(w).report.memory_mib = 1, "are claimed of host"),
    ("a project uses what its servers take", quota_off_by_one, "instances: 2"),
    ("a project uses what its servers take", quota_forgotten, "is counted as None"),
    ("an address is given once", address_given_twice, "is given to ports"),
    ("an address is given once", address_leased_twice, "is leased to"),
    ("a MAC address is given once", mac_given_twice, "is given to ports"),
    ("an interface has at most one port", port_made_twice, "interface 0 of server"),
    ("a port that is up has its lease", |w| here(w).leases.clear(), "does not lease"),
    ("a volume that a guest has is its server's", volume_let_go, "which is not its server's"),
    ("a volume that a guest has is its server's", volume_passed_on, "which is not its server's"),
    ("a volume is served to its attachment alone", served_twice, "and by another host"),
    ("a volume is served to its attachment alone", served_to_nobody, "which does not have it"),
    ("a guest's remote disk is served to it", served_no_longer, "it is served as None"),
    ("a guest's remote disk is served to it", served_elsewhere, "it is served as Some"),
    ("an image that is active has its bytes", |w| w.objects.clear(), "is active without"),
    ("what is copied from is there", copy_without_source, "which is gone"),
    (
        "a server rests in a state that is told",
        |w| server(w).state = "building".into(),
        "being built",
    ),
    (
        "a server rests in a state that is told",
        |w| server(w).state = "error".into(),
        "without a reason",
    ),
    (
        "a server rests in a state that is told",
        |w| server(w).goal = "Absent".into(),
        "to be deleted",
    ),
    ("a server rests in a state that is told", still_at_work, "is active and"),
    (
        "a guest is where its server is, and does what it should",
        guest_of_nobody,
        "which is not there",
    ),
    ("a guest is where its server is, and does what it should", no_guest, "has no guest"),
    ("a guest is where its server is, and does what it should", guest_stopped, "does not run"),
    ("a guest is where its server is, and does what it should", guest_runs_on, "its guest runs"),
    ("a host has files of its own servers only", files_of_nobody, "has files of server"),
    ("a host remembers its own servers only", row_of_nobody, "has a row of server"),
    ("a server has its ports, and a port its server", leaked_port, "leaked"),
    (
        "a server has its ports, and a port its server",
        lost_port,
        "asked for 1 interfaces and has 0",
    ),
    (
        "a server has its ports, and a port its server",
        |w| port(w).status = "DOWN".into(),
        "is DOWN on",
    ),
    (
        "a server has its ports, and a port its server",
        |w| port(w).goal = "Absent".into(),
        "to be deleted",
    ),
    ("a server has its ports, and a port its server", |w| w.networks.clear(), "which is gone"),
    ("an address that is taken has its port", leaked_address, "leaked"),
    ("an address that is taken has its port", |w| w.allocations.clear(), "which nobody gave it"),
    ("a tap has its port, and a server's port its tap", leaked_tap, "has a tap of port"),
    ("a tap has its port, and a server's port its tap", lost_tap, "has no tap on"),
    ("a tap has its port, and a server's port its tap", other_mac, "not plugged into its guest"),
    ("DHCP serves the ports that are there", leaked_lease, "which no port has"),
    ("a host filters for the groups of its ports", leaked_rules, "leaked rules"),
    ("a host filters for the groups of its ports", |w| here(w).filters.clear(), "lacks the rules"),
    (
        "ports of one network that are up reach each other",
        |w| here(w).tunnels.clear(),
        "has no tunnel",
    ),
    ("ports of one network that are up reach each other", port_cut_off, "does not reach"),
    ("a tunnel leads to the ports that are there", leaked_tunnel, "leaked the tunnel"),
    ("a tunnel leads to the ports that are there", port_remembered, "in vain"),
    ("a router is on at most one host", router_twice, "is on compute-"),
    ("an address outside is answered for once", answered_twice, "is answered for by"),
    (AS_ROWS, router_of_nobody, "has leaked router"),
    (AS_ROWS, |w| router(w).goal = "Absent".into(), "to be deleted"),
    (AS_ROWS, |w| router(w).host = None, "has leaked router"),
    (AS_ROWS, led_by_nobody, "where no row says"),
    (AS_ROWS, |w| here(w).routers.clear(), "does not lead to"),
    ("an attachment is known to both sides", leaked_attachment, "leaked"),
    ("an attachment is known to both sides", volume_let_go, "which is not its"),
    ("an attachment is known to both sides", unplugged_volume, "the guest of"),
    ("no volume is kept for nobody", kept_volume, "is kept for attachment"),
    ("a file has its volume, and a volume its file", leaked_file, "has a file of"),
    ("a file has its volume, and a volume its file", lost_file, "has no file"),
    ("a host makes files of volumes that are there", file_wanted_by_nobody, "wants a file of"),
    ("a file has its volume, and a volume its file", unmade_file, "is still being made"),
    ("image bytes have their image, and an image its bytes", leaked_bytes, "no image has it"),
    ("image bytes have their image, and an image its bytes", |w| w.objects.clear(), "should have"),
];

const AS_ROWS: &str = "a router is where its row says, and leads where floating IPs say";

/// A router with a floating IP on the server's host; an honest world has none, since its users need none.
fn with_router(world: &mut Census) {
    let host = server(world).host().map(str::to_owned);
    let row = census::Router { goal: "Present".into(), admin_state_up: true, host };
    world.routers.insert(NOBODY, row);
    let (address, fixed) = ([203, 0, 113, 50], [10, 1, 0, 11]);
    let floating = census::Floating {
        address: IpAddr::from(address),
        fixed: Some(IpAddr::from(fixed)),
        router: Some(NOBODY),
    };
    world.floating.insert(NOBODY, floating);
    let leg = Leg {
        port: NOBODY,
        network: NOBODY,
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        addresses: vec!["203.0.113.5/24".parse().unwrap()],
        mtu: 1_500,
    };
    let outlet = Outlet { leg, physical_network: None, hops: Vec::new(), snat: true };
    let floating = FloatingAddress { port: NOBODY, address: address.into(), fixed: fixed.into() };
    let (legs, routes) = (Vec::new(), Vec::new());
    let routing = Routing { legs, outlet: Some(outlet), routes, floating: vec![floating] };
    here(world).routers.insert(NOBODY, routing);
}

fn router(world: &mut Census) -> &mut census::Router {
    world.routers.get_mut(&NOBODY).unwrap()
}

fn router_twice(world: &mut Census) {
    let routers = here(world).routers.clone();
    elsewhere(world).routers = routers;
}

fn answered_twice(world: &mut Census) {
    let routing = here(world).routers[&NOBODY].clone();
    here(world).routers.insert(Uuid::from_u128(8), routing);
}

fn router_of_nobody(world: &mut Census) {
    world.routers.clear();
}

fn led_by_nobody(world: &mut Census) {
    world.floating.clear();
}

/// The exports of the machine that serves the server's volume.
fn exports(world: &mut Census) -> &mut BTreeMap<Uuid, (Uuid, String)> {
    &mut world.machines.values_mut().find(|machine| !machine.exports.is_empty()).unwrap().exports
}

fn served_twice(world: &mut Census) {
    let exports = exports(world).clone();
    here(world).exports = exports;
}

fn served_to_nobody(world: &mut Census) {
    let id = *exports(world).keys().next().unwrap();
    world.volumes.get_mut(&id).unwrap().attachment = None;
}

fn served_no_longer(world: &mut Census) {
    exports(world).clear();
}

fn served_elsewhere(world: &mut Census) {
    exports(world).values_mut().next().unwrap().1 = "compute-99".to_owned();
}

fn server(world: &mut Census) -> &mut Server {
    world.servers.values_mut().next().unwrap()
}

fn server_id(world: &Census) -> Uuid {
    *world.servers.keys().next().unwrap()
}

/// The machine of the server's host.
fn here(world: &mut Census) -> &mut census::Found {
    let host = world.servers.values().next().unwrap().host().unwrap().to_owned();
    world.machines.get_mut(&host).unwrap()
}

/// Another machine.
fn elsewhere(world: &mut Census) -> &mut census::Found {
    let host = world.servers.values().next().unwrap().host().unwrap().to_owned();
    world.machines.iter_mut().find(|(name, _)| **name != host).unwrap().1
}

fn host(world: &mut Census) -> &mut census::Host {
    let host = world.servers.values().next().unwrap().host().unwrap().to_owned();
    world.hosts.get_mut(&host).unwrap()
}

fn port(world: &mut Census) -> &mut census::Port {
    world.ports.values_mut().find(|port| port.nic.is_some()).unwrap()
}

fn port_id(world: &Census) -> Uuid {
    *world.ports.iter().find(|(_, port)| port.nic.is_some()).unwrap().0
}

/// The server's volume.
fn volume(world: &mut Census) -> &mut census::Volume {
    world.volumes.values_mut().find(|volume| volume.attachment.is_some()).unwrap()
}

fn volume_id(world: &Census) -> Uuid {
    *world.volumes.iter().find(|(_, volume)| volume.attachment.is_some()).unwrap().0
}

fn guest(world: &mut Census) -> &mut census::Guest {
    here(world).guests.values_mut().next().unwrap()
}

fn second_guest(world: &mut Census) {
    let (id, guest) = (server_id(world), guest(world).clone());
    elsewhere(world).guests.insert(id, guest);
}

fn volume_in_two_guests(world: &mut Census) {
    let guest = guest(world).clone();
    elsewhere(world).guests.insert(NOBODY, guest);
}

fn volume_of_two_servers(world: &mut Census) {
    let twin = server(world).clone();
    world.servers.insert(NOBODY, twin);
}

fn leaked_claim(world: &mut Census) {
    host(world).claims.insert(NOBODY, Claim { vcpus: 1, ram_mib: 1, disk_gib: 1 });
}

fn lost_claim(world: &mut Census) {
    host(world).claims.clear();
}

fn small_claim(world: &mut Census) {
    host(world).claims.values_mut().for_each(|claim| claim.vcpus = 0);
}

fn quota_off_by_one(world: &mut Census) {
    world.usages[0].instances += 1;
}

fn quota_forgotten(world: &mut Census) {
    world.usages.clear();
}

fn address_given_twice(world: &mut Census) {
    let twin = port(world).clone();
    world.ports.insert(NOBODY, twin);
}

fn address_leased_twice(world: &mut Census) {
    let (network, _, address) = here(world).leases.first().unwrap().clone();
    elsewhere(world).leases.insert((network, "another".into(), address));
}

fn mac_given_twice(world: &mut Census) {
    let mut twin = port(world).clone();
    twin.fixed_ips.clear();
    world.ports.insert(NOBODY, twin);
}

fn port_made_twice(world: &mut Census) {
    let mut twin = port(world).clone();
    twin.mac_address = "another".into();
    world.ports.insert(NOBODY, twin);
}

fn still_at_work(world: &mut Census) {
    server(world).action = Some("reboot".into());
}

fn guest_of_nobody(world: &mut Census) {
    let guest = guest(world).clone();
    here(world).guests.insert(NOBODY, guest);
}

fn no_guest(world: &mut Census) {
    here(world).guests.clear();
}

fn guest_stopped(world: &mut Census) {
    guest(world).running = false;
}

fn guest_runs_on(world: &mut Census) {
    server(world).state = "stopped".into();
}

fn files_of_nobody(world: &mut Census) {
    here(world).disks.insert(NOBODY);
}

fn row_of_nobody(world: &mut Census) {
    elsewhere(world).remembered.insert(NOBODY);
}

fn leaked_port(world: &mut Census) {
    port(world).nic.as_mut().unwrap().server = NOBODY;
}

fn lost_port(world: &mut Census) {
    world.ports.clear();
}

fn leaked_address(world: &mut Census) {
    let mut another = world.allocations[0].clone();
    another.port = NOBODY;
    world.allocations.push(another);
}

fn leaked_tap(world: &mut Census) {
    let port = port_id(world);
    elsewhere(world).taps.insert(port);
}

fn lost_tap(world: &mut Census) {
    here(world).taps.clear();
}

fn other_mac(world: &mut Census) {
    guest(world).macs = BTreeSet::from(["another".to_owned()]);
}

fn leaked_lease(world: &mut Census) {
    let (network, _, address) = here(world).leases.first().unwrap().clone();
    here(world).leases = BTreeSet::from([(network, "another".to_owned(), address)]);
}

fn leaked_rules(world: &mut Census) {
    elsewhere(world).filters.insert(NOBODY);
}

fn leaked_tunnel(world: &mut Census) {
    let (network, tunnel) = here(world).tunnels.first_key_value().unwrap();
    let (network, tunnel) = (*network, tunnel.clone());
    elsewhere(world).tunnels.insert(network, tunnel);
}

/// Another port of the network is on another host, of which nobody is told.
fn port_cut_off(world: &mut Census) {
    leaked_tunnel(world);
    let own = server(world).placement.as_ref().unwrap().host.clone();
    let there = world.machines.keys().find(|name| **name != own).cloned();
    elsewhere(world).tunnels.values_mut().for_each(|tunnel| tunnel.local = [192, 0, 2, 9].into());
    let mut twin = port(world).clone();
    (twin.mac_address, twin.host) = ("another".into(), there);
    world.ports.insert(NOBODY, twin);
}

fn port_remembered(world: &mut Census) {
    let peers = &mut here(world).tunnels.values_mut().next().unwrap().peers;
    peers.insert([192, 0, 2, 9].into(), BTreeSet::from(["another".to_owned()]));
}

fn leaked_attachment(world: &mut Census) {
    server(world).volumes.clear();
    guest(world).serials.clear();
}

fn volume_let_go(world: &mut Census) {
    volume(world).attachment = None;
}

fn volume_passed_on(world: &mut Census) {
    volume(world).attachment.as_mut().unwrap().server = NOBODY;
}

fn copy_without_source(world: &mut Census) {
    let file = &mut volume(world).file;
    (file.served, file.source) = (0, serde_json::json!({"File": NOBODY}));
}

fn unplugged_volume(world: &mut Census) {
    guest(world).serials.clear();
}

fn kept_volume(world: &mut Census) {
    let volume = volume_id(world);
    world.reservations.push(Reservation { attachment: NOBODY, volume });
}

fn leaked_file(world: &mut Census) {
    elsewhere(world).files.insert(NOBODY);
}

fn file_wanted_by_nobody(world: &mut Census) {
    elsewhere(world).to_be_made.insert(NOBODY);
}

fn lost_file(world: &mut Census) {
    here(world).files.clear();
}

fn unmade_file(world: &mut Census) {
    volume(world).file.served = 0;
}

fn leaked_bytes(world: &mut Census) {
    world.objects.push(Object { path: format!("images/{NOBODY}/{NOBODY}"), size_bytes: 1 });
}

/// A cloud with an image, a network, and a server with a port and a volume.
fn honest() -> SimCloud {
    let mut cloud = SimCloud::start(SEED, Tier::Memory, Size::default(), &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = life::prepare(&mut cloud, &client);
    let lived = life::begin(&mut cloud, &client, &have);
    assert_eq!(lived.attached, "in-use", "{lived:?}");
    life::rest(&mut cloud);
    cloud
}

#[test]
fn each_invariant_is_told_of_when_it_is_broken_and_by_its_own_words() {
    let cloud = honest();
    let mut honest = census::take(&cloud);
    with_router(&mut honest);
    assert_eq!(invariants::broken(&honest, true), []);
    let mut untried: BTreeMap<&str, _> = invariants::ALL.iter().map(|i| (i.name, i)).collect();
    for (name, sabotage, words) in SABOTAGES {
        let invariant = invariants::ALL.iter().find(|invariant| invariant.name == name);
        let mut world = honest.clone();
        sabotage(&mut world);
        let said = invariant.unwrap().broken(&world);
        assert!(said.iter().any(|said| said.contains(words)), "{name}, {words}: {said:?}");
        untried.remove(name);
    }
    assert!(untried.is_empty(), "nothing breaks {:?}", untried.keys());
}
