//! The driver against a real libvirtd and real guests.
//!
//! Each test has a libvirtd of its own in a network namespace of its own, boots the small guest of
//! `scripts/guest-image.sh`, and believes only what the guest itself says on its console. One at a
//! time: a translated guest needs a processor to itself.
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "these are tests"
)]

mod child;
mod network;
mod remote;
mod world;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use child::Child;
use updraft_protocol::hypervisor::{
    Answer, Boot, Disk, DiskFormat, DriverError, GuestEvent, GuestRef, GuestSpec, Op, PowerState,
};
use uuid::Uuid;
use world::World;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A translated guest boots in three seconds; a machine under load takes ten.
const BOOT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(10);
const GUEST: Uuid = Uuid::from_u128(0x5eed_0000_0000_4000_8000_0000_0000_0001);

fn at(generation: u64) -> GuestRef {
    GuestRef { guest: GUEST, generation }
}

fn by_kernel(world: &World) -> Boot {
    Boot::Kernel {
        kernel: world.image("vmlinuz"),
        ramdisk: Some(world.image("initrd.gz")),
        command_line: "console=ttyS0 quiet".into(),
    }
}

fn spec(world: &World, generation: u64, boot: Boot) -> GuestSpec {
    GuestSpec {
        guest: at(generation),
        name: "instance-00000001".into(),
        title: "first & <only>".into(),
        vcpus: 1,
        memory_mib: 128,
        boot,
        disks: Vec::new(),
        interfaces: Vec::new(),
        console_log: world.instances().join(GUEST.to_string()).join("console.log"),
    }
}

fn volume(world: &World, serial: &str) -> Disk {
    let path = world.folder().join(format!("{serial}.qcow2"));
    world.run("qemu-img", &["create", "-q", "-f", "qcow2", path.to_str().unwrap(), "32M"]);
    let (format, remote) = (DiskFormat::Qcow2, None);
    Disk { serial: serial.into(), path, format, read_only: false, remote }
}

fn power(answer: &Result<Answer, DriverError>) -> PowerState {
    match answer {
        Ok(Answer::Guest(report)) => report.power,
        other => panic!("no report: {other:?}"),
    }
}

fn console(child: &mut Child) -> String {
    match child.ask(Op::ConsoleLog { guest: GUEST, bytes_max: 100_000 }) {
        Ok(Answer::Console(text)) => text,
        other => panic!("no console: {other:?}"),
    }
}

