//! A build that fails on a host goes on at one of the hosts that were next best when it was placed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::json;
use updraft_compute::rows::{HostRow, ServerRow};
use updraft_harness::{
    fault::DriverTrouble,
    world::{Tier, Verdict},
};
use updraft_runtime::store::StoreError;
use updraft_tests::{
    cloud::{Client, Fault, Menu, Point, SimCloud, Size},
    flow,
};

/// Disk of a simulated host, in GiB.
const HOST_DISK_GIB: u64 = 1_000;

/// The first so many hosts that are to define a guest always fail to; the others never do.
fn fail_on_the_first(hosts: usize) -> Menu {
    let failing: Mutex<BTreeSet<String>> = Mutex::default();
    Menu::new(move |point| {
        let Point::Driver { host, name } = point else { return None };
        let mut failing = failing.lock();
        if name == "hypervisor/Define" && failing.len() < hosts {
            failing.insert(host.clone());
        }
        (name == "hypervisor/Define" && failing.contains(host))
            .then_some(Fault::Driver(DriverTrouble::Fails))
    })
}

/// Counts how often a scheduler is asked from now on.
fn count_asked(cloud: &SimCloud) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    cloud.world.network().intercept(move |_, _, frame| {
        if frame.header.method.starts_with("compute.scheduler/") {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Verdict::Pass
    });
    asked
}

#[test]
fn a_failed_build_goes_on_at_an_alternate_and_no_scheduler_is_asked_again() {
    let mut cloud = SimCloud::start(1, Tier::Memory, Size::default(), &fail_on_the_first(2));
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let asked = count_asked(&cloud);
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    let built = client.wait_for(&mut cloud, &server, Some("ACTIVE"));
    assert!(built, "{:#?}", client.show(&mut cloud, &server));
    let row = cloud.compute_rows::<ServerRow>().pop().unwrap();
    assert_eq!((row.tried.len(), row.alternates), (2, Vec::new()));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_scheduler_is_asked_again_when_no_alternate_has_room() {
    let mut cloud = SimCloud::start(2, Tier::Memory, Size::default(), &fail_on_the_first(1));
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let asked = count_asked(&cloud);
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    let placed = |cloud: &mut SimCloud| {
        cloud.compute_rows::<ServerRow>().pop().is_some_and(|row| !row.alternates.is_empty())
    };
    while !placed(&mut cloud) {
        cloud.world.run_for(Duration::from_millis(1));
    }
    disable_every_host(&mut cloud, "full");
    assert!(client.wait_for(&mut cloud, &server, Some("ERROR")));
    let row = cloud.compute_rows::<ServerRow>().pop().unwrap();
    assert_eq!(row.tried.len(), 1, "{row:?}");
    assert!(asked.load(Ordering::Relaxed) > 1);
    let fault = client.show(&mut cloud, &server).unwrap()["fault"]["message"].clone();
    assert!(fault.as_str().unwrap().contains("the host is disabled: full"), "{fault}");
}

fn disable_every_host(cloud: &mut SimCloud, why: &'static str) {
    let database = cloud.database().unwrap().scoped("compute/");
    let node = cloud.controls()[0].clone();
    let write = async move {
        let write = database.transact(|txn| {
            for mut row in txn.scan::<HostRow>(None, 1_000)? {
                row.disabled = Some(why.to_owned());
                txn.put(&row)?;
            }
            Ok::<_, StoreError>(())
        });
        write.await.unwrap();
    };
    cloud.world.on(&node, Duration::from_secs(1), write).unwrap();
}

/// Each of three hosts has room for one of two servers, and only the last host can make them: both want it.
#[test]
fn two_servers_with_the_same_alternate_never_claim_more_than_it_has() {
    let mut cloud = SimCloud::start(3, Tier::Memory, Size::default(), &fail_on_the_first(2));
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let large = json!({"flavor": {
        "name": "large", "ram": 64, "vcpus": 1, "disk": HOST_DISK_GIB / 2 + 1, "id": "large"}});
    client.must(&mut cloud, "POST", "/compute/v2.1/flavors", large);
    let servers =
        [(); 2].map(|()| client.server(&mut cloud, &have.image, "large", Some(&have.network)));
    let end = cloud.world.now() + Duration::from_secs(60);
    while cloud.world.now() < end {
        cloud.world.run_for(Duration::from_millis(5));
        for host in cloud.compute_rows::<HostRow>() {
            let claimed = host.used(None).disk_gib;
            assert!(claimed <= HOST_DISK_GIB, "{} has {claimed} GiB claimed", host.name);
        }
    }
    let states = servers.map(|server| client.show(&mut cloud, &server).unwrap()["status"].clone());
    let active = states.iter().filter(|state| *state == "ACTIVE").count();
    assert_eq!(active, 1, "{states:?}");
}
