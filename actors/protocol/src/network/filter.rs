//! What a host is told of a security group.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use updraft_runtime::message;
use uuid::Uuid;

use super::{L2Agent, Server};

/// "Let pass on your host what this security group lets pass." Fenced by the generation of the group on that
/// host. A port names its groups in its own want; a group of which nothing was told yet lets nothing pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// What is wanted.
    pub want: FilterWant,
}
message!(call Filter = L2Agent / "filter", Fenced,
    from ["control"], to ["compute"], reply Filtered, class Bulk);

/// "What is wanted of this security group on my host?" As [`GetPort`](super::GetPort).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetFilter {
    /// The group.
    pub group: Uuid,
}
message!(call GetFilter = Server / "get_filter", Fenced,
    from ["compute"], to ["control"], reply Option<FilterWant>, class Bulk);

/// What an L2 agent is to make of a security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterWant {
    /// The group.
    pub group: Uuid,
    /// Grows whenever the rest changes.
    pub generation: u64,
    /// Whether a port of the host has it; if none has, nothing of it shall be left.
    pub present: bool,
    /// Whether replies to what may pass, pass by themselves.
    pub stateful: bool,
    /// What may pass; nothing else does.
    pub rules: Vec<FilterRule>,
    /// Who is in the groups that rules name as peers.
    pub peers: BTreeMap<Uuid, BTreeSet<IpNet>>,
}

impl FilterWant {
    /// A group of which the host shall have nothing.
    #[must_use]
    pub fn absent(group: Uuid, generation: u64) -> Self {
        let (rules, peers) = (Vec::new(), BTreeMap::new());
        Self { group, generation, present: false, stateful: true, rules, peers }
    }
}

/// What an L2 agent made of a security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filtered {
    /// The generation served.
    pub generation: u64,
}

/// Which packets a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// To the port.
    #[serde(rename = "ingress")]
    Ingress,
    /// From the port.
    #[serde(rename = "egress")]
    Egress,
}

impl Direction {
    /// As clients write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// Which internet protocol a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EtherType {
    /// The fourth.
    #[serde(rename = "IPv4")]
    V4,
    /// The sixth.
    #[serde(rename = "IPv6")]
    V6,
}

impl EtherType {
    /// As clients write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// What may pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FilterRule {
    /// Which way.
    pub direction: Direction,
    /// Which internet protocol.
    pub ethertype: EtherType,
    /// The number of the protocol in it; `None` is any.
    pub protocol: Option<u8>,
    /// First and last of the destination's ports, or ICMP's type and code; `None` is any.
    pub ports: (Option<u16>, Option<u16>),
    /// The other end.
    pub peer: Peer,
}

/// The other end of what may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    /// Anybody.
    Any,
    /// Whoever has such an address.
    Net(IpNet),
    /// Whoever is in this group, by [`FilterWant::peers`].
    Group(Uuid),
}

/// Protocols that rules are particular about, by number.
pub mod protocol_number {
    /// ICMP in IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// IPv6's routing header.
    pub const IPV6_ROUTE: u8 = 43;
    /// IPv6's fragment header.
    pub const IPV6_FRAGMENT: u8 = 44;
    /// ICMP in IPv6.
    pub const ICMP6: u8 = 58;
    /// IPv6's destination options.
    pub const IPV6_OPTIONS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;

    /// Whether it has ports.
    #[must_use]
    pub const fn has_ports(number: u8) -> bool {
        matches!(number, TCP | UDP | DCCP | SCTP | UDP_LITE)
    }
}
