//! Ports, what is wanted of them on which host, and the servers that asked for them.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use updraft_protocol::{
    compute::Goal,
    network::{Allocate, PortWant, Release},
};
use updraft_runtime::{
    env::UnixMicros,
    notify::Notice,
    rpc::TraceContext,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

use super::{FilterRow, Lease, Standard};

/// Who ports belong to, in neutron's words.
pub mod owner {
    /// All that the network service itself makes.
    pub const NETWORK_PREFIX: &str = "network:";
    /// All guests.
    pub const COMPUTE_PREFIX: &str = "compute:";
    /// DHCP agents.
    pub const DHCP: &str = "network:dhcp";
    /// A router's inner side.
    pub const ROUTER_INTERFACE: &str = "network:router_interface";
    /// A router's outer side.
    pub const ROUTER_GATEWAY: &str = "network:router_gateway";
    /// The holder of a floating IP's address.
    pub const FLOATING_IP: &str = "network:floatingip";
    /// The device of the one DHCP port of a network.
    pub const DHCP_DEVICE: &str = "reserved_dhcp_port";
}

/// An address of a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fixed {
    /// Its subnet.
    pub subnet: Uuid,
    /// The address.
    pub address: IpAddr,
}

/// A further address that may come out of a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressPair {
    /// An address or a prefix, as the client wrote it.
    pub ip_address: String,
    /// Lower-case, colons.
    pub mac_address: String,
}

impl AddressPair {
    /// The prefix, all of whose addresses are meant.
    #[must_use]
    pub fn net(&self) -> Option<IpNet> {
        let text = &self.ip_address;
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
        Some(IpNet::trunc(&net))
    }
}

/// What clients see of a port's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortStatus {
    /// Nothing plugs it, or it shall be down.
    #[default]
    #[serde(rename = "DOWN")]
    Down,
    /// Agents are at work.
    #[serde(rename = "BUILD")]
    Build,
    /// It works.
    #[serde(rename = "ACTIVE")]
    Active,
    /// No agent is ever asked about it.
    #[serde(rename = "N/A")]
    NotApplicable,
}

impl PortStatus {
    /// As clients read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::Build => "BUILD",
            Self::Active => "ACTIVE",
            Self::NotApplicable => "N/A",
        }
    }
}

/// The server that a port was asked for by, through the compute service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// The server.
    pub server: Uuid,
    /// The port's place among the server's interfaces.
    pub index: u32,
    /// The server's host name.
    pub hostname: String,
    /// Whether the port was made for the server and goes with it.
    pub made: bool,
}

impl Nic {
    /// The interface for which a server asks.
    #[must_use]
    pub fn asked(request: &Allocate, index: u32, made: bool) -> Self {
        Self { server: request.server, index, hostname: request.hostname.clone(), made }
    }
}

/// What is wanted of a port on one host, and what its L2 and DHCP agents have said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// What is wanted, its generation included.
    pub want: PortWant,
    /// The newest generation that the L2 agent serves.
    pub served_generation: u64,
    /// The device that it made.
    pub device: Option<String>,
    /// The addresses that the DHCP agent answers for.
    pub leases: BTreeSet<Lease>,
    /// Its host is down by an operator's word: what it may still have is waited for no longer, and cleared away when it
    /// is back.
    #[serde(default)]
    pub down: bool,
}

