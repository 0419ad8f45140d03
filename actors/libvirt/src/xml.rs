//! What libvirt is told a guest is: its XML, written.
//!
//! Owns the shape of a guest: machine, processor, devices. Promises that whatever a spec holds ends
//! up as text or as an attribute's value, never as markup, and that what cannot be said in XML is
//! refused. Never talks to libvirt.

use std::{io, path::Path};

use quick_xml::{Writer, events::BytesText};
use updraft_protocol::{
    hypervisor::{Boot, ConsoleKind, Disk, DiskFormat, GuestSpec, Interface},
    volume::Export,
};

use crate::console;

/// The namespace of the mark that says a guest is ours; `view` looks for it.
pub(crate) const MARK_NAMESPACE: &str = "urn:updraft:guest";

/// A board old enough that every image boots on it, with disks that plug in without bridges.
const MACHINE: &str = "pc";

/// Translated code that an emulated guest keeps, as a share of its memory and within bounds. QEMU's
/// own choice is a gigabyte, many times a small guest; below 32 MiB it translates all over again.
const TRANSLATED_SHARE: u64 = 4;
const TRANSLATED_MIN_MIB: u64 = 32;
const TRANSLATED_MAX_MIB: u64 = 512;

/// The oldest processor that images built for the x86-64-v2 level run on; emulation adds what the
/// name leaves out at no cost in speed.
const EMULATED_CPU: &str = "Nehalem";

/// Longest serial that a name for libvirt can be made of; the guest sees 20 characters.
const SERIAL_MAX_BYTES: usize = 64;

/// How guest code is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VirtType {
    /// By translation.
    Qemu,
    /// By the processor.
    Kvm,
}

impl VirtType {
    /// libvirt's word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Kvm => "kvm",
        }
    }
}

/// A spec that cannot be told to libvirt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// A control character, or a path that is no Unicode.
    #[error("the {what} {value:?} cannot be written in XML")]
    Text {
        /// Which value.
        what: &'static str,
        /// The value, made printable.
        value: String,
    },
    /// Not usable as a device's name.
    #[error("the disk serial {0:?} is not 1 to {SERIAL_MAX_BYTES} of A-Z a-z 0-9 - _")]
    Serial(String),
    /// Not an address.
    #[error("the MAC address {0:?} is not six pairs of lower-case hexadecimal digits with colons")]
    Mac(String),
    /// The writer failed.
    #[error("writing XML failed")]
    Write(#[from] io::Error),
}

/// What the host adds to a spec.
pub(crate) struct Host<'a> {
    /// How guest code is run.
    pub(crate) virt_type: VirtType,
    /// Whether a file can be read past the page cache.
    pub(crate) direct_io: &'a dyn Fn(&Path) -> bool,
}

type Xml = Writer<Vec<u8>>;

/// A whole guest.
pub(crate) fn guest(spec: &GuestSpec, host: &Host<'_>) -> Result<String, Unfit> {
    check_guest(spec)?;
    to_text(|xml| {
        xml.create_element("domain")
            .with_attribute(("type", host.virt_type.as_str()))
            .write_inner_content(|xml| write_guest(xml, spec, host))
            .map(drop)
    })
}

/// One disk, for plugging in.
pub(crate) fn disk(disk: &Disk, target: &str, host: &Host<'_>) -> Result<String, Unfit> {
    check_disk(disk)?;
    to_text(|xml| write_disk(xml, disk, target, host))
}

/// One interface, for plugging in.
pub(crate) fn interface(interface: &Interface) -> Result<String, Unfit> {
    check_interface(interface)?;
    to_text(|xml| write_interface(xml, interface))
}

/// A guest that boots a disk, writes to its serial line and has nothing else.
pub(crate) fn probe(
    name: &str,
    kind: VirtType,
    image: &Path,
    console: &Path,
) -> Result<String, Unfit> {
    let (image, console) = (path_text("image", image)?, path_text("console", console)?);
    to_text(|xml| {
        xml.create_element("domain")
            .with_attribute(("type", kind.as_str()))
            .write_inner_content(|xml| write_probe(xml, name, &image, &console))
            .map(drop)
    })
}

/// The name by which libvirt speaks of a disk.
pub(crate) fn disk_alias(serial: &str) -> String {
    format!("ua-disk-{serial}")
}

/// The name by which libvirt speaks of an interface.
fn interface_alias(mac_address: &str) -> String {
    format!("ua-nic-{}", mac_address.replace(':', ""))
}

