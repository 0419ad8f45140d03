//! What an agent is told to make, seen alike for ports, networks, tunnels, security groups and routers, and what of it
//! is refused at once.

use std::{collections::BTreeSet, fmt::Debug, net::IpAddr};

use serde::{Serialize, de::DeserializeOwned};
use updraft_protocol::network::{
    DhcpLease, DhcpSubnet, DhcpWant, FilterWant, GetDhcp, GetFilter, GetOverlay, GetPort,
    GetRouter, Leg, OverlayWant, PortWant, RouterWant, Routing, Server, Tunnel,
};
use updraft_runtime::rpc::Call;
use uuid::Uuid;

/// Smallest MTU, in bytes: below it IPv4 does not work (RFC 791).
const MTU_MIN_BYTES: u32 = 68;

/// Largest MTU, in bytes: what the length field of an IPv4 packet can say.
const MTU_MAX_BYTES: u32 = 65_535;

/// Largest number of a tunnel: 24 bits (RFC 7348).
const VNI_MAX: u32 = 0xFF_FFFF;

/// Most networks in which a router stands: several processes run for each that is new.
const LEGS_MAX: usize = 64;

/// Most floating IPs of a router: each is a few rules that packets are compared with one after another.
const FLOATING_MAX: usize = 1_000;

/// Most further routes of a subnet: with the default and the metadata route, as many as fit the 255 bytes of
/// one DHCP option at nine bytes each.
const HOST_ROUTES_MAX: usize = 26;

/// Most name servers of a subnet: more than any resolver asks.
const DNS_SERVERS_MAX: usize = 16;

/// A want, for a port, a network, its tunnel, a security group or a router.
pub trait Want:
    Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Where its rows are.
    const TABLE: &'static str;
    /// What it is about, for people.
    const WHAT: &'static str;
    /// The driver's work for it, for the trace.
    const STEP: &'static str;

    /// Asks the network service what is wanted now.
    type Question: Call<Protocol = Server, Reply = Option<Self>>;

    /// What it is about.
    fn id(&self) -> Uuid;
    /// Asks about the same.
    fn question(&self) -> Self::Question;
    /// That nothing of it be there, in the same generation.
    #[must_use]
    fn absent(&self) -> Self;
    /// Grows with every change.
    fn generation(&self) -> u64;
    /// What nobody else may touch meanwhile: the network for what is on its bridge.
    fn turn(&self) -> Uuid;
    /// The same where it is several, in an order that is everybody's.
    fn turns(&self) -> BTreeSet<Uuid> {
        BTreeSet::from([self.turn()])
    }
    /// Whether anything shall be there. DHCP is served for IPv4 alone; IPv6 guests configure themselves.
    fn present(&self) -> bool;
    /// Why no host can serve it.
    fn check(&self) -> Result<(), String>;
}

impl Want for PortWant {
    const TABLE: &'static str = "network-agent/port";
    const WHAT: &'static str = "port";
    const STEP: &'static str = "network.l2/apply";

    type Question = GetPort;

    fn id(&self) -> Uuid {
        self.port
    }

    fn question(&self) -> GetPort {
        GetPort { port: self.port }
    }

    fn absent(&self) -> Self {
        Self { present: false, ..self.clone() }
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn turn(&self) -> Uuid {
        self.network
    }

    fn present(&self) -> bool {
        self.present
    }

    fn check(&self) -> Result<(), String> {
        check_mtu(self.mtu)?;
        check_mac(&self.mac_address)?;
        self.pairs.iter().try_for_each(|pair| check_mac(&pair.mac_address))
    }
}

impl Want for FilterWant {
    const TABLE: &'static str = "network-agent/filter";
    const WHAT: &'static str = "security group";
    const STEP: &'static str = "network.l2/filter_applied";

    type Question = GetFilter;

    fn id(&self) -> Uuid {
        self.group
    }

    fn question(&self) -> GetFilter {
        GetFilter { group: self.group }
    }

