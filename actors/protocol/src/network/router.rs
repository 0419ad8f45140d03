//! What a host is told of the routers that it has.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use updraft_runtime::message;
use uuid::Uuid;

use super::{L2Agent, Server};

/// "Route on your host", or no longer. Fenced by the router's generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServeRouter {
    /// What is wanted.
    pub want: RouterWant,
}
message!(call ServeRouter = L2Agent / "route", Fenced,
    from ["control"], to ["compute"], reply RouterServed, class Bulk);

/// "What is wanted of this router on my host?" As [`GetPort`](super::GetPort); what may not be made there yet is not
/// told either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRouter {
    /// The router.
    pub router: Uuid,
}
message!(call GetRouter = Server / "get_router", Fenced,
    from ["compute"], to ["control"], reply Option<RouterWant>, class Bulk);

/// What a host is to make of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterWant {
    /// The router.
    pub router: Uuid,
    /// Grows whenever the rest changes.
    pub generation: u64,
    /// What it does; nothing of it shall be left if there is none.
    pub routing: Option<Routing>,
}

impl RouterWant {
    /// A router that the host shall not have.
    #[must_use]
    pub fn absent(router: Uuid, generation: u64) -> Self {
        Self { router, generation, routing: None }
    }
}

/// What a router does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routing {
    /// Where it stands in projects' networks, in the order of its ports.
    pub legs: Vec<Leg>,
    /// Its way out.
    pub outlet: Option<Outlet>,
    /// Further routes: destination and next hop.
    pub routes: Vec<(IpNet, IpAddr)>,
    /// Addresses outside that lead to one inside, in their order.
    pub floating: Vec<FloatingAddress>,
}

impl Routing {
    /// Where it stands, its way out among it.
    pub fn all_legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.iter().chain(self.outlet.iter().map(|outlet| &outlet.leg))
    }

    /// The ports that it is made of: those that it stands at, and those that hold floating addresses.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<Uuid> {
        let legs = self.all_legs().map(|leg| leg.port);
        legs.chain(self.floating.iter().map(|floating| floating.port)).collect()
    }

    /// The networks whose own bridges it stands on.
    pub fn bridged(&self) -> impl Iterator<Item = &Leg> {
        let outer = self.outlet.iter().filter(|outlet| outlet.physical_network.is_none());
        self.legs.iter().chain(outer.map(|outlet| &outlet.leg))
    }
}

/// A port at which a router stands in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The port.
    pub port: Uuid,
    /// The network.
    pub network: Uuid,
    /// Lower-case, colons.
    pub mac_address: String,
    /// Its addresses, each with the length of its subnet's prefix.
    pub addresses: Vec<IpNet>,
    /// Largest packet.
    pub mtu: u32,
}

/// A router's way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlet {
    /// Where it stands there.
    pub leg: Leg,
    /// The host's way to the network, by the name that the host's settings give it; none is the network's own bridge.
    pub physical_network: Option<String>,
    /// What is beyond is reached over these.
    pub hops: Vec<IpAddr>,
    /// Whether what is inside is seen outside by the router's own address.
    pub snat: bool,
}

/// An address outside that leads to one inside, and by which that one is seen outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FloatingAddress {
    /// The port that holds the address.
    pub port: Uuid,
    /// The address.
    pub address: Ipv4Addr,
    /// The one inside.
    pub fixed: Ipv4Addr,
}

/// What a host made of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterServed {
    /// The generation served.
    pub generation: u64,
}