impl Binding {
    /// Whether the L2 agent serves what is wanted.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.served_generation == self.want.generation
    }

    /// Whether nothing of the port is left on the host, as its agents have confirmed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        !self.want.present && self.is_served() && self.leases.is_empty()
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRow {
    /// The id.
    pub id: Uuid,
    /// Whose it is; nobody's if empty.
    pub project_id: String,
    /// The name.
    pub name: String,
    /// Its network.
    pub network: Uuid,
    /// Lower-case, colons.
    pub mac_address: String,
    /// Its addresses.
    pub fixed_ips: Vec<Fixed>,
    /// Whether it shall carry packets.
    pub admin_state_up: bool,
    /// What has it, such as a server's id.
    pub device_id: String,
    /// What kind of thing that is.
    pub device_owner: String,
    /// Its security groups.
    pub security_groups: BTreeSet<Uuid>,
    /// Whether what comes out of it is checked.
    pub port_security_enabled: bool,
    /// What else may come out of it.
    pub allowed_address_pairs: Vec<AddressPair>,
    /// What kind of interface it shall be.
    pub vnic_type: String,
    /// What an administrator tells the host.
    pub profile: Map<String, Value>,
    /// The state, as its plan last found it.
    pub status: PortStatus,
    /// What every resource has.
    pub standard: Standard,

    /// Whether it shall be. One that shall not be is no client's to see, and goes when all hosts let go.
    pub goal: Goal,
    /// The host that it shall be plugged on.
    pub host: Option<String>,
    /// The server that asked for it.
    pub nic: Option<Nic>,
    /// The servers that clients took it away from, until the compute service knows.
    #[serde(default)]
    pub taken_from: Vec<Nic>,
    /// The newest generation of all its wants.
    pub generation: u64,
    /// By host.
    pub bindings: BTreeMap<String, Binding>,
    /// The generation of which the compute node was told that it works.
    pub told_generation: u64,
    /// How often its floating addresses changed.
    pub floating_changes: u64,
    /// Of how many of those the compute service knows.
    pub floating_told: u64,
    /// The request that last changed what is wanted.
    pub trace: TraceContext,
}

impl PortRow {
    /// Whether it shall be.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.goal == Goal::Present
    }

    /// Whether the network service made it for itself.
    #[must_use]
    pub fn is_infrastructure(&self) -> bool {
        self.device_owner.starts_with(owner::NETWORK_PREFIX)
    }

    /// Whether a router stands at it.
    #[must_use]
    pub fn is_leg(&self) -> bool {
        matches!(self.device_owner.as_str(), owner::ROUTER_INTERFACE | owner::ROUTER_GATEWAY)
    }

    /// The index of ports by security group and host, for as long as the host may have something of the port.
    pub const BY_FILTER: &'static str = "filter";
    /// The index of ports by security group and each address that counts as a member of it.
    pub const BY_MEMBER: &'static str = "member";

    /// The index of ports by network, the host that shall have them, and MAC address.
    pub const BY_PLACE: &'static str = "place";

    /// The network, host and MAC address that an entry of that index says.
    #[must_use]
    pub fn read_place(value: &str) -> Option<(&str, &str, &str)> {
        let (network, rest) = value.split_once('/')?;
        let (host, mac) = rest.rsplit_once('/')?;
        Some((network, host, mac))
    }

    fn place(&self) -> Option<IndexEntry> {
        let host = self.host.as_ref()?;
        let value = format!("{}/{host}/{}", self.network, self.mac_address);
        let is_there = self.is_leg() || self.current().is_some_and(|binding| binding.want.present);
        is_there.then(|| IndexEntry::many(Self::BY_PLACE, &value))
    }

    /// The addresses by which it is a member of its security groups. One that may send from any address at all
    /// does not make everybody a member.
    fn nets(&self) -> impl Iterator<Item = IpNet> {
        let own = self.fixed_ips.iter().map(|fixed| IpNet::from(fixed.address));
        let pairs = self.allowed_address_pairs.iter().filter_map(AddressPair::net);
        own.chain(pairs.filter(|net| net.prefix_len() > 0))
    }

    /// The port once a server on a host has it as the interface of this index.
    #[must_use]
    pub fn bound(&self, request: &Allocate, index: u32, device_owner: String) -> Self {
        let made = self.nic.as_ref().is_some_and(|nic| nic.made);
        Self {
            device_id: request.server.to_string(),
            device_owner,
            host: Some(request.host.clone()),
            nic: Some(Nic::asked(request, index, made)),
            ..self.clone()
        }
    }

    /// The port once its server needs it no longer.
    #[must_use]
    pub fn unbound(&self) -> Self {
        Self {
            device_id: String::new(),
            device_owner: String::new(),
            host: None,
            nic: None,
            ..self.clone()
        }
    }

    /// The hosts that may have something of it.
    pub fn hosts(&self) -> impl Iterator<Item = &String> {
        let routed = self.host.as_ref().filter(|_| self.is_leg());
        routed.into_iter().chain(self.bindings.keys())
    }

    /// What is wanted on the host that it shall be plugged on.
    #[must_use]
    pub fn current(&self) -> Option<&Binding> {
        self.bindings.get(self.host.as_ref()?)
    }
}

