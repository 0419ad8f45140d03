//! The XML, against golden files and against its own reader.

use updraft_protocol::hypervisor::GuestRef;
use uuid::Uuid;

use super::*;
use crate::view;

const TRANSLATED: Host<'_> = Host { virt_type: VirtType::Qemu, direct_io: &|_| true };
const NATIVE: Host<'_> = Host { virt_type: VirtType::Kvm, direct_io: &|_| false };

fn a_disk(serial: &str, path: &str, format: DiskFormat) -> Disk {
    Disk { serial: serial.into(), path: path.into(), format, read_only: false, remote: None }
}

fn a_guest(boot: Boot) -> GuestSpec {
    GuestSpec {
        guest: GuestRef { guest: Uuid::from_u128(0x1b2c), generation: 3 },
        name: "instance-00001b2c".into(),
        title: "web <1> & \"co\"\n".into(),
        vcpus: 2,
        memory_mib: 256,
        boot,
        disks: vec![
            a_disk("root", "/i/1b2c/disk & root.qcow2", DiskFormat::Qcow2),
            Disk { read_only: true, ..a_disk("config", "/i/1b2c/config", DiskFormat::Raw) },
        ],
        interfaces: vec![an_interface()],
        console_log: "/i/1b2c/console.log".into(),
    }
}

fn an_interface() -> Interface {
    Interface {
        port: Uuid::from_u128(9),
        mac_address: "fa:16:3e:00:00:01".into(),
        tap: "tap00000000-01".into(),
        mtu: 1450,
    }
}

fn by_kernel() -> Boot {
    Boot::Kernel {
        kernel: "/i/1b2c/kernel".into(),
        ramdisk: Some("/i/1b2c/ramdisk".into()),
        command_line: "console=ttyS0 a='<b>'".into(),
    }
}

#[test]
fn a_translated_guest_that_boots_by_kernel() {
    let xml = guest(&a_guest(by_kernel()), &TRANSLATED).unwrap();
    assert_eq!(xml + "\n", include_str!("../golden/translated-kernel.xml"));
}

fn a_remote_disk(tls: Option<&str>) -> Disk {
    let remote = Some(Export {
        address: "192.0.2.7".into(),
        port: 10_810,
        name: "9b1c".into(),
        tls: tls.map(Into::into),
    });
    Disk { remote, ..a_disk("data", "/v/there", DiskFormat::Qcow2) }
}

#[test]
fn a_disk_that_another_host_serves() {
    let xml = disk(&a_remote_disk(Some("compute-7")), "vdb", &TRANSLATED).unwrap();
    assert_eq!(xml + "\n", include_str!("../golden/remote-disk.xml"));
    let plain = disk(&a_remote_disk(None), "vdb", &TRANSLATED).unwrap();
    assert!(!plain.contains("tls"), "{plain}");
    disk(&a_remote_disk(Some("a\u{1}")), "vdb", &TRANSLATED).unwrap_err();
}

#[test]
fn a_native_guest_that_boots_from_its_disk() {
    let xml = guest(&a_guest(Boot::Disk), &NATIVE).unwrap();
    assert_eq!(xml + "\n", include_str!("../golden/native-disk.xml"));
}

#[test]
fn a_disk_to_plug_in() {
    let volume = a_disk("volume-1", "/v/1.raw", DiskFormat::Raw);
    let xml = disk(&volume, "vdb", &TRANSLATED).unwrap();
    assert_eq!(xml + "\n", include_str!("../golden/disk.xml"));
}

#[test]
fn the_probe_guest() {
    let xml = probe("updraft-probe-1", VirtType::Kvm, Path::new("/p/d"), Path::new("/p/c"));
    assert_eq!(xml.unwrap() + "\n", include_str!("../golden/probe.xml"));
}

#[test]
fn what_is_written_is_what_is_read() {
    let spec = a_guest(by_kernel());
    let view = view::read(&guest(&spec, &TRANSLATED).unwrap()).unwrap();
    assert!(view.ours);
    assert_eq!(view.serials(), ["root", "config"]);
    assert_eq!(view.disk("config").unwrap().target, "vdb");
    assert_eq!(view.disk("root").unwrap().alias.as_deref(), Some("ua-disk-root"));
    assert_eq!(view.mac_addresses(), ["fa:16:3e:00:00:01"]);
    assert_eq!(view.console_log.as_deref(), Some(Path::new("/i/1b2c/console.log")));
    assert_eq!(view.screen.as_deref(), Some(Path::new("/i/1b2c/vnc")));
    assert_eq!(view.serial.as_deref(), Some(Path::new("/i/1b2c/serial")));
}

#[test]
fn a_guest_whose_folder_has_too_long_a_path_for_sockets_has_none() {
    let mut spec = a_guest(Boot::Disk);
    spec.console_log = format!("/{}/console.log", "x".repeat(110)).into();
    let view = view::read(&guest(&spec, &TRANSLATED).unwrap()).unwrap();
    assert_eq!((view.screen, view.serial), (None, None));
    assert_eq!(view.console_log, Some(spec.console_log));
}

#[test]
fn a_guest_without_the_mark_is_not_ours() {
    let xml = probe("other", VirtType::Qemu, Path::new("/d"), Path::new("/c")).unwrap();
    assert!(!view::read(&xml).unwrap().ours);
}

#[test]
fn markup_in_a_value_stays_a_value() {
    let mut spec = a_guest(Boot::Disk);
    spec.name = "x</name><devices><disk/>".into();
    let xml = guest(&spec, &TRANSLATED).unwrap();
    assert!(xml.contains("<name>x&lt;/name&gt;&lt;devices&gt;&lt;disk/&gt;</name>"), "{xml}");
}

#[test]
fn a_serial_that_cannot_name_a_device_is_refused() {
    for serial in ["", "a b", "a/b", &"x".repeat(SERIAL_MAX_BYTES + 1)] {
        let odd = a_disk(serial, "/v", DiskFormat::Raw);
        assert!(matches!(disk(&odd, "vdb", &TRANSLATED), Err(Unfit::Serial(_))), "{serial}");
    }
}

#[test]
fn a_control_character_is_refused() {
    let odd = a_disk("a", "/v\u{1}", DiskFormat::Raw);
    assert!(matches!(disk(&odd, "vdb", &TRANSLATED), Err(Unfit::Text { .. })));
}

#[test]
fn an_address_that_is_none_is_refused() {
    for mac in ["", "FA:16:3E:00:00:01", "fa:16:3e:00:00", "fa:16:3e:00:00:0g"] {
        let odd = Interface { mac_address: mac.into(), ..an_interface() };
        assert!(matches!(interface(&odd), Err(Unfit::Mac(_))), "{mac}");
    }
}

#[test]
fn disks_are_named_in_the_order_of_the_alphabet() {
    let names: Vec<_> = [0, 1, 25, 26, 27, 701, 702].map(target_name).into();
    assert_eq!(names, ["vda", "vdb", "vdz", "vdaa", "vdab", "vdzz", "vdaaa"]);
}
