//! Everything that there is in a cloud at one moment, as plain values.
//!
//! Owns how the database and the simulated machines are read. It reads rows as an operator would, as JSON below
//! readable keys, and does not use the services' own types: what they forget to write is not forgotten here.
//! Judges nothing: that is for [`crate::invariants`], which can so be fed with worlds that never were.

mod audit;
mod read;
mod states;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Deserialize;
use serde_json::Value;
use updraft_protocol::{
    hypervisor::HostReport,
    network::{Routing, Tunnel},
};
use uuid::Uuid;

pub use audit::Audit;
pub use read::{guests, take};
pub use states::tell_of_rows;

/// A cloud at one moment.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Servers by id.
    pub servers: BTreeMap<Uuid, Server>,
    /// Compute's rows of hosts, by name.
    pub hosts: BTreeMap<String, Host>,
    /// What projects use, by compute's own account.
    pub usages: Vec<Usage>,
    /// Volumes kept for servers that do not have them yet.
    pub reservations: Vec<Reservation>,
    /// Networks.
    pub networks: BTreeMap<Uuid, Network>,
    /// Ports by id.
    pub ports: BTreeMap<Uuid, Port>,
    /// Routers by id.
    pub routers: BTreeMap<Uuid, Router>,
    /// Floating IPs by id.
    pub floating: BTreeMap<Uuid, Floating>,
    /// Addresses that are given.
    pub allocations: Vec<Allocation>,
    /// Volumes by id.
    pub volumes: BTreeMap<Uuid, Volume>,
    /// Snapshots by id.
    pub snapshots: BTreeMap<Uuid, Snapshot>,
    /// Images by id.
    pub images: BTreeMap<Uuid, Image>,
    /// Objects that hold images' bytes.
    pub objects: Vec<Object>,
    /// What is on the hosts' machines, by name.
    pub machines: BTreeMap<String, Found>,
}

/// A router's row, as far as anything depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Router {
    /// Whether it shall be.
    pub goal: String,
    /// Whether it shall route.
    pub admin_state_up: bool,
    /// The host that shall have it.
    pub host: Option<String>,
}

/// A floating IP's row, as far as anything depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Floating {
    /// The address.
    pub address: IpAddr,
    /// The address inside that it leads to.
    pub fixed: Option<IpAddr>,
    /// The router in between.
    pub router: Option<Uuid>,
}

/// A network's row, as far as anything depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Where its packets are.
    pub segment: Segment,
}

/// Where packets are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Segment {
    /// How they are told apart.
    pub network_type: String,
}

/// A server's row, as far as anything depends on it.
#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    /// Its project.
    pub project_id: String,
    /// What it is made of.
    pub flavor: Flavor,
    /// Whether it shall be.
    pub goal: String,
    /// What it was when it last settled.
    pub state: String,
    /// Where it is.
    pub placement: Option<Placement>,
    /// Its interfaces.
    pub nics: Vec<Value>,
    /// Its volumes.
    pub volumes: Vec<Attached>,
    /// Whether its volumes bind it to a host.
    pub image: Option<Uuid>,
    /// What is being done with it.
    pub action: Option<Value>,
    /// A resize under way or to be confirmed.
    pub resize: Option<Resize>,
    /// A move to another host.
    #[serde(default)]
    pub migration: Option<Migration>,
    /// Why it is in error.
    pub fault: Option<Fault>,
}

/// The part of a flavor that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Flavor {
    /// Virtual processors.
    pub vcpus: u64,
    /// Memory.
    pub ram_mib: u64,
    /// Root disk.
    pub disk_gib: u64,
}

/// The host of a server.
#[derive(Clone, Debug, Deserialize)]
pub struct Placement {
    /// Its name.
    pub host: String,
    /// What the server shall be there.
    pub goal: String,
}

/// A volume in a server's row.
#[derive(Clone, Debug, Deserialize)]
pub struct Attached {
    /// The volume.
    pub volume: Uuid,
    /// The attachment.
    pub attachment: Uuid,
    /// Whether it shall be attached.
    pub goal: String,
    /// The device, once the guest sees it.
    pub device: Option<String>,
}

/// A move to another host.
#[derive(Clone, Debug, Deserialize)]
pub struct Migration {
    /// The host that has the disk.
    pub from: String,
    /// How far it is.
    pub phase: String,
}

/// A resize.
#[derive(Clone, Debug, Deserialize)]
pub struct Resize {
    /// What the server was made of before.
    pub old_flavor: Flavor,
    /// How far it is.
    pub phase: String,
}

/// Why a server is in error.
#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    /// In a sentence.
    pub message: String,
}