/// Waits until the guest has said this so many times.
fn until_said(child: &mut Child, words: &str, times: usize) -> String {
    let begun = Instant::now();
    loop {
        let text = console(child);
        if text.matches(words).count() >= times {
            return text;
        }
        let waited = begun.elapsed();
        assert!(waited < BOOT, "the guest did not say {words:?} {times} times, but:\n{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn boot(world: &World, child: &mut Child, generation: u64) {
    let defined = child.ask(Op::Define(Box::new(spec(world, generation, by_kernel(world)))));
    assert_eq!(power(&defined), PowerState::Shutdown);
    assert_eq!(power(&child.ask(Op::Start(at(generation)))), PowerState::Running);
}

#[test]
fn a_guest_lives_its_whole_life() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(world) = World::new("life") else { return };
    let nonce = Uuid::from_u128(std::process::id().into()).to_string();
    let network = network::Network::new(&world, &nonce);
    let mut child = world.driver("qemu");
    child.until_available();

    finds_its_network(&world, &mut child, &network, &nonce);
    sees_disks_come_and_go(&world, &mut child);
    sees_interfaces_go_and_come(&world, &mut child, &network, &nonce);
    restarts_and_stops(&world, &mut child);

    world.step("it is removed, twice, and nothing is left");
    for _ in 0..2 {
        assert_eq!(power(&child.ask(Op::Remove(at(10)))), PowerState::Absent);
    }
    assert!(matches!(child.ask(Op::Start(at(10))), Err(DriverError::NoGuest(GUEST))));
    assert_eq!(child.ask(Op::List), Ok(Answer::Guests(Vec::new())));
    assert_eq!(child.events(), [], "no answer was doubled by an event");
    assert!(!spec(&world, 1, Boot::Disk).console_log.exists());
    assert!(network.tap_is_there(), "the tap is another's, and stays");
    assert_eq!(world.emulators(), 0);
    child.end();
    drop(network);
    world.end();
}

fn finds_its_network(world: &World, child: &mut Child, network: &network::Network, nonce: &str) {
    world.step("it is defined twice, starts twice, gets its address and the nonce");
    let mut wanted = spec(world, 1, by_kernel(world));
    wanted.interfaces.push(network.interface());
    for _ in 0..2 {
        let defined = child.ask(Op::Define(Box::new(wanted.clone())));
        assert_eq!(power(&defined), PowerState::Shutdown);
    }
    for _ in 0..2 {
        assert_eq!(power(&child.ask(Op::Start(at(1)))), PowerState::Running);
    }
    assert_eq!(power(&child.ask(Op::Define(Box::new(wanted)))), PowerState::Running);
    until_said(child, &format!("UPDRAFT-META nonce={nonce}\r"), 1);
    let text = until_said(child, "UPDRAFT-READY", 1);
    let address = format!("UPDRAFT-ADDRESS eth0 {}/24 mtu=1400 ", network::GUEST);
    assert!(text.contains(&address), "{text}");
    assert!(text.contains("UPDRAFT-INSTANCE-ID i-00000001\r"), "{text}");
    assert!(text.contains("UPDRAFT-USER-SAYS hello\r"), "{text}");
}

fn sees_disks_come_and_go(world: &World, child: &mut Child) {
    world.step("a disk is plugged in twice and seen by its serial once");
    let disk = volume(world, "volume-1");
    for _ in 0..2 {
        let attached = child.ask(Op::AttachDisk { guest: at(2), disk: disk.clone() });
        let Ok(Answer::Guest(report)) = attached else { panic!("{attached:?}") };
        assert_eq!(report.disks, ["volume-1"]);
    }
    until_said(child, "UPDRAFT-DISK vda serial=volume-1 bytes=33554432\r", 1);

    world.step("it is unplugged, and the guest has let go of it by then");
    for _ in 0..2 {
        let detached = child.ask(Op::DetachDisk { guest: at(3), serial: "volume-1".into() });
        let Ok(Answer::Guest(report)) = detached else { panic!("{detached:?}") };
        assert!(report.disks.is_empty());
    }
    until_said(child, "UPDRAFT-DISK-GONE vda\r", 1);
}

fn sees_interfaces_go_and_come(
    world: &World,
    child: &mut Child,
    network: &network::Network,
    nonce: &str,
) {
    world.step("an interface is unplugged and plugged in again");
    let mac_address = network.interface().mac_address;
    child.ask(Op::DetachInterface { guest: at(4), mac_address }).unwrap();
    until_said(child, "UPDRAFT-INTERFACE-GONE eth0\r", 1);
    child.ask(Op::AttachInterface { guest: at(5), interface: network.interface() }).unwrap();
    until_said(child, &format!("UPDRAFT-META nonce={nonce}\r"), 2);
    until_said(child, "UPDRAFT-READY", 2);

    world.step("what is older than the newest is refused");
    let refused = child.ask(Op::Stop { guest: at(4), grace_ms: 0 });
    assert_eq!(refused, Err(DriverError::Stale { asked: 4, served: 5 }));
}

fn restarts_and_stops(world: &World, child: &mut Child) {
    world.step("it restarts by itself, once for each generation");
    for _ in 0..2 {
        let restarted = child.ask(Op::Reboot { guest: at(6), hard: false });
        assert_eq!(power(&restarted), PowerState::Running);
    }
    until_said(child, "UPDRAFT-STOP", 1);
    let text = until_said(child, "UPDRAFT-READY", 3);
    assert_eq!(text.matches("UPDRAFT-START").count(), 2, "{text}");

    world.step("it stops politely, twice, and starts again");
    for _ in 0..2 {
        let stopped = child.ask(Op::Stop { guest: at(7), grace_ms: 20_000 });
        assert_eq!(power(&stopped), PowerState::Shutdown);
    }
    until_said(child, "UPDRAFT-STOP", 2);
    assert_eq!(power(&child.ask(Op::Start(at(8)))), PowerState::Running);
    until_said(child, "UPDRAFT-START", 3);

    world.step("the plug is pulled and put in again");
    assert_eq!(power(&child.ask(Op::Reboot { guest: at(9), hard: true })), PowerState::Running);
    let text = until_said(child, "UPDRAFT-START", 4);
    assert_eq!(text.matches("UPDRAFT-STOP").count(), 2, "{text}");
}

#[test]
fn a_guest_that_does_not_listen_does_what_it_must_in_the_end() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(world) = World::new("deaf") else { return };
    let mut child = world.driver("qemu");
    child.until_available();
    let mut wanted = spec(&world, 1, by_kernel(&world));
    if let Boot::Kernel { command_line, .. } = &mut wanted.boot {
        // Waits on the console for ever, and hears no button.
        command_line.push_str(" rdinit=/bin/sh");
    }
    child.ask(Op::Define(Box::new(wanted))).unwrap();
    child.ask(Op::Start(at(1))).unwrap();

    world.step("a disk that is unplugged while the guest boots is gone in the end");
    child.ask(Op::AttachDisk { guest: at(1), disk: volume(&world, "early") }).unwrap();
    let detached = child.ask(Op::DetachDisk { guest: at(1), serial: "early".into() });
    let Ok(Answer::Guest(report)) = detached else { panic!("{detached:?}") };
    assert!(report.disks.is_empty());

    world.step("the plug is pulled when the grace is over, although no one request lasted so long");
    let asked = Instant::now();
    let stop = Op::Stop { guest: at(2), grace_ms: 8000 };
    let unknown = child.ask_within(stop.clone(), Duration::from_millis(6000));
    assert_eq!(unknown, Err(DriverError::Unknown(6000)));
    assert_eq!(power(&child.ask(stop)), PowerState::Shutdown);
    let took = asked.elapsed();
    // Pulling the plug takes two seconds; a grace that began anew would end after fourteen.
    assert!((8.0..13.5).contains(&took.as_secs_f64()), "{took:?}");
    child.ask(Op::Remove(at(3))).unwrap();
    child.end();
    world.end();
}

