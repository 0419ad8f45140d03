//! What hosts tell of their ends of tunnels, and what a host is told of the others'.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use updraft_runtime::message;
use uuid::Uuid;

use super::{L2Agent, Server};

/// "Other hosts reach the tunnels of mine at this address, and it reaches these physical networks." Told at each start
/// and now and then; what is known of a later start stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The address.
    pub address: IpAddr,
    /// How often the host's node had started when it said so.
    pub incarnation: u64,
    /// The physical networks that the host has a way to.
    pub physical_networks: BTreeSet<String>,
}
message!(call Announce = Server / "announce", Fenced, from ["compute"], to ["control"], reply ());

/// "Connect this network on your host with the others that have ports of it." Fenced by the generation of the
/// network on that host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// What is wanted.
    pub want: OverlayWant,
}
message!(call Overlay = L2Agent / "overlay", Fenced,
    from ["control"], to ["compute"], reply Overlaid, class Bulk);

/// "What is wanted of this network's tunnel on my host?" As [`GetPort`](super::GetPort).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetOverlay {
    /// The network.
    pub network: Uuid,
}
message!(call GetOverlay = Server / "get_overlay", Fenced,
    from ["compute"], to ["control"], reply Option<OverlayWant>, class Bulk);

/// What an L2 agent is to make of a network's tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayWant {
    /// The network.
    pub network: Uuid,
    /// Grows whenever the rest changes.
    pub generation: u64,
    /// The tunnel; nothing of it shall be left if there is none.
    pub tunnel: Option<Tunnel>,
}

impl OverlayWant {
    /// A network that has no tunnel on the host.
    #[must_use]
    pub fn absent(network: Uuid, generation: u64) -> Self {
        Self { network, generation, tunnel: None }
    }
}

/// A network's tunnel, as one host has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// The number that tells the network's packets from those of others: its `provider:segmentation_id`.
    pub vni: u32,
    /// Largest packet, without what the tunnel adds.
    pub mtu: u32,
    /// This host's own end.
    pub local: IpAddr,
    /// The ends at other hosts, each with the MAC addresses of the ports there. What is for all goes to each;
    /// what is for a MAC address of none goes nowhere.
    pub peers: BTreeMap<IpAddr, BTreeSet<String>>,
}

/// What an L2 agent made of a network's tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlaid {
    /// The generation served.
    pub generation: u64,
}
