//! What the network actors tell each other and the rest.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol};
use uuid::Uuid;

use crate::compute::Seal;

mod filter;
mod overlay;
mod router;

pub use filter::{
    Direction, EtherType, Filter, FilterRule, FilterWant, Filtered, GetFilter, Peer,
    protocol_number,
};
pub use overlay::{Announce, GetOverlay, Overlaid, Overlay, OverlayWant, Tunnel};
pub use router::{
    FloatingAddress, GetRouter, Leg, Outlet, RouterServed, RouterWant, Routing, ServeRouter,
};

/// Calls to this topic reach any network server.
pub const SERVER: &str = "network.server";
/// What network servers understand.
pub struct Server;
protocol!(Server = SERVER);

/// Calls to this topic reach the L2 agent of the host named.
pub const L2: &str = "network.l2";
/// What L2 agents understand.
pub struct L2Agent;
protocol!(L2Agent = L2);

/// Calls to this topic reach the DHCP agent of the host named.
pub const DHCP: &str = "network.dhcp";
/// What DHCP agents understand.
pub struct DhcpAgent;
protocol!(DhcpAgent = DHCP);

/// One interface that a server asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NicRequest {
    /// Its place among the server's interfaces; with the server it names the port made for it.
    pub index: u32,
    /// The network on which a port is to be made, if none is given.
    pub network: Option<Uuid>,
    /// The port to use.
    pub port: Option<Uuid>,
    /// The address that the port shall have.
    pub fixed_ip: Option<IpAddr>,
}

/// "May this project use these networks, ports and security groups?" Asked before a server is made; the
/// caller's principal travels in the context. Answers with what is to be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validate {
    /// What is asked for; a request without network or port means the project's only network.
    pub nics: Vec<NicRequest>,
    /// Names or ids.
    pub security_groups: Vec<String>,
}
message!(call Validate = Server / "validate", Fenced, from ["control"], to ["control"],
    reply Validated);

/// What a request comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    /// The interfaces, each with its network.
    pub nics: Vec<NicRequest>,
    /// The names of the security groups, in the order in which they were asked for.
    pub security_groups: Vec<String>,
}

/// "Give this server its ports on this host" (step 16). Makes what is missing, binds what exists; asked
/// again it answers the same. The caller's principal travels in the context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocate {
    /// The server: the ports' `device_id`.
    pub server: Uuid,
    /// The host to bind to.
    pub host: String,
    /// Of the server's want; an older one than the ports remember is refused.
    pub generation: u64,
    /// The server's project.
    pub project_id: String,
    /// The server's host name.
    pub hostname: String,
    /// What is asked for.
    pub nics: Vec<NicRequest>,
    /// Security groups for ports made here; none means the project's default group.
    pub security_groups: Vec<String>,
    /// That this generation of the server is placed on this host.
    pub seal: Seal,
}
message!(call Allocate = Server / "allocate", Fenced, from ["compute"], to ["control"],
    reply NetworkInfo);

/// A server's network, as far as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// All its ports, by index.
    pub ports: Vec<PortInfo>,
}

/// "This server needs its ports no longer": ports made for it are deleted, the user's own are unbound.
/// Asked only when the guest is confirmed gone. Answers `true` when nothing is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The server.
    pub server: Uuid,
    /// Of the server's want: an [`Allocate`] of an older one that comes late is refused from then on.
    pub generation: u64,
}
message!(call Release = Server / "release", Fenced,
    from ["control"], to ["control"], reply bool);

/// "The server was taken from this host, which is down by an operator's word": its ports wait for that host no longer.
/// Answers `true` when none of them does; before the server's new host has asked for them, some still do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveHost {
    /// The server.
    pub server: Uuid,
    /// The host that it had.
    pub host: String,
}
message!(call LeaveHost = Server / "leave_host", Fenced,
    from ["control"], to ["control"], reply bool);

/// A port as a compute node and a server's view need it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortInfo {
    /// The port.
    pub port: Uuid,
    /// Its network.
    pub network: Uuid,
    /// Its network's name: the key in a server's `addresses`.
    pub network_name: String,
    /// Lower-case, colons.
    pub mac_address: String,
    /// Its addresses.
    pub fixed_ips: Vec<FixedIp>,
    /// Largest packet.
    pub mtu: u32,
    /// The tap device, once the host's L2 agent has made it.
    pub device: Option<String>,
    /// Whether L2 and DHCP agents have said that it works.
    pub up: bool,
}