/// Compute's row of a host.
#[derive(Clone, Debug, Deserialize)]
pub struct Host {
    /// What is claimed of it, by server.
    pub claims: BTreeMap<Uuid, Claim>,
    /// What it has, by its own word.
    pub report: HostReport,
}

/// What a server takes of its host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// Virtual processors.
    pub vcpus: u64,
    /// Memory.
    pub ram_mib: u64,
    /// Disk.
    pub disk_gib: u64,
}

/// What a project uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// The project.
    pub project_id: String,
    /// Servers.
    pub instances: u64,
    /// Their virtual processors.
    pub cores: u64,
    /// Their memory.
    pub ram_mib: u64,
}

/// A volume kept for a server that does not have it yet.
#[derive(Clone, Debug, Deserialize)]
pub struct Reservation {
    /// The attachment to be.
    pub attachment: Uuid,
    /// The volume.
    pub volume: Uuid,
}

/// A port's row.
#[derive(Clone, Debug, Deserialize)]
pub struct Port {
    /// Its network.
    pub network: Uuid,
    /// Its MAC address.
    pub mac_address: String,
    /// Its addresses.
    pub fixed_ips: Vec<Fixed>,
    /// Its security groups.
    pub security_groups: BTreeSet<Uuid>,
    /// What kind of thing has it.
    pub device_owner: String,
    /// What has it.
    pub device_id: String,
    /// The server that asked for it, and with which interface.
    pub nic: Option<Nic>,
    /// The host that it shall be plugged on.
    pub host: Option<String>,
    /// Whether it shall be.
    pub goal: String,
    /// What users see.
    pub status: String,
    /// By host: what is wanted there.
    pub bindings: BTreeMap<String, Value>,
}

/// An address of a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Fixed {
    /// Its subnet.
    pub subnet: Uuid,
    /// The address.
    pub address: IpAddr,
}

/// The server that a port was asked for by.
#[derive(Clone, Debug, Deserialize)]
pub struct Nic {
    /// The server.
    pub server: Uuid,
    /// The interface.
    pub index: u64,
}

/// An address that is given.
#[derive(Clone, Debug, Deserialize)]
pub struct Allocation {
    /// The subnet.
    pub subnet: Uuid,
    /// The address.
    pub address: IpAddr,
    /// To which port.
    pub port: Uuid,
}

/// A volume's row.
#[derive(Clone, Debug, Deserialize)]
pub struct Volume {
    /// Its file.
    pub file: File,
    /// The server's hold on it.
    pub attachment: Option<Attachment>,
}

/// A snapshot's row.
#[derive(Clone, Debug, Deserialize)]
pub struct Snapshot {
    /// Its file.
    pub file: File,
}

/// A file of a volume or snapshot.
#[derive(Clone, Debug, Deserialize)]
pub struct File {
    /// What is wanted, by number.
    pub generation: u64,
    /// What is so.
    pub served: u64,
    /// Whether it shall be.
    pub present: bool,
    /// Where it is.
    pub host: Option<String>,
    /// Why it cannot be made.
    pub failure: Option<String>,
    /// What it starts as: `{"File": ID}` if it is a copy.
    pub source: Value,
}

impl File {
    /// What it is being copied from, while it is.
    #[must_use]
    pub fn copies(&self) -> Option<Uuid> {
        let under_way = self.present && self.served == 0 && self.failure.is_none();
        self.source["File"].as_str().filter(|_| under_way)?.parse().ok()
    }
}

/// A server's hold on a volume.
#[derive(Clone, Debug, Deserialize)]
pub struct Attachment {
    /// Its id.
    pub id: Uuid,
    /// The server.
    pub server: Uuid,
    /// The host that reaches the volume.
    pub host: Option<String>,
    /// How far it is.
    pub state: String,
}

/// An image's row.
#[derive(Clone, Debug, Deserialize)]
pub struct Image {
    /// How far it is.
    pub status: String,
    /// Who writes its bytes now.
    pub upload: Option<Value>,
    /// Its bytes.
    pub content: Option<Content>,
    /// Set when it was deleted.
    pub deleted_at: Option<u64>,
}

/// An image's bytes, as its row says.
#[derive(Clone, Debug, Deserialize)]
pub struct Content {
    /// The upload that wrote them.
    pub upload: Uuid,
    /// How many.
    pub size_bytes: u64,
}

/// An object that holds an image's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name: `images/IMAGE/UPLOAD`.
    pub path: String,
    /// How large it is.
    pub size_bytes: u64,
}

