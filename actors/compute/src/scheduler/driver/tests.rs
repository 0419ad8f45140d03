//! What each kind of driver chooses, and that filters and weighers of one's own count.

use std::collections::BTreeSet;

use rand::{SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::*;
use crate::{
    fixture::{flavor, host, server},
    rows::Claim,
    scheduler::Ratios,
};

/// Seeds tried where something is left to chance.
const SEEDS: std::ops::Range<u64> = 0..64;

fn request(zone: Option<&str>) -> Request {
    let server = crate::rows::ServerRow { availability_zone: zone.map(str::to_owned), ..server() };
    Request { server, policy: None, group_hosts: BTreeSet::new(), left_on: BTreeSet::new() }
}

/// A host in a zone, of which so many processors and so much memory are claimed.
fn claimed(name: &str, zone: &str, vcpus: u64, ram_mib: u64) -> HostState {
    let mut row = host(name);
    row.zone = zone.to_owned();
    row.claims.insert(Uuid::from_u128(9), Claim { vcpus, ram_mib, disk_gib: 0 });
    HostState::new(row, true, Ratios::default(), &server())
}

/// One host has fewest processors claimed, another most memory free; a third is in another zone.
fn hosts() -> Vec<HostState> {
    vec![
        claimed("processors", "nova", 1, 60_000),
        claimed("memory", "nova", 2, 0),
        claimed("north", "north", 8, 30_000),
        claimed("full", "nova", 64, 0),
    ]
}

/// The hosts that come first, over many seeds.
fn firsts(driver: &Driver, request: &Request) -> BTreeSet<String> {
    let first = |seed| {
        let (ranked, _) = driver.rank(hosts(), request, &mut StdRng::seed_from_u64(seed));
        ranked.first().map(|host| host.row.name.clone())
    };
    SEEDS.filter_map(first).collect()
}

fn firsts_of(kind: DriverKind, zone: Option<&str>) -> Vec<String> {
    firsts(&Driver::new(kind), &request(zone)).into_iter().collect()
}

#[test]
fn filters_chooses_by_weights() {
    assert_eq!(firsts_of(DriverKind::Filters, None), ["memory"]);
}

#[test]
fn simple_chooses_the_host_with_fewest_processors_claimed() {
    assert_eq!(firsts_of(DriverKind::Simple, None), ["processors"]);
}

#[test]
fn chance_chooses_any_host_that_has_room() {
    assert_eq!(firsts_of(DriverKind::Chance, None), ["memory", "north", "processors"]);
}

#[test]
fn zone_chooses_any_host_of_the_default_zone_that_has_room() {
    assert_eq!(firsts_of(DriverKind::Zone, None), ["memory", "processors"]);
    let (_, refusals) =
        Driver::new(DriverKind::Zone).rank(hosts(), &request(None), &mut StdRng::seed_from_u64(1));
    assert_eq!(
        refusals[0].to_string(),
        "north: ZoneFilter: no zone was asked for, which means nova, the host is in north"
    );
}

#[test]
fn every_kind_keeps_to_the_zone_asked_for() {
    for kind in [DriverKind::Filters, DriverKind::Simple, DriverKind::Chance, DriverKind::Zone] {
        assert_eq!(firsts_of(kind, Some("north")), ["north"], "{kind:?}");
    }
}

struct NotMemory;

impl Filter for NotMemory {
    fn name(&self) -> &'static str {
        "NotMemory"
    }
    fn check(&self, host: &HostState, _request: &Request) -> Result<(), String> {
        if host.row.name == "memory" { Err("it is that one".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn a_filter_of_ones_own_refuses_hosts() {
    let driver = Driver::default().with_filter(NotMemory);
    assert!(!firsts(&driver, &request(None)).contains("memory"));
    let refusal = driver.refusal(&claimed("memory", "nova", 0, 0), &request(None)).unwrap();
    assert_eq!(refusal.to_string(), "memory: NotMemory: it is that one");
}

struct North;

impl Weigher for North {
    fn multiplier(&self) -> f64 {
        10.0
    }
    fn weigh(&self, host: &HostState, _request: &Request) -> f64 {
        f64::from(u8::from(host.row.zone == "north"))
    }
}

#[test]
fn a_weigher_of_ones_own_prefers_hosts() {
    let driver = Driver::default().with_weigher(North);
    assert_eq!(firsts(&driver, &request(None)).into_iter().collect::<Vec<_>>(), ["north"]);
}

#[test]
fn a_server_fits_where_exactly_so_much_is_free() {
    let needed = Claim::of(&flavor());
    let free = |ram_mib| claimed("one", "nova", 64 - needed.vcpus, 65_536 - ram_mib);
    let driver = Driver::default();
    assert!(driver.refusal(&free(needed.ram_mib), &request(None)).is_none());
    assert!(driver.refusal(&free(needed.ram_mib - 1), &request(None)).is_some());
}
