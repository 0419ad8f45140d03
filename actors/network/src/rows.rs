//! What the network service stores, all below `network/`.
//!
//! Owns the rows and what finds them. A row holds wants and observations only; what a client sees is
//! made of it elsewhere. Uniqueness (an address of a subnet, a MAC address of a network, a segment, a
//! project's default security group) is a unique index or a key, so that no two transactions can
//! break it.

mod address;
mod agent;
mod dhcp;
mod filter;
mod l3;
mod network;
mod notices;
mod overlay;
mod port;
mod quota;
mod router;
mod security;

use serde::{Deserialize, Serialize};
use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

pub use crate::ipam::Pool;
pub use address::AllocationRow;
pub use agent::{AgentKind, AgentRow};
pub use dhcp::{DhcpRow, Lease};
pub use filter::FilterRow;
pub use l3::{FloatingIpRow, Gateway, Route};
pub use network::{AddressMode, NetworkRow, NetworkType, Segment, SubnetRow};
pub use overlay::{OverlayRow, TunnelRow};
pub use port::{AddressPair, Binding, DeviceRow, Fixed, Nic, PortRow, PortStatus, owner};
pub use quota::{QuotaRow, Resource};
pub use router::{Placement, RouterRow};
pub use security::{Direction, EtherType, GroupRow, RuleRow};

/// The part of the store that is this service's.
pub const SCOPE: &str = "network/";

/// What neutron keeps of every resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standard {
    /// For people; `None` where neutron has none either.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: UnixMicros,
    /// When it last changed.
    pub updated_at: UnixMicros,
    /// Grows with every change that a client may see.
    pub revision: u64,
}

impl Standard {
    /// Of something made now.
    #[must_use]
    pub fn new(description: Option<String>, now: UnixMicros) -> Self {
        Self { description, created_at: now, updated_at: now, revision: 1 }
    }

    /// Of something that changes now.
    pub fn touch(&mut self, now: UnixMicros) {
        self.updated_at = now;
        self.revision += 1;
    }
}

/// The id that a client's text names; text that is no id in its usual form names nothing.
#[must_use]
pub fn parse_id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.to_string() == text).then_some(id)
}