impl Record for PortRow {
    const TABLE: &'static str = "network/port";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn notices(old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
        super::notices::of_port(old, new)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let mut indexes =
            vec![IndexEntry::unique("mac", &format!("{}/{}", self.network, self.mac_address))];
        let on_host = |host| IndexEntry::many("host", &format!("{}/{host}", self.network));
        indexes.extend(self.hosts().map(on_host));
        let servers = self.bindings.values().map(|binding| binding.want.server);
        let servers: BTreeSet<Uuid> =
            servers.chain(self.nic.iter().chain(&self.taken_from).map(|nic| nic.server)).collect();
        indexes.extend(servers.iter().map(|server| IndexEntry::many("server", server)));
        for (host, Binding { want, .. }) in &self.bindings {
            let key = |group: &Uuid| FilterRow::key_of(*group, host);
            let groups = want.groups.iter();
            indexes.extend(groups.map(|group| IndexEntry::many(Self::BY_FILTER, &key(group))));
        }
        if !self.is_present() {
            return indexes;
        }
        indexes.push(IndexEntry::many("project", &self.project_id));
        indexes.push(IndexEntry::many("network", &self.network));
        indexes.extend(self.place());
        if !self.device_id.is_empty() {
            indexes.push(IndexEntry::many("device", &self.device_id));
        }
        let groups = self.security_groups.iter();
        indexes.extend(groups.map(|group| IndexEntry::many("group", group)));
        for net in self.nets() {
            let member =
                |group: &Uuid| IndexEntry::many(Self::BY_MEMBER, &format!("{group}/{net}"));
            indexes.extend(self.security_groups.iter().map(member));
        }
        indexes
    }
}

/// What is remembered of a server that asked for ports, so that what comes late does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// The server.
    pub server: Uuid,
    /// The newest generation of the server's want that was heard.
    pub generation: u64,
    /// The host that asked with it.
    pub host: Option<String>,
    /// When its ports were released, if they are.
    pub released_at: Option<UnixMicros>,
}

impl DeviceRow {
    /// What is remembered once ports were asked for; `Err` has the generation known if this one comes late.
    pub fn asked(known: Option<&Self>, request: &Allocate) -> Result<Self, u64> {
        if let Some(known) = known {
            let released = known.released_at.is_some();
            let late = match request.generation.cmp(&known.generation) {
                Ordering::Less => true,
                Ordering::Equal => released || known.host.as_ref() != Some(&request.host),
                Ordering::Greater => false,
            };
            if late {
                return Err(known.generation);
            }
        }
        Ok(Self {
            server: request.server,
            generation: request.generation,
            host: Some(request.host.clone()),
            released_at: None,
        })
    }

    /// What is remembered once its ports were let go of.
    #[must_use]
    pub fn released(known: Option<&Self>, request: &Release, now: UnixMicros) -> Self {
        Self {
            server: request.server,
            generation: known.map_or(0, |row| row.generation).max(request.generation),
            host: None,
            released_at: Some(known.and_then(|row| row.released_at).unwrap_or(now)),
        }
    }
}

impl Record for DeviceRow {
    const TABLE: &'static str = "network/device";

    fn key(&self) -> String {
        self.server.to_string()
    }
}