#[test]
fn a_guest_outlives_its_libvirtd_and_its_driver() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(world) = World::new("loss") else { return };
    let mut child = world.driver("qemu");
    child.until_available();
    boot(&world, &mut child, 1);
    until_said(&mut child, "UPDRAFT-START", 1);

    world.step("libvirtd is killed: the driver says so and refuses");
    world.kill_libvirtd();
    child.until_event(SOON, |event| {
        matches!(event, GuestEvent::Hypervisor { available: false, .. })
    });
    let refused = child.ask(Op::Start(at(1)));
    assert!(matches!(refused, Err(DriverError::Unavailable(_))), "{refused:?}");

    world.step("libvirtd is back: the driver finds it, and the guest never stopped");
    world.start_libvirtd();
    child.until_available();
    assert_eq!(power(&child.ask(Op::Describe { guest: GUEST })), PowerState::Running);
    child.ask(Op::AttachDisk { guest: at(1), disk: volume(&world, "later") }).unwrap();
    let text = until_said(&mut child, "UPDRAFT-DISK vda serial=later", 1);
    assert_eq!(text.matches("UPDRAFT-START").count(), 1, "{text}");

    world.step("libvirtd hangs: the answer is unknown, in time, and the driver goes on after it");
    world.signal_libvirtd("STOP");
    let asked = Instant::now();
    let op = Op::Stop { guest: at(1), grace_ms: 0 };
    let unknown = child.ask_within(op, Duration::from_secs(2));
    assert_eq!(unknown, Err(DriverError::Unknown(2000)));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    world.signal_libvirtd("CONT");
    // The look that hung was one at the guest: nothing was stopped.
    assert_eq!(power(&child.ask(Op::Describe { guest: GUEST })), PowerState::Running);

    world.step("the emulator dies: the driver says that the guest crashed");
    child.forget_events();
    world.kill_emulators();
    let crashed = GuestEvent::Power { guest: GUEST, power: PowerState::Crashed };
    child.until_event(SOON, |event| *event == crashed);

    world.step("the driver restarts: it still knows what it served");
    assert_eq!(power(&child.ask(Op::Start(at(3)))), PowerState::Running);
    child.end();
    let mut child = world.driver("qemu");
    child.until_available();
    let refused = child.ask(Op::Remove(at(2)));
    assert_eq!(refused, Err(DriverError::Stale { asked: 2, served: 3 }));
    assert_eq!(power(&child.ask(Op::Remove(at(3)))), PowerState::Absent);
    child.end();
    world.end();
}