/// One address of a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FixedIp {
    /// Its subnet.
    pub subnet: Uuid,
    /// The address.
    pub address: IpAddr,
    /// The floating address that leads to it.
    pub floating: Option<IpAddr>,
}

/// "Plug this port on your host" (steps 18 and 19), or unplug it. Fenced by the port's generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plug {
    /// What is wanted.
    pub want: PortWant,
}
message!(call Plug = L2Agent / "plug", Fenced,
    from ["control"], to ["compute"], reply Plugged);

/// "What is wanted of this port on my host?" An agent asks about what it did not know before, and now and then about
/// what it has. Answered with the newest want for the asking host; with none if nothing is wanted there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetPort {
    /// The port.
    pub port: Uuid,
}
message!(call GetPort = Server / "get_port", Fenced,
    from ["compute"], to ["control"], reply Option<PortWant>);

/// What an L2 agent is to make of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortWant {
    /// The port.
    pub port: Uuid,
    /// Grows whenever the rest changes.
    pub generation: u64,
    /// Whether it shall be plugged.
    pub present: bool,
    /// Its network: the bridge.
    pub network: Uuid,
    /// The guest it belongs to.
    pub server: Uuid,
    /// Lower-case, colons.
    pub mac_address: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Largest packet.
    pub mtu: u32,
    /// Whether what enters and leaves it is checked; an unchecked port may send and hear anything but the host.
    #[serde(default)]
    pub secured: bool,
    /// The security groups that say what may pass; each is told of by a [`Filter`] of its own.
    #[serde(default)]
    pub groups: BTreeSet<Uuid>,
    /// What else it may send from.
    #[serde(default)]
    pub pairs: BTreeSet<AllowedPair>,
}

/// A further address that a port may send from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AllowedPair {
    /// Lower-case, colons.
    pub mac_address: String,
    /// An address, or all of a prefix.
    pub net: IpNet,
}

/// What an L2 agent made of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugged {
    /// The generation served.
    pub generation: u64,
    /// The tap device, as the hypervisor driver of the host names it; `None` when unplugged.
    pub device: Option<String>,
}

/// "Answer DHCP on your host for these ports of a network" (steps 18 and 19). Fenced by its generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServeDhcp {
    /// What is wanted.
    pub want: DhcpWant,
}
message!(call ServeDhcp = DhcpAgent / "serve", Fenced,
    from ["control"], to ["compute"], reply DhcpServed);

/// "What is wanted of DHCP for this network on my host?" As [`GetPort`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDhcp {
    /// The network.
    pub network: Uuid,
}
message!(call GetDhcp = Server / "get_dhcp", Fenced,
    from ["compute"], to ["control"], reply Option<DhcpWant>);

/// What a DHCP agent is to serve of one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpWant {
    /// The network.
    pub network: Uuid,
    /// Grows whenever the rest changes.
    pub generation: u64,
    /// Largest packet.
    pub mtu: u32,
    /// Its subnets that have DHCP; none at all stops the server.
    pub subnets: Vec<DhcpSubnet>,
    /// The ports to answer.
    pub leases: Vec<DhcpLease>,
}

/// A subnet as a DHCP server needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpSubnet {
    /// The subnet.
    pub subnet: Uuid,
    /// Its addresses.
    pub cidr: IpNet,
    /// Its router.
    pub gateway: Option<IpAddr>,
    /// Where the agent itself answers, metadata included.
    pub agent_address: IpAddr,
    /// Name servers for guests.
    pub dns_servers: Vec<IpAddr>,
    /// Further routes for guests: destination and next hop.
    pub host_routes: Vec<(IpNet, IpAddr)>,
}

/// One port's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpLease {
    /// Whose it is.
    pub server: Uuid,
    /// Lower-case, colons.
    pub mac_address: String,
    /// The address.
    pub address: IpAddr,
    /// The guest's host name.
    pub hostname: String,
}

/// What a DHCP agent serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpServed {
    /// The generation served.
    pub generation: u64,
}
