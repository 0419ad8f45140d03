//! Ranges of addresses, and which of a subnet's addresses may be given.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::error::{Outcome, l2};

/// Addresses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pool {
    /// The first.
    pub start: IpAddr,
    /// The last.
    pub end: IpAddr,
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl Pool {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.start.is_ipv4() == address.is_ipv4() && self.start <= address && address <= self.end
    }

    /// How many addresses are behind its first.
    #[must_use]
    pub fn last_index(&self) -> u128 {
        to_number(self.end).saturating_sub(to_number(self.start))
    }

    /// The address that is so many behind its first; its last, if there are not so many.
    #[must_use]
    pub fn nth(&self, index: u128) -> IpAddr {
        from_number(to_number(self.start) + index.min(self.last_index()), self.start)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.start) || other.contains(self.start)
    }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of this number, of the version of `like`.
fn from_number(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// The first and the last address of a subnet that a port may have.
fn usable(cidr: IpNet) -> Pool {
    let (first, last) = (to_number(cidr.network()), to_number(cidr.broadcast()));
    let like = cidr.network();
    let (first, last) = match cidr {
        IpNet::V4(v4) if v4.prefix_len() <= 30 => (first + 1, last - 1),
        IpNet::V6(v6) if v6.prefix_len() < 128 => (first + 1, last),
        _ => (first, last),
    };
    Pool { start: from_number(first, like), end: from_number(last, like) }
}

/// Whether a port may have this address of a subnet; `router` may have the first of an IPv6 one.
pub(crate) fn contains_host(cidr: IpNet, address: IpAddr, router: bool) -> bool {
    let ends = match cidr {
        IpNet::V4(_) => address == cidr.network() || address == cidr.broadcast(),
        IpNet::V6(_) => address == cidr.network() && !router,
    };
    cidr.contains(&address) && !ends
}

/// Whether a gateway is an end of the subnet that nobody may have.
pub(crate) fn gateway_is_end(cidr: IpNet, gateway: IpAddr) -> bool {
    let is_end = gateway == cidr.network() || gateway == cidr.broadcast();
    matches!(cidr, IpNet::V4(_)) && is_end
}

/// The gateway of a subnet for which none is named: its first address.
pub(crate) fn default_gateway(cidr: IpNet) -> IpAddr {
    from_number(to_number(cidr.network()) + 1, cidr.network())
}

/// The pools of a subnet for which none are named: all that a port may have but the gateway.
pub(crate) fn default_pools(cidr: IpNet, gateway: Option<IpAddr>) -> Vec<Pool> {
    let all = usable(cidr);
    let Some(gateway) = gateway.filter(|gateway| all.contains(*gateway)) else { return vec![all] };
    let at = to_number(gateway);
    let mut pools = Vec::new();
    if gateway > all.start {
        pools.push(Pool { start: all.start, end: from_number(at - 1, gateway) });
    }
    if gateway < all.end {
        pools.push(Pool { start: from_number(at + 1, gateway), end: all.end });
    }
    pools
}

/// Refuses pools that are not in order, leave the subnet, overlap or hold the gateway.
pub(crate) fn check_pools(pools: &[Pool], cidr: IpNet, gateway: Option<IpAddr>) -> Outcome<()> {
    let all = usable(cidr);
    for pool in pools {
        let same_version = pool.start.is_ipv4() == all.start.is_ipv4()
            && pool.end.is_ipv4() == all.start.is_ipv4();
        if !same_version || pool.start > pool.end {
            return Err(l2::invalid_pool(pool));
        }
        if !all.contains(pool.start) || !all.contains(pool.end) {
            return Err(l2::pool_out_of_bounds(pool, cidr));
        }
    }
    for (index, one) in pools.iter().enumerate() {
        for other in pools.iter().skip(index + 1) {
            if one.overlaps(other) {
                return Err(l2::pools_overlap(one, other, cidr));
            }
        }
    }
    match gateway.and_then(|way| Some((way, pools.iter().find(|pool| pool.contains(way))?))) {
        Some((gateway, pool)) => Err(l2::gateway_in_pool(gateway, pool)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn pool(start: &str, end: &str) -> Pool {
        Pool { start: ip(start), end: ip(end) }
    }

    #[test]
    fn default_pools_leave_out_the_ends_and_the_gateway() {
        let cases = [
            ("10.0.0.0/24", Some("10.0.0.1"), vec![pool("10.0.0.2", "10.0.0.254")]),
            ("10.0.0.0/24", None, vec![pool("10.0.0.1", "10.0.0.254")]),
            (
                "10.0.0.0/29",
                Some("10.0.0.3"),
                vec![pool("10.0.0.1", "10.0.0.2"), pool("10.0.0.4", "10.0.0.6")],
            ),
            ("10.0.0.0/24", Some("10.0.0.254"), vec![pool("10.0.0.1", "10.0.0.253")]),
            ("10.0.0.0/24", Some("192.168.0.1"), vec![pool("10.0.0.1", "10.0.0.254")]),
            ("10.0.0.0/31", Some("10.0.0.1"), vec![pool("10.0.0.0", "10.0.0.0")]),
            ("10.0.0.7/32", None, vec![pool("10.0.0.7", "10.0.0.7")]),
            ("fd00::/64", Some("fd00::1"), vec![pool("fd00::2", "fd00::ffff:ffff:ffff:ffff")]),
        ];
        for (cidr, gateway, pools) in cases {
            assert_eq!(default_pools(net(cidr), gateway.map(ip)), pools, "{cidr} {gateway:?}");
        }
    }

    #[test]
    fn pools_that_cannot_be_are_refused_by_name() {
        let cidr = net("10.0.0.0/24");
        let cases = [
            (vec![pool("10.0.0.9", "10.0.0.5")], "InvalidAllocationPool"),
            (vec![pool("fd00::1", "fd00::2")], "InvalidAllocationPool"),
            (vec![pool("10.0.0.0", "10.0.0.9")], "OutOfBoundsAllocationPool"),
            (vec![pool("10.0.0.2", "10.0.1.9")], "OutOfBoundsAllocationPool"),
            (
                vec![pool("10.0.0.2", "10.0.0.9"), pool("10.0.0.9", "10.0.0.12")],
                "OverlappingAllocationPools",
            ),
            (vec![pool("10.0.0.1", "10.0.0.9")], "GatewayConflictWithAllocationPools"),
        ];
        for (pools, name) in cases {
            let error = check_pools(&pools, cidr, Some(ip("10.0.0.1"))).unwrap_err();
            assert_eq!(error.name(), Some(name), "{pools:?}");
        }
        check_pools(&[pool("10.0.0.2", "10.0.0.9")], cidr, Some(ip("10.0.0.1"))).unwrap();
    }

    #[test]
    fn a_pool_counts_from_its_first_to_its_last() {
        let pool = pool("10.0.0.250", "10.0.1.5");
        assert_eq!(pool.last_index(), 11);
        assert_eq!(pool.nth(0), ip("10.0.0.250"));
        assert_eq!(pool.nth(6), ip("10.0.1.0"));
        assert_eq!(pool.nth(99), ip("10.0.1.5"));
    }
}