#[test]
fn a_guest_boots_from_its_own_disk() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(world) = World::new("disk") else { return };
    let mut child = world.driver("qemu");
    child.until_available();
    let (base, overlay) = (world.image("disk.qcow2"), world.folder().join("root.qcow2"));
    let (base, file) = (base.to_str().unwrap(), overlay.to_str().unwrap());
    world.run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, file]);
    let mut wanted = spec(&world, 1, Boot::Disk);
    wanted.disks.push(Disk {
        serial: "root".into(),
        path: overlay.clone(),
        format: DiskFormat::Qcow2,
        read_only: false,
        remote: None,
    });
    child.ask(Op::Define(Box::new(wanted))).unwrap();
    child.ask(Op::Start(at(1))).unwrap();
    until_said(&mut child, "UPDRAFT-START", 1);
    let text = until_said(&mut child, "UPDRAFT-DISK vda serial=root", 1);
    assert!(text.contains(" root=/dev/vda1 "), "{text}");
    child.ask(Op::Remove(at(2))).unwrap();
    child.end();
    world.end();
}

#[test]
fn a_driver_waits_for_a_libvirtd_that_is_not_there_yet() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(world) = World::without_libvirtd("wait") else { return };
    let mut child = world.driver("qemu");
    let said = child.until_event(SOON, |_| true);
    let GuestEvent::Hypervisor { available: false, reason } = said else { panic!("{said:?}") };
    assert!(reason.contains("libvirt-sock"), "{reason}");
    let refused = child.ask(Op::Probe);
    assert!(matches!(refused, Err(DriverError::Unavailable(_))), "{refused:?}");
    world.start_libvirtd();
    child.until_available();
    let Ok(Answer::Host(host)) = child.ask(Op::Probe) else { panic!("no report") };
    assert_eq!((host.hypervisor_type.as_str(), host.virt_type.as_str()), ("QEMU", "qemu"));
    assert_eq!(host.architecture, "x86_64");
    assert!(host.hypervisor_version >= 7_000_000 && host.vcpus > 0 && host.memory_mib > 100);
    child.end();
    world.end();
}

/// Which answer is right depends on the machine; that it is found out once does not.
#[test]
fn how_guests_run_is_found_out_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(world) = World::new("auto") else { return };
    let ask = |within: Duration| {
        let mut child = world.driver("auto");
        child.until_available();
        let answer = child.ask_within(Op::Probe, within);
        child.end();
        let Ok(Answer::Host(host)) = answer else { panic!("no report: {answer:?}") };
        host.virt_type
    };
    let found = ask(BOOT);
    assert!(["qemu", "kvm"].contains(&found.as_str()), "{found}");
    assert_eq!(ask(Duration::from_secs(5)), found);
    world.end();
}