/// The n-th disk's name on the bus: vda to vdz, vdaa and so on.
pub(crate) fn target_name(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
    }
    letters.iter().rev().fold(String::from("vd"), |name, letter| name + &letter.to_string())
}

fn check_guest(spec: &GuestSpec) -> Result<(), Unfit> {
    check_text("name", &spec.name)?;
    path_text("console log", &spec.console_log)?;
    if let Boot::Kernel { kernel, ramdisk, command_line } = &spec.boot {
        path_text("kernel", kernel)?;
        ramdisk.as_deref().map(|path| path_text("ramdisk", path)).transpose()?;
        check_text("command line", command_line)?;
    }
    spec.disks.iter().try_for_each(check_disk)?;
    spec.interfaces.iter().try_for_each(check_interface)
}

fn check_disk(disk: &Disk) -> Result<(), Unfit> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let fits = (1..=SERIAL_MAX_BYTES).contains(&disk.serial.len());
    if !fits || !disk.serial.bytes().all(legal) {
        return Err(Unfit::Serial(disk.serial.clone()));
    }
    if let Some(remote) = &disk.remote {
        check_text("address", &remote.address)?;
        check_text("export", &remote.name)?;
        check_text("TLS name", remote.tls.as_deref().unwrap_or_default())?;
    }
    path_text("disk path", &disk.path).map(drop)
}

fn check_interface(interface: &Interface) -> Result<(), Unfit> {
    check_text("tap", &interface.tap)?;
    let mac = &interface.mac_address;
    let pair = |p: &str| p.len() == 2 && p.bytes().all(|b| b"0123456789abcdef".contains(&b));
    if mac.split(':').count() == 6 && mac.split(':').all(pair) {
        Ok(())
    } else {
        Err(Unfit::Mac(mac.clone()))
    }
}

fn check_text(what: &'static str, value: &str) -> Result<(), Unfit> {
    if value.chars().all(fits_xml) {
        Ok(())
    } else {
        Err(Unfit::Text { what, value: value.to_owned() })
    }
}

fn path_text(what: &'static str, path: &Path) -> Result<String, Unfit> {
    let text = path
        .to_str()
        .ok_or_else(|| Unfit::Text { what, value: path.to_string_lossy().into_owned() })?;
    check_text(what, text)?;
    Ok(text.to_owned())
}

/// Whether a character may stand in a value: XML 1.0 without line breaks and tabs, which no value needs.
fn fits_xml(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// A title is for people: what does not fit becomes a space rather than an error.
fn title_text(title: &str) -> String {
    title.chars().map(|c| if fits_xml(c) { c } else { ' ' }).collect()
}

fn to_text(write: impl FnOnce(&mut Xml) -> io::Result<()>) -> Result<String, Unfit> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    write(&mut xml)?;
    String::from_utf8(xml.into_inner()).map_err(|e| Unfit::Write(io::Error::other(e)))
}

fn text(xml: &mut Xml, name: &str, value: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(value)).map(drop)
}

fn empty(xml: &mut Xml, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
    xml.create_element(name).with_attributes(attributes.iter().copied()).write_empty().map(drop)
}

fn write_guest(xml: &mut Xml, spec: &GuestSpec, host: &Host<'_>) -> io::Result<()> {
    text(xml, "name", &spec.name)?;
    text(xml, "uuid", &spec.guest.guest.to_string())?;
    let title = title_text(&spec.title);
    if !title.trim().is_empty() {
        text(xml, "title", &title)?;
    }
    xml.create_element("metadata").write_inner_content(|xml| {
        empty(xml, "updraft:guest", &[("xmlns:updraft", MARK_NAMESPACE)])
    })?;
    xml.create_element("memory")
        .with_attribute(("unit", "MiB"))
        .write_text_content(BytesText::new(&spec.memory_mib.to_string()))?;
    text(xml, "vcpu", &spec.vcpus.to_string())?;
    xml.create_element("os").write_inner_content(|xml| write_boot(xml, &spec.boot))?;
    xml.create_element("features").write_inner_content(|xml| write_features(xml, spec, host))?;
    write_cpu(xml, host.virt_type)?;
    empty(xml, "clock", &[("offset", "utc")])?;
    text(xml, "on_poweroff", "destroy")?;
    text(xml, "on_reboot", "restart")?;
    text(xml, "on_crash", "destroy")?;
    xml.create_element("devices")
        .write_inner_content(|xml| write_devices(xml, spec, host))
        .map(drop)
}