/// What is on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Guests.
    pub guests: BTreeMap<Uuid, Guest>,
    /// Servers that have files of their own.
    pub disks: BTreeSet<Uuid>,
    /// Ports that have a tap.
    pub taps: BTreeSet<Uuid>,
    /// What DHCP servers give: network, MAC address and address.
    pub leases: BTreeSet<(Uuid, String, IpAddr)>,
    /// Files of volumes and snapshots.
    pub files: BTreeSet<Uuid>,
    /// Volumes whose files are served to other hosts: the attachment, and the host.
    pub exports: BTreeMap<Uuid, (Uuid, String)>,
    /// Security groups whose rules are in force.
    pub filters: BTreeSet<Uuid>,
    /// Networks' tunnels, by network.
    pub tunnels: BTreeMap<Uuid, Tunnel>,
    /// What the routers there do, by router.
    pub routers: BTreeMap<Uuid, Routing>,
    /// Servers that the compute node's own store tells of.
    pub remembered: BTreeSet<Uuid>,
    /// Volumes and snapshots whose files the volume node's own store says that there shall be.
    pub to_be_made: BTreeSet<Uuid>,
    /// Whether a fault ever took what a driver had made here.
    pub has_lost_state: bool,
    /// Whether its power has ever failed, so that its guests were off though nobody asked for that.
    pub has_lost_power: bool,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Whether it runs.
    pub running: bool,
    /// The volumes plugged into it, as their serials.
    pub serials: BTreeSet<String>,
    /// Those that other hosts serve: the serial, and the export's name.
    pub remote: BTreeMap<String, String>,
    /// Its interfaces.
    pub macs: BTreeSet<String>,
}

/// How a guest shows a volume: the first 20 characters of its id, all that virtio has room for.
#[must_use]
pub fn serial(volume: Uuid) -> String {
    volume.to_string().chars().take(20).collect()
}

impl Server {
    /// Whether it shall be.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.goal == "Present"
    }

    /// The host that it is to be on.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.placement.as_ref().map(|placement| placement.host.as_str())
    }

    /// Whether this host has its disk, while another one has the server.
    #[must_use]
    pub fn is_parked_on(&self, host: &str) -> bool {
        let from = self.migration.as_ref().map(|migration| migration.from.as_str());
        self.is_wanted() && from == Some(host)
    }

    /// Whether it has a guest while nothing is going on.
    #[must_use]
    pub fn is_built(&self) -> bool {
        matches!(self.state.as_str(), "active" | "stopped" | "resized")
    }
}

impl Census {
    /// Everything there is, a line each, without what changes by itself.
    #[must_use]
    pub fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        let mut tell = |what: &str, ids: Vec<String>| {
            lines.extend(ids.into_iter().map(|id| format!("{what} {id}")));
        };
        let ids = |ids: Vec<&Uuid>| ids.into_iter().map(Uuid::to_string).collect::<Vec<_>>();
        tell("server", ids(self.servers.keys().collect()));
        tell("network", ids(self.networks.keys().collect()));
        tell("port", ids(self.ports.keys().collect()));
        tell("router", ids(self.routers.keys().collect()));
        tell("floating IP", ids(self.floating.keys().collect()));
        tell("volume", ids(self.volumes.keys().collect()));
        tell("snapshot", ids(self.snapshots.keys().collect()));
        tell("image", ids(self.images.keys().collect()));
        tell("object", self.objects.iter().map(|object| object.path.clone()).collect());
        tell("usage", self.usages.iter().map(|usage| format!("{usage:?}")).collect());
        let kept = self.reservations.iter().map(|kept| &kept.attachment);
        tell("reservation", ids(kept.collect()));
        let given =
            self.allocations.iter().map(|given| format!("{} {}", given.subnet, given.address));
        tell("allocation", given.collect());
        for (name, host) in &self.hosts {
            tell(&format!("claim {name}"), ids(host.claims.keys().collect()));
        }
        for (name, machine) in &self.machines {
            tell(&format!("guest {name}"), ids(machine.guests.keys().collect()));
            tell(&format!("disk {name}"), ids(machine.disks.iter().collect()));
            tell(&format!("tap {name}"), ids(machine.taps.iter().collect()));
            tell(&format!("filter {name}"), ids(machine.filters.iter().collect()));
            tell(&format!("tunnel {name}"), ids(machine.tunnels.keys().collect()));
            tell(&format!("router {name}"), ids(machine.routers.keys().collect()));
            tell(&format!("file {name}"), ids(machine.files.iter().collect()));
            tell(&format!("export {name}"), ids(machine.exports.keys().collect()));
            tell(&format!("row {name}"), ids(machine.remembered.iter().collect()));
            let leases = machine.leases.iter().map(|(_, mac, address)| format!("{mac} {address}"));
            tell(&format!("lease {name}"), leases.collect());
        }
        lines
    }
}
