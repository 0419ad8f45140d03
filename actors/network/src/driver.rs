//! What the agent asks of its host: bridges, taps, tunnels, DHCP servers and routers.
//!
//! Three traits, each with a simulated implementation ([`sim`]) and one for Linux ([`linux`]). Every operation
//! is idempotent and may be repeated at any moment, after any outcome. An operation that comes late does not make
//! a tap, a tunnel, a filter, a DHCP server or a router older than it is: it is refused when it would write
//! ([`DriverError::Stale`]). A driver touches only what carries its own mark; it never decides what is wanted and never retries: the agent does.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    net::IpAddr,
    time::Duration,
};

use async_trait::async_trait;
use updraft_protocol::network::{
    AllowedPair, DhcpWant, FilterWant, OverlayWant, RouterWant, Tunnel,
};
use uuid::Uuid;

pub mod judge;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod names;
mod newest;
pub mod sim;

/// A tap as the host shall have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// The port it stands for; names the tap.
    pub port: Uuid,
    /// Of the want that it serves; kept with the tap.
    pub generation: u64,
    /// The network on whose bridge it is.
    pub network: Uuid,
    /// The only address that frames from the guest may come from; lower-case, colons.
    pub mac_address: String,
    /// The only addresses that packets from the guest may come from, besides those of `pairs`.
    pub addresses: Vec<IpAddr>,
    /// Largest packet.
    pub mtu: u32,
    /// Whether any of this is checked at all.
    pub secured: bool,
    /// The security groups that say what may pass.
    pub groups: BTreeSet<Uuid>,
    /// What else packets from the guest may come from.
    pub pairs: BTreeSet<AllowedPair>,
}

/// A tap as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTap {
    /// Its port and the generation that made it so; `None` if the tap is not this agent's.
    pub port: Option<(Uuid, u64)>,
    /// The bridge it is on.
    pub bridge: Option<String>,
    /// Largest packet.
    pub mtu: u32,
    /// Whether it is up, and all that passes it is checked as far as its port asks for it.
    pub guarded: bool,
}

/// A bridge as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBridge {
    /// Its network; `None` if the bridge is not this agent's.
    pub network: Option<Uuid>,
    /// How many devices are on it.
    pub devices: usize,
}

/// A network's tunnel as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundOverlay {
    /// Its network and the generation that made it so; `None` if the device is not this agent's.
    pub network: Option<(Uuid, u64)>,
    /// The bridge it is on.
    pub bridge: Option<String>,
    /// What it does; `None` if it is down, or sends anything anywhere that no tunnel of an agent's does.
    pub tunnel: Option<Tunnel>,
}

/// Taps, tunnels and bridges of the host, by device name, as far as they are or could be an agent's, and its filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L2Inventory {
    /// Devices that are named as taps are.
    pub taps: BTreeMap<String, FoundTap>,
    /// Devices that are named as bridges are.
    pub bridges: BTreeMap<String, FoundBridge>,
    /// Devices that are named as tunnels are.
    pub overlays: BTreeMap<String, FoundOverlay>,
    /// Security groups, each with the generation that is in force; `None` when nothing was ever told of it.
    pub filters: BTreeMap<Uuid, Option<u64>>,
}

/// Bridges and taps of one host, and what may pass them.
#[async_trait]
pub trait L2Driver: Send + Sync + 'static {
    /// The network has a bridge that is up, with this largest packet.
    async fn ensure_bridge(&self, network: Uuid, mtu: u32) -> Result<(), DriverError>;

    /// The port has a tap that is up, on its network's bridge, guarded against foreign source addresses, and lets
    /// pass what its security groups let pass and nothing else; a group of which nothing is known lets nothing
    /// pass. What was let pass before and is not now has ended.
    async fn ensure_tap(&self, tap: &TapSpec) -> Result<(), DriverError>;

    /// The port has no tap of this agent's.
    async fn remove_tap(&self, port: Uuid) -> Result<(), DriverError>;

    /// A bridge of this agent's on which nothing is left is gone.
    async fn remove_bridge_if_empty(&self, network: Uuid) -> Result<(), DriverError>;

    /// The security group lets pass exactly this, on all taps at once. What was let pass before and is not now has
    /// ended.
    async fn ensure_filter(&self, want: &FilterWant) -> Result<(), DriverError>;

    /// Nothing is left of the security group. An error as long as a tap has it.
    async fn remove_filter(&self, group: Uuid) -> Result<(), DriverError>;

    /// The network's bridge, which exists, is connected with those of the hosts that the want names: what is for all
    /// goes to each of them, what is for a MAC address of theirs to the host that has it, and nothing else to any. DHCP
    /// servers neither hear nor are heard there: each host has one of its own, with the same address. The want has a
    /// tunnel.
    async fn ensure_overlay(&self, want: &OverlayWant) -> Result<(), DriverError>;

    /// The network has no tunnel of this agent's.
    async fn remove_overlay(&self, network: Uuid) -> Result<(), DriverError>;

    /// What there is.
    async fn inventory(&self) -> Result<L2Inventory, DriverError>;

    /// Nothing that carries this agent's mark is left, and what was changed on the host is as before.
    async fn purge(&self) -> Result<(), DriverError>;
}