fn write_boot(xml: &mut Xml, boot: &Boot) -> io::Result<()> {
    write_machine(xml)?;
    match boot {
        Boot::Disk => empty(xml, "boot", &[("dev", "hd")]),
        Boot::Kernel { kernel, ramdisk, command_line } => {
            text(xml, "kernel", &kernel.to_string_lossy())?;
            if let Some(ramdisk) = ramdisk {
                text(xml, "initrd", &ramdisk.to_string_lossy())?;
            }
            text(xml, "cmdline", command_line)
        }
    }
}

fn write_machine(xml: &mut Xml) -> io::Result<()> {
    xml.create_element("type")
        .with_attributes([("arch", "x86_64"), ("machine", MACHINE)])
        .write_text_content(BytesText::new("hvm"))
        .map(drop)
}

fn write_features(xml: &mut Xml, spec: &GuestSpec, host: &Host<'_>) -> io::Result<()> {
    empty(xml, "acpi", &[])?;
    empty(xml, "apic", &[])?;
    if host.virt_type == VirtType::Kvm {
        return Ok(());
    }
    let cache_mib =
        (spec.memory_mib / TRANSLATED_SHARE).clamp(TRANSLATED_MIN_MIB, TRANSLATED_MAX_MIB);
    xml.create_element("tcg")
        .write_inner_content(|xml| {
            xml.create_element("tb-cache")
                .with_attribute(("unit", "MiB"))
                .write_text_content(BytesText::new(&cache_mib.to_string()))
                .map(drop)
        })
        .map(drop)
}

fn write_cpu(xml: &mut Xml, virt_type: VirtType) -> io::Result<()> {
    match virt_type {
        VirtType::Kvm => empty(xml, "cpu", &[("mode", "host-model"), ("check", "partial")]),
        VirtType::Qemu => xml
            .create_element("cpu")
            .with_attributes([("mode", "custom"), ("match", "exact"), ("check", "none")])
            .write_inner_content(|xml| {
                xml.create_element("model")
                    .with_attribute(("fallback", "allow"))
                    .write_text_content(BytesText::new(EMULATED_CPU))
                    .map(drop)
            })
            .map(drop),
    }
}

fn write_devices(xml: &mut Xml, spec: &GuestSpec, host: &Host<'_>) -> io::Result<()> {
    for (index, disk) in spec.disks.iter().enumerate() {
        write_disk(xml, disk, &target_name(index), host)?;
    }
    for interface in &spec.interfaces {
        write_interface(xml, interface)?;
    }
    write_console(xml, &spec.console_log)?;
    write_screen(xml, &spec.console_log)?;
    xml.create_element("rng").with_attribute(("model", "virtio")).write_inner_content(|xml| {
        xml.create_element("backend")
            .with_attribute(("model", "random"))
            .write_text_content(BytesText::new("/dev/urandom"))
            .map(drop)
    })?;
    write_no_defaults(xml)
}

/// A socket for whoever talks to it, and a log that keeps everything.
fn write_console(xml: &mut Xml, log: &Path) -> io::Result<()> {
    let socket = console::socket(log, ConsoleKind::Serial);
    let kind = if socket.is_some() { "unix" } else { "pty" };
    xml.create_element("serial")
        .with_attribute(("type", kind))
        .write_inner_content(|xml| {
            if let Some(socket) = &socket {
                let path = socket.to_string_lossy();
                empty(xml, "source", &[("mode", "bind"), ("path", &path)])?;
            }
            empty(xml, "log", &[("file", &log.to_string_lossy()), ("append", "on")])?;
            empty(xml, "target", &[("port", "0")])
        })
        .map(drop)
}

/// A screen that is looked at by a socket of this host: nobody reaches it by a network.
fn write_screen(xml: &mut Xml, log: &Path) -> io::Result<()> {
    let Some(socket) = console::socket(log, ConsoleKind::Screen) else {
        return write_video(xml, "none");
    };
    let path = socket.to_string_lossy();
    empty(xml, "graphics", &[("type", "vnc"), ("socket", &path)])?;
    write_video(xml, "vga")
}

fn write_video(xml: &mut Xml, model: &str) -> io::Result<()> {
    xml.create_element("video")
        .write_inner_content(|xml| empty(xml, "model", &[("type", model)]))
        .map(drop)
}

