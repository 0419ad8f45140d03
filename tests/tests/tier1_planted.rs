//! The sweep can fail: clouds with a planted error are found out, and so is a fault that did not happen.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{panic::AssertUnwindSafe, time::Duration};

use updraft_compute::{
    rows::{Claim, HostRow, UsageRow},
    simulated::{NoFaults, SimulatedHypervisor},
};
use updraft_protocol::hypervisor::{Boot, GuestRef, GuestSpec, Op};
use updraft_runtime::{
    Env,
    store::{Record, Txn},
};
use updraft_tests::{
    cloud::{Menu, SimCloud},
    points::{Happened, Points, Wrong},
    same,
    sweep::{self, Told},
};
use updraft_transport::NodeId;
use uuid::Uuid;

const SEED: u64 = 9;

/// What the sweep says of a cloud.
fn said_of(menu: fn(Menu) -> Menu, meanwhile: fn(&mut SimCloud)) -> String {
    let life = || {
        let points = Points::new(None);
        sweep::live(SEED, &points, &menu(points.menu()), meanwhile)
    };
    let lived = std::panic::catch_unwind(AssertUnwindSafe(|| same::seeded(SEED, life)));
    let said = lived.err().and_then(|panic| panic.downcast_ref::<String>().cloned());
    said.unwrap_or_else(|| "nothing".to_owned())
}

fn finds(menu: fn(Menu) -> Menu, meanwhile: fn(&mut SimCloud), words: &str) {
    let said = said_of(menu, meanwhile);
    assert!(said.contains(words), "the sweep says: {said}");
}

fn honest(menu: Menu) -> Menu {
    menu
}

/// The host that has a guest, and the guest.
fn guest(cloud: &SimCloud) -> (NodeId, Uuid) {
    let on = |host: &NodeId| Some((host.clone(), cloud.machine(host)?.guests.guests().pop()?));
    let (host, report) = cloud.hosts().iter().find_map(on).unwrap();
    (host, report.guest.guest)
}

/// A second guest of the server, on a host that nobody asked.
fn start_a_second_guest(cloud: &mut SimCloud) {
    let (host, guest) = guest(cloud);
    let other = cloud.hosts().iter().find(|other| **other != host).unwrap().clone();
    let machine = cloud.machine(&other).unwrap().guests;
    let spec = GuestSpec {
        guest: GuestRef { guest, generation: 1 },
        name: "twin".to_owned(),
        title: "twin".to_owned(),
        vcpus: 1,
        memory_mib: 1,
        boot: Boot::Disk,
        disks: Vec::new(),
        interfaces: Vec::new(),
        console_log: "/simulated/console".into(),
    };
    let define = async move {
        use updraft_compute::hypervisor::Hypervisor;
        let faults = std::sync::Arc::new(NoFaults);
        let hypervisor = SimulatedHypervisor::new(Env::real(), machine, faults);
        hypervisor.perform(Op::Define(Box::new(spec)), Duration::from_secs(1)).await
    };
    cloud.world.on(&other, Duration::from_secs(1), define).unwrap().unwrap();
}

fn change<R: Record>(cloud: &mut SimCloud, change: fn(&mut R)) {
    let database = cloud.database().unwrap();
    let node = cloud.controls()[0].clone();
    let tamper = async move {
        let tamper = |txn: &mut Txn| {
            let mut row: R = txn.scan(None, 1)?.pop().unwrap();
            change(&mut row);
            txn.put(&row)
        };
        database.transact(tamper).await
    };
    cloud.world.on(&node, Duration::from_secs(1), tamper).unwrap().unwrap();
}

fn leak_a_claim(cloud: &mut SimCloud) {
    change(cloud, |host: &mut HostRow| {
        host.claims.insert(Uuid::from_u128(7), Claim::default());
    });
}

fn miscount(cloud: &mut SimCloud) {
    change(cloud, |usage: &mut UsageRow| usage.cores += 1);
}

#[test]
fn an_honest_cloud_is_not_complained_of() {
    assert_eq!(said_of(honest, |_| ()), "nothing");
}

#[test]
fn a_hypervisor_that_keeps_what_it_says_it_removed_is_found_out() {
    finds(Menu::keeping_guests, |_| (), "has a guest of server");
}

#[test]
fn a_second_guest_is_found_out_though_it_is_gone_before_anything_rests() {
    let briefly = |cloud: &mut SimCloud| {
        start_a_second_guest(cloud);
        let (_, guest) = guest(cloud);
        cloud.world.run_for(Duration::from_millis(5));
        forget(cloud, guest);
    };
    finds(honest, briefly, "has guests on compute-");
}

/// Removes the planted guest.
fn forget(cloud: &mut SimCloud, guest: Uuid) {
    let planted = |host: &&NodeId| {
        let guests = cloud.machine(host).unwrap().guests.guests();
        guests.iter().any(|report| report.guest == GuestRef { guest, generation: 1 })
    };
    let host = cloud.hosts().iter().find(planted).unwrap().clone();
    let machine = cloud.machine(&host).unwrap().guests;
    let remove = async move {
        use updraft_compute::hypervisor::Hypervisor;
        let faults = std::sync::Arc::new(NoFaults);
        let hypervisor = SimulatedHypervisor::new(Env::real(), machine, faults);
        let op = Op::Remove(GuestRef { guest, generation: 1 });
        hypervisor.perform(op, Duration::from_secs(1)).await
    };
    cloud.world.on(&host, Duration::from_secs(1), remove).unwrap().unwrap();
}

#[test]
fn a_leaked_claim_is_found_out() {
    finds(honest, leak_a_claim, "has a leaked claim of server");
}

#[test]
fn a_quota_that_is_off_by_one_is_found_out() {
    finds(honest, miscount, "is counted as");
}

#[test]
fn a_fault_that_did_not_happen_as_asked_is_found_out() {
    let point = "call volume.node/survey control-1>compute-1";
    let happened = |point: &str, wrong, crashed: Option<&str>| Told {
        happened: Some(Happened {
            point: point.to_owned(),
            wrong,
            crashed: crashed.map(str::to_owned),
        }),
        carried: vec!["Drop".to_owned()],
        ..Told::default()
    };
    let lost = happened(point, Wrong::Lost, None);
    assert_eq!(lost.judge(point, Wrong::Lost), Ok(()));
    let crashed = happened(point, Wrong::SenderCrashes, Some("control-1"));
    assert_eq!(crashed.judge(point, Wrong::SenderCrashes), Ok(()));
    let told = [
        (Told::default(), Wrong::Lost, "nothing went wrong"),
        (lost.clone(), Wrong::Doubled, "something else"),
        (happened("commit control-1 a/b", Wrong::Lost, None), Wrong::Lost, "something else"),
        (Told { carried: Vec::new(), ..lost }, Wrong::Lost, "did no Drop"),
        (happened(point, Wrong::SenderCrashes, None), Wrong::SenderCrashes, "None crashed"),
        (crashed, Wrong::ReceiverCrashes, "something else"),
    ];
    for (told, wrong, words) in told {
        let judged = told.judge(point, wrong).unwrap_err();
        assert!(judged.contains(words), "{judged}");
    }
}