    fn absent(&self) -> Self {
        Self::absent(self.group, self.generation)
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn turn(&self) -> Uuid {
        self.group
    }

    fn present(&self) -> bool {
        self.present
    }

    /// Everything in it is a number, an address or an id.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Want for OverlayWant {
    const TABLE: &'static str = "network-agent/overlay";
    const WHAT: &'static str = "tunnel of network";
    const STEP: &'static str = "network.l2/overlay_applied";

    type Question = GetOverlay;

    fn id(&self) -> Uuid {
        self.network
    }

    fn question(&self) -> GetOverlay {
        GetOverlay { network: self.network }
    }

    fn absent(&self) -> Self {
        Self::absent(self.network, self.generation)
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn turn(&self) -> Uuid {
        self.network
    }

    fn present(&self) -> bool {
        self.tunnel.is_some()
    }

    fn check(&self) -> Result<(), String> {
        self.tunnel.as_ref().map_or(Ok(()), check_tunnel)
    }
}

impl Want for RouterWant {
    const TABLE: &'static str = "network-agent/router";
    const WHAT: &'static str = "router";
    const STEP: &'static str = "network.l2/route_applied";

    type Question = GetRouter;

    fn id(&self) -> Uuid {
        self.router
    }

    fn question(&self) -> GetRouter {
        GetRouter { router: self.router }
    }

    fn absent(&self) -> Self {
        Self::absent(self.router, self.generation)
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn turn(&self) -> Uuid {
        self.router
    }

    fn turns(&self) -> BTreeSet<Uuid> {
        let networks = self.routing.iter().flat_map(Routing::bridged);
        networks.map(|leg| leg.network).chain([self.router]).collect()
    }

    fn present(&self) -> bool {
        self.routing.is_some()
    }

    fn check(&self) -> Result<(), String> {
        self.routing.as_ref().map_or(Ok(()), check_routing)
    }
}

impl Want for DhcpWant {
    const TABLE: &'static str = "network-agent/dhcp";
    const WHAT: &'static str = "network";
    const STEP: &'static str = "network.dhcp/apply";

    type Question = GetDhcp;

    fn id(&self) -> Uuid {
        self.network
    }

    fn question(&self) -> GetDhcp {
        GetDhcp { network: self.network }
    }

    fn absent(&self) -> Self {
        Self { subnets: Vec::new(), leases: Vec::new(), ..self.clone() }
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn turn(&self) -> Uuid {
        self.network
    }

    fn present(&self) -> bool {
        self.subnets.iter().any(|subnet| subnet.agent_address.is_ipv4())
    }

    fn check(&self) -> Result<(), String> {
        check_mtu(self.mtu)?;
        let mut taken = BTreeSet::new();
        for subnet in &self.subnets {
            check_subnet(subnet)?;
            claim(&mut taken, subnet.agent_address)?;
        }
        self.leases.iter().try_for_each(|lease| check_lease(lease, &mut taken))
    }
}

fn check_mtu(mtu: u32) -> Result<(), String> {
    if (MTU_MIN_BYTES..=MTU_MAX_BYTES).contains(&mtu) {
        return Ok(());
    }
    Err(format!("MTU {mtu} is out of range: {MTU_MIN_BYTES} to {MTU_MAX_BYTES}"))
}

fn check_mac(mac: &str) -> Result<(), String> {
    let octet = |part: &str| {
        let legal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        part.len() == 2 && part.bytes().all(legal)
    };
    if mac.split(':').count() == 6 && mac.split(':').all(octet) {
        return Ok(());
    }
    Err(format!("{mac:?} is no MAC address: six lower-case octets with colons are"))
}

fn check_tunnel(tunnel: &Tunnel) -> Result<(), String> {
    let Tunnel { vni, mtu, local, peers } = tunnel;
    check_mtu(*mtu)?;
    if *vni > VNI_MAX {
        return Err(format!("VNI {vni} is out of range: 0 to {VNI_MAX}"));
    }
    let is_no_peer = |peer: &&IpAddr| peer.is_ipv4() != local.is_ipv4() || *peer == local;
    if let Some(odd) = peers.keys().find(is_no_peer) {
        return Err(format!("{odd} is no other end of a tunnel of {local}"));
    }
    let mut taken = BTreeSet::new();
    for mac in peers.values().flatten() {
        check_mac(mac)?;
        if !taken.insert(mac) {
            return Err(format!("MAC address {mac} is at two hosts"));
        }
    }
    Ok(())
}

/// Everything else in it is a number, an address or an id.
fn check_routing(routing: &Routing) -> Result<(), String> {
    let (legs, addresses) = (routing.all_legs().count(), routing.floating.len());
    if legs > LEGS_MAX || addresses > FLOATING_MAX {
        return Err(format!(
            "it has {legs} interfaces and {addresses} floating IPs: at most {LEGS_MAX} and {FLOATING_MAX} are served"
        ));
    }
    let mut taken = BTreeSet::new();
    for Leg { mac_address, mtu, addresses, .. } in routing.all_legs() {
        check_mtu(*mtu)?;
        check_mac(mac_address)?;
        addresses.iter().try_for_each(|net| claim(&mut taken, net.addr()))?;
    }
    let floating = routing.floating.iter().map(|floating| floating.address);
    floating.map(IpAddr::from).try_for_each(|address| claim(&mut taken, address))
}

fn check_subnet(subnet: &DhcpSubnet) -> Result<(), String> {
    let DhcpSubnet { subnet: id, cidr, agent_address, .. } = subnet;
    if !cidr.contains(agent_address) {
        return Err(format!("agent address {agent_address} of subnet {id} is outside {cidr}"));
    }
    let hops = subnet.host_routes.iter().map(|(_, hop)| hop);
    let destinations = subnet.host_routes.iter().map(|(to, _)| to.addr());
    let mut others = subnet.gateway.iter().chain(hops).copied().chain(destinations);
    if let Some(odd) = others.find(|other| other.is_ipv4() != agent_address.is_ipv4()) {
        return Err(format!("{odd} and subnet {id} ({cidr}) are of different IP versions"));
    }
    if subnet.host_routes.len() > HOST_ROUTES_MAX || subnet.dns_servers.len() > DNS_SERVERS_MAX {
        return Err(format!(
            "subnet {id} has more than {HOST_ROUTES_MAX} routes or {DNS_SERVERS_MAX} name servers"
        ));
    }
    Ok(())
}

fn check_lease(lease: &DhcpLease, taken: &mut BTreeSet<IpAddr>) -> Result<(), String> {
    check_mac(&lease.mac_address)?;
    claim(taken, lease.address)
}

/// An address that two have would let one read the other's metadata.
fn claim(taken: &mut BTreeSet<IpAddr>, address: IpAddr) -> Result<(), String> {
    if taken.insert(address) {
        return Ok(());
    }
    Err(format!("address {address} is given twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want() -> DhcpWant {
        let subnet = DhcpSubnet {
            subnet: Uuid::from_u128(2),
            cidr: "10.1.0.0/24".parse().unwrap(),
            gateway: Some("10.1.0.1".parse().unwrap()),
            agent_address: "10.1.0.2".parse().unwrap(),
            dns_servers: Vec::new(),
            host_routes: Vec::new(),
        };
        let lease = DhcpLease {
            server: Uuid::from_u128(3),
            mac_address: "fa:16:3e:00:00:01".to_owned(),
            address: "10.1.0.11".parse().unwrap(),
            hostname: "one".to_owned(),
        };
        DhcpWant {
            network: Uuid::from_u128(1),
            generation: 1,
            mtu: 1450,
            subnets: vec![subnet],
            leases: vec![lease],
        }
    }

    #[test]
    fn a_plain_want_is_taken() {
        assert_eq!(want().check(), Ok(()));
    }

    #[test]
    fn a_network_without_ipv4_subnets_wants_no_server() {
        let mut want = want();
        assert!(want.present());
        want.subnets[0].cidr = "fd00::/64".parse().unwrap();
        want.subnets[0].agent_address = "fd00::2".parse().unwrap();
        assert!(!want.present());
    }

    #[test]
    fn an_address_that_two_servers_have_is_refused() {
        let mut want = want();
        let twin = DhcpLease { server: Uuid::from_u128(4), ..want.leases[0].clone() };
        want.leases.push(twin);
        assert_eq!(want.check(), Err("address 10.1.0.11 is given twice".to_owned()));
    }

    #[test]
    fn a_server_with_the_agents_own_address_is_refused() {
        let mut want = want();
        want.leases[0].address = want.subnets[0].agent_address;
        assert_eq!(want.check(), Err("address 10.1.0.2 is given twice".to_owned()));
    }

    #[test]
    fn an_agent_address_outside_its_subnet_is_refused() {
        let mut want = want();
        want.subnets[0].agent_address = "10.2.0.2".parse().unwrap();
        assert!(want.check().unwrap_err().contains("10.2.0.2"));
    }

    #[test]
    fn a_gateway_of_the_other_ip_version_is_refused() {
        let mut want = want();
        want.subnets[0].gateway = Some("fd00::1".parse().unwrap());
        assert!(want.check().unwrap_err().contains("fd00::1"));
    }

    #[test]
    fn a_tunnel_whose_ends_cannot_be_is_refused() {
        let end = |last: u8| IpAddr::from([192, 0, 2, last]);
        let macs = || BTreeSet::from(["fa:16:3e:00:00:01".to_owned()]);
        let tunnel = |vni: u32, peers: &[IpAddr]| {
            let peers = peers.iter().map(|end| (*end, macs())).collect();
            let tunnel = Some(Tunnel { vni, mtu: 1450, local: end(1), peers });
            OverlayWant { network: Uuid::from_u128(1), generation: 1, tunnel }.check()
        };
        assert_eq!(tunnel(VNI_MAX, &[end(2)]), Ok(()));
        assert!(tunnel(VNI_MAX + 1, &[end(2)]).unwrap_err().contains("VNI"));
        assert!(tunnel(7, &[end(1)]).unwrap_err().contains("192.0.2.1"));
        assert!(tunnel(7, &["2001:db8::2".parse().unwrap()]).unwrap_err().contains("2001:db8::2"));
        assert!(tunnel(7, &[end(2), end(3)]).unwrap_err().contains("at two hosts"));
    }

    #[test]
    fn what_is_no_mac_address_is_refused() {
        for wrong in
            ["", "fa:16:3e:00:00", "FA:16:3E:00:00:01", "fa:16:3e:00:00:01,x", "1:2:3:4:5:6"]
        {
            let mut want = want();
            wrong.clone_into(&mut want.leases[0].mac_address);
            assert!(want.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_mtu_that_no_packet_fits_is_refused() {
        for wrong in [0, 67, 65_536] {
            assert!(DhcpWant { mtu: wrong, ..want() }.check().is_err(), "{wrong}");
        }
    }
}