/// What libvirt would add by itself and no guest of ours needs.
fn write_no_defaults(xml: &mut Xml) -> io::Result<()> {
    empty(xml, "controller", &[("type", "usb"), ("model", "none")])?;
    empty(xml, "memballoon", &[("model", "none")])
}

fn write_disk(xml: &mut Xml, disk: &Disk, target: &str, host: &Host<'_>) -> io::Result<()> {
    let (kind, format) = match (&disk.remote, disk.format) {
        // Its bytes, whatever the file on the other host is.
        (Some(_), _) => ("network", "raw"),
        (None, DiskFormat::Raw) => ("file", "raw"),
        (None, DiskFormat::Qcow2) => ("file", "qcow2"),
    };
    // Past the page cache where the file system can; a guest's flush reaches the disk either way.
    let is_direct = disk.remote.is_some() || (host.direct_io)(&disk.path);
    let cache = if is_direct { "none" } else { "writeback" };
    xml.create_element("disk")
        .with_attributes([("type", kind), ("device", "disk")])
        .write_inner_content(|xml| {
            let driver =
                [("name", "qemu"), ("type", format), ("cache", cache), ("discard", "unmap")];
            empty(xml, "driver", &driver)?;
            match &disk.remote {
                Some(remote) => write_remote(xml, remote)?,
                None => empty(xml, "source", &[("file", &disk.path.to_string_lossy())])?,
            }
            empty(xml, "target", &[("dev", target), ("bus", "virtio")])?;
            if disk.read_only {
                empty(xml, "readonly", &[])?;
            }
            text(xml, "serial", &disk.serial)?;
            empty(xml, "alias", &[("name", &disk_alias(&disk.serial))])
        })
        .map(drop)
}

/// Where another host serves a disk. A certificate is asked for by the name that it bears, not by the address.
fn write_remote(xml: &mut Xml, remote: &Export) -> io::Result<()> {
    let source = [("protocol", "nbd"), ("name", remote.name.as_str())];
    let tls = remote.tls.as_deref().map(|name| [("tls", "yes"), ("tlsHostname", name)]);
    xml.create_element("source")
        .with_attributes(source)
        .with_attributes(tls.into_iter().flatten())
        .write_inner_content(|xml| {
            let port = remote.port.to_string();
            empty(xml, "host", &[("name", &remote.address), ("port", &port)])
        })
        .map(drop)
}

/// The tap is another's: libvirt neither makes nor removes it, and leaves its link state alone.
fn write_interface(xml: &mut Xml, interface: &Interface) -> io::Result<()> {
    xml.create_element("interface")
        .with_attribute(("type", "ethernet"))
        .write_inner_content(|xml| {
            empty(xml, "mac", &[("address", &interface.mac_address)])?;
            empty(xml, "target", &[("dev", &interface.tap), ("managed", "no")])?;
            empty(xml, "model", &[("type", "virtio")])?;
            empty(xml, "mtu", &[("size", &interface.mtu.to_string())])?;
            empty(xml, "alias", &[("name", &interface_alias(&interface.mac_address))])
        })
        .map(drop)
}

fn write_probe(xml: &mut Xml, name: &str, image: &str, console: &str) -> io::Result<()> {
    text(xml, "name", name)?;
    xml.create_element("memory")
        .with_attribute(("unit", "MiB"))
        .write_text_content(BytesText::new("32"))?;
    text(xml, "vcpu", "1")?;
    xml.create_element("os").write_inner_content(|xml| {
        write_machine(xml)?;
        empty(xml, "boot", &[("dev", "hd")])
    })?;
    text(xml, "on_reboot", "destroy")?;
    xml.create_element("devices")
        .write_inner_content(|xml| {
            xml.create_element("disk")
                .with_attributes([("type", "file"), ("device", "disk")])
                .write_inner_content(|xml| {
                    empty(xml, "driver", &[("name", "qemu"), ("type", "raw")])?;
                    empty(xml, "source", &[("file", image)])?;
                    empty(xml, "target", &[("dev", "vda"), ("bus", "virtio")])?;
                    empty(xml, "readonly", &[])
                })?;
            xml.create_element("serial").with_attribute(("type", "file")).write_inner_content(
                |xml| {
                    empty(xml, "source", &[("path", console)])?;
                    empty(xml, "target", &[("port", "0")])
                },
            )?;
            write_video(xml, "none")?;
            write_no_defaults(xml)
        })
        .map(drop)
}

#[cfg(test)]
mod tests;
