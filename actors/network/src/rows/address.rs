//! Who has which address.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use updraft_runtime::store::{IndexEntry, Record};
use uuid::Uuid;

/// An address that is given to a port. Its key is the subnet and the address, so a second one cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationRow {
    /// The subnet.
    pub subnet: Uuid,
    /// The address.
    pub address: IpAddr,
    /// The port that has it.
    pub port: Uuid,
}

impl AllocationRow {
    /// The key of the row for this address.
    #[must_use]
    pub fn key_of(subnet: Uuid, address: IpAddr) -> String {
        format!("{subnet}/{address}")
    }
}

impl Record for AllocationRow {
    const TABLE: &'static str = "network/allocation";

    fn key(&self) -> String {
        Self::key_of(self.subnet, self.address)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::many("subnet", &self.subnet)]
    }
}
