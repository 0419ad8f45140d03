//! What libvirt says a guest is: its XML, read.
//!
//! Owns the few facts that operations go by. Never changes anything.

use std::path::PathBuf;

use serde::Deserialize;

use crate::xml::MARK_NAMESPACE;

/// What a guest has, by libvirt's account of it as it runs or as it will start next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Whether this driver made it.
    pub(crate) ours: bool,
    /// Its disks.
    pub(crate) disks: Vec<DiskView>,
    /// Its interfaces.
    pub(crate) interfaces: Vec<InterfaceView>,
    /// Where its console is written to.
    pub(crate) console_log: Option<PathBuf>,
    /// Where its screen listens.
    pub(crate) screen: Option<PathBuf>,
    /// Where its serial line listens.
    pub(crate) serial: Option<PathBuf>,
}

/// A disk in a [`View`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskView {
    /// What the guest knows it by; empty for a disk of another's making.
    pub(crate) serial: String,
    /// Its name on the bus.
    pub(crate) target: String,
    /// libvirt's name for it, once it has one.
    pub(crate) alias: Option<String>,
}

/// An interface in a [`View`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceView {
    /// Lower-case, colons.
    pub(crate) mac_address: String,
    /// libvirt's name for it, once it has one.
    pub(crate) alias: Option<String>,
}

/// Reads a guest's XML.
pub(crate) fn read(xml: &str) -> Result<View, quick_xml::DeError> {
    let domain: Domain = quick_xml::de::from_str(xml)?;
    let devices = domain.devices.unwrap_or_default();
    Ok(View {
        ours: domain.metadata.is_some_and(|m| m.guest.is_some_and(|g| g.xmlns == MARK_NAMESPACE)),
        disks: devices.disk.into_iter().map(DiskView::from).collect(),
        interfaces: devices.interface.into_iter().filter_map(to_interface).collect(),
        screen: devices.graphics.into_iter().find_map(|graphics| graphics.socket),
        serial: devices.serial.iter().find_map(Serial::socket),
        console_log: devices.serial.into_iter().find_map(|s| s.log).map(|log| log.file),
    })
}

impl View {
    /// The disk with this serial.
    pub(crate) fn disk(&self, serial: &str) -> Option<&DiskView> {
        self.disks.iter().find(|disk| disk.serial == serial)
    }

    /// The interface with this address.
    pub(crate) fn interface(&self, mac_address: &str) -> Option<&InterfaceView> {
        self.interfaces.iter().find(|interface| interface.mac_address == mac_address)
    }

    /// The serials of its disks, in their order.
    pub(crate) fn serials(&self) -> Vec<String> {
        self.disks.iter().map(|d| d.serial.clone()).filter(|s| !s.is_empty()).collect()
    }

    /// The addresses of its interfaces, in their order.
    pub(crate) fn mac_addresses(&self) -> Vec<String> {
        self.interfaces.iter().map(|interface| interface.mac_address.clone()).collect()
    }
}

impl From<Disk> for DiskView {
    fn from(disk: Disk) -> Self {
        Self {
            serial: disk.serial.unwrap_or_default(),
            target: disk.target.map(|target| target.dev).unwrap_or_default(),
            alias: disk.alias.map(|alias| alias.name),
        }
    }
}

fn to_interface(interface: Interface) -> Option<InterfaceView> {
    let mac_address = interface.mac?.address.to_ascii_lowercase();
    Some(InterfaceView { mac_address, alias: interface.alias.map(|alias| alias.name) })
}

#[derive(Deserialize)]
struct Domain {
    metadata: Option<Metadata>,
    devices: Option<Devices>,
}

#[derive(Deserialize)]
struct Metadata {
    guest: Option<Mark>,
}

#[derive(Deserialize)]
struct Mark {
    #[serde(rename = "@xmlns:updraft", default)]
    xmlns: String,
}

#[derive(Default, Deserialize)]
struct Devices {
    #[serde(default)]
    disk: Vec<Disk>,
    #[serde(default)]
    interface: Vec<Interface>,
    #[serde(default)]
    serial: Vec<Serial>,
    #[serde(default)]
    graphics: Vec<Graphics>,
}

#[derive(Deserialize)]
struct Graphics {
    #[serde(rename = "@socket")]
    socket: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Disk {
    serial: Option<String>,
    target: Option<Target>,
    alias: Option<Alias>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "@dev")]
    dev: String,
}

#[derive(Deserialize)]
struct Alias {
    #[serde(rename = "@name")]
    name: String,
}

#[derive(Deserialize)]
struct Interface {
    mac: Option<Mac>,
    alias: Option<Alias>,
}

#[derive(Deserialize)]
struct Mac {
    #[serde(rename = "@address")]
    address: String,
}

#[derive(Deserialize)]
struct Serial {
    #[serde(rename = "@type", default)]
    kind: String,
    source: Option<Source>,
    log: Option<Log>,
}

impl Serial {
    fn socket(&self) -> Option<PathBuf> {
        (self.kind == "unix").then_some(self.source.as_ref()?.path.clone())?
    }
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "@path")]
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Log {
    #[serde(rename = "@file")]
    file: PathBuf,
}