/// Where a DHCP server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Differs when the network's namespace was made anew: what listened in the old one listens no longer.
    pub namespace: u64,
}

/// A DHCP server's namespace as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundDhcp {
    /// Whether it is this agent's.
    pub mine: bool,
    /// The generation that its server last served in full.
    pub generation: Option<u64>,
}

/// Whether a DHCP server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Answering,
    /// It does not, for this reason.
    Down(String),
}

/// DHCP servers of one host, each in a namespace of its own on its network's bridge.
#[async_trait]
pub trait DhcpDriver: Send + Sync + 'static {
    /// The network's server answers exactly these leases. The bridge exists.
    async fn serve(&self, want: &DhcpWant) -> Result<Serving, DriverError>;

    /// The network has neither server nor namespace of this agent's.
    async fn stop(&self, network: Uuid) -> Result<(), DriverError>;

    /// Whether the network's server lives.
    async fn health(&self, network: Uuid) -> Result<Health, DriverError>;

    /// The networks that have a namespace.
    async fn inventory(&self) -> Result<BTreeMap<Uuid, FoundDhcp>, DriverError>;

    /// Nothing that carries this agent's mark is left.
    async fn purge(&self) -> Result<(), DriverError>;
}

/// A router as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRouter {
    /// Whether it is this agent's.
    pub mine: bool,
    /// The generation that made it as it is; `None` if none did.
    pub generation: Option<u64>,
}

/// Routers of one host, each in a namespace of its own on its networks' bridges.
#[async_trait]
pub trait L3Driver: Send + Sync + 'static {
    /// The router does exactly this: it stands at its ports and at no other, and what it rewrites is changed as a whole.
    /// What was let through by an address that it no longer has has ended. Its neighbours know where its addresses are
    /// now. The networks' own bridges exist. The want has a routing.
    async fn ensure_router(&self, want: &RouterWant) -> Result<(), DriverError>;

    /// Nothing of this agent's is left of the router: nobody answers for its addresses, and what is asked for an older
    /// generation makes it no more. Another host may have it next.
    async fn remove_router(&self, router: Uuid, generation: u64) -> Result<(), DriverError>;

    /// The routers that there are.
    async fn inventory(&self) -> Result<BTreeMap<Uuid, FoundRouter>, DriverError>;

    /// Nothing that carries this agent's mark is left.
    async fn purge(&self) -> Result<(), DriverError>;
}

/// Why a driver did not do it, or does not know.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// What is wanted cannot be, on any host.
    #[error("{0}")]
    Invalid(String),
    /// The name is taken by something that is not this agent's, which is left alone.
    #[error("{name} exists on this host and was not made by this agent: rename or remove it")]
    Foreign {
        /// The name.
        name: String,
    },
    /// A newer generation was asked for before; nothing was done.
    #[error(
        "generation {generation} is older than {newest}, which was asked for before: nothing was done"
    )]
    Stale {
        /// What was asked for.
        generation: u64,
        /// The newest.
        newest: u64,
    },
    /// The host said no.
    #[error("{doing}")]
    Failed {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// No answer in time; it may or may not have happened.
    #[error("no answer within {} ms: it may or may not have happened", .0.as_millis())]
    Silent(Duration),
}

impl DriverError {
    /// What was being done, and why it failed.
    pub fn failed(
        doing: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Failed { doing: doing.into(), source: source.into() }
    }

    /// The error and everything that led to it, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut words = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            words.push_str(": ");
            words.push_str(&error.to_string());
            next = error.source();
        }
        words
    }
}

/// Removes everything that the agent of this host has made: routers and DHCP servers first, since they hold on to bridges.
/// `ports` are those that the agent remembers; their taps go though they should have lost their mark. Goes on
/// after an error, and returns the first.
pub async fn purge(
    l2: &dyn L2Driver,
    dhcp: &dyn DhcpDriver,
    l3: &dyn L3Driver,
    ports: &BTreeSet<Uuid>,
) -> Result<(), DriverError> {
    let mut done = l3.purge().await;
    done = done.and(dhcp.purge().await);
    for port in ports {
        done = done.and(l2.remove_tap(*port).await);
    }
    done.and(l2.purge().await)
}
