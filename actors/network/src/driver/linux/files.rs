//! What dnsmasq reads: its arguments, the hosts it answers and what it tells them.
//!
//! Everything that dnsmasq would read as its own language is made from checked types: addresses, numbers and
//! MAC addresses. The one text, a host name, is given to it only if it is a label that cannot be taken for
//! anything else; otherwise the guest is told a name made from its address.

use std::{
    fmt::Write as _,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use ipnet::IpNet;
use updraft_protocol::network::{DhcpLease, DhcpSubnet, DhcpWant};
use updraft_runtime::{
    folder::Folder,
    planted::{Bug, is_planted},
};

use crate::{agent::METADATA_ADDRESS, driver::names};

/// How long a lease is good for, in seconds: guests ask again after half of it. What is leased is fixed, so
/// it only bounds how long a change of options takes to arrive.
const LEASE_SECS: u32 = 86_400;

/// How many leases dnsmasq holds at most: a network of sixteen bits of addresses.
const LEASES_MAX: u32 = 65_536;

/// Longest host name label (RFC 1035), in bytes.
const LABEL_MAX_BYTES: usize = 63;

/// What dnsmasq understands in the place of a host's name.
const KEYWORDS: [&str; 2] = ["ignore", "infinite"];

/// The number of Microsoft's own option for classless routes, for clients that do not know 121.
const MICROSOFT_ROUTES: &str = "249";

pub(super) const HOSTS: &str = "hosts";
pub(super) const OPTIONS: &str = "options";
pub(super) const GENERATION: &str = "generation";

/// The files of one network's server, all in one directory.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) directory: PathBuf,
}

impl Files {
    pub(super) fn hosts(&self) -> PathBuf {
        self.directory.join(HOSTS)
    }

    pub(super) fn options(&self) -> PathBuf {
        self.directory.join(OPTIONS)
    }

    pub(super) fn pid(&self) -> PathBuf {
        self.directory.join("pid")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    pub(super) fn old_log(&self) -> PathBuf {
        self.directory.join("log.1")
    }

    /// Holds the generation that was last served in full.
    pub(super) fn generation(&self) -> PathBuf {
        self.directory.join(GENERATION)
    }

    /// The argument by which a process is known as this network's server.
    pub(super) fn mark(&self) -> String {
        format!("--pid-file={}", self.pid().display())
    }

    /// The arguments of dnsmasq; a server that runs with others must be started anew.
    pub(super) fn arguments(&self, want: &DhcpWant) -> Vec<String> {
        let inner = names::dhcp_inner(want.network);
        let mut arguments = vec![
            "--conf-file=/dev/null".to_owned(),
            self.mark(),
            "--user=root".to_owned(),
            "--group=root".to_owned(),
            // No DNS: guests are told real name servers, or none.
            "--port=0".to_owned(),
            "--no-hosts".to_owned(),
            "--no-resolv".to_owned(),
            "--no-ping".to_owned(),
            "--bind-interfaces".to_owned(),
            format!("--interface={inner}"),
            "--except-interface=lo".to_owned(),
            // Leases are what the hosts file says, so none need be kept: one that dnsmasq has forgotten is
            // given again to whoever asks for it, since no other server is here.
            "--leasefile-ro".to_owned(),
            "--dhcp-authoritative".to_owned(),
            format!("--dhcp-lease-max={LEASES_MAX}"),
            format!("--dhcp-hostsfile={}", self.hosts().display()),
            format!("--dhcp-optsfile={}", self.options().display()),
            format!("--dhcp-option-force=option:mtu,{}", want.mtu),
            format!("--log-facility={}", self.log().display()),
        ];
        arguments.extend(ipv4_subnets(want).map(|(subnet, _)| {
            let (tag, cidr) = (subnet_tag(subnet), subnet.cidr);
            let (network, mask) = (cidr.network(), cidr.netmask());
            format!("--dhcp-range=set:{tag},{network},static,{mask},{LEASE_SECS}s")
        }));
        arguments
    }
}

fn ipv4_subnets(want: &DhcpWant) -> impl Iterator<Item = (&DhcpSubnet, Ipv4Addr)> {
    want.subnets.iter().filter_map(|subnet| match subnet.agent_address {
        IpAddr::V4(agent) => Some((subnet, agent)),
        IpAddr::V6(_) => None,
    })
}

fn ipv4_leases(want: &DhcpWant) -> impl Iterator<Item = &DhcpLease> {
    want.leases
        .iter()
        .filter(|lease| ipv4_subnets(want).any(|(subnet, _)| subnet.cidr.contains(&lease.address)))
}

fn subnet_tag(subnet: &DhcpSubnet) -> String {
    format!("subnet-{}", subnet.subnet)
}

/// The agent's own addresses, as `ip` writes them.
pub(super) fn addresses(want: &DhcpWant) -> Vec<String> {
    let own =
        ipv4_subnets(want).map(|(subnet, agent)| format!("{agent}/{}", subnet.cidr.prefix_len()));
    own.chain([format!("{METADATA_ADDRESS}/32")]).collect()
}

/// Who is answered, with which address and name: one line each. No tags: dnsmasq 2.90 dies when it reads its
/// files again while a host with a tag of its own has a lease.
pub(super) fn hosts(want: &DhcpWant) -> Vec<String> {
    ipv4_leases(want)
        .map(|DhcpLease { mac_address, address, hostname, .. }| match label(hostname) {
            Some(label) => format!("{mac_address},{address},{label}"),
            None => {
                let made = address.to_string().replace('.', "-");
                format!("{mac_address},{address},host-{made}")
            }
        })
        .collect()
}

/// What guests are told.
pub(super) fn options(want: &DhcpWant) -> String {
    let mut text = String::new();
    for (subnet, agent) in ipv4_subnets(want) {
        subnet_options(&mut text, subnet, agent);
    }
    text
}

fn subnet_options(text: &mut String, subnet: &DhcpSubnet, agent: Ipv4Addr) {
    let tag = subnet_tag(subnet);
    let mut option = |name: &str, values: Vec<String>| {
        let values = std::iter::once(name.to_owned()).chain(values).collect::<Vec<_>>().join(",");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "tag:{tag},{values}");
    };
    let routes: Vec<String> = routes(subnet, agent)
        .into_iter()
        .flat_map(|(to, hop)| [to.to_string(), hop.to_string()])
        .collect();
    option("option:classless-static-route", routes.clone());
    option(MICROSOFT_ROUTES, routes);
    // Without a value an option is not sent, where dnsmasq would otherwise name itself.
    option("option:router", subnet.gateway.iter().map(ToString::to_string).collect());
    let servers = subnet.dns_servers.iter().filter(|server| server.is_ipv4());
    option("option:dns-server", servers.map(ToString::to_string).collect());
}

/// A client that is told classless routes must ignore the router, so the default route is among them.
fn routes(subnet: &DhcpSubnet, agent: Ipv4Addr) -> Vec<(IpNet, IpAddr)> {
    let metadata = (IpNet::from(IpAddr::from(METADATA_ADDRESS)), IpAddr::from(agent));
    let mut routes = vec![metadata];
    routes.extend(subnet.host_routes.iter().copied());
    if let Some(gateway) = subnet.gateway {
        routes.push((IpNet::default(), gateway));
    }
    routes
}

/// The first label of a host name, if it is one and dnsmasq takes it for one.
fn label(hostname: &str) -> Option<&str> {
    let label = hostname.split('.').next()?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let fits = (1..=LABEL_MAX_BYTES).contains(&label.len());
    let is_label = fits && label.bytes().all(legal) && !label.starts_with('-');
    (is_label && !is_lease_time(label) && !KEYWORDS.contains(&label)).then_some(label)
}

/// A number, with or without a unit.
fn is_lease_time(text: &str) -> bool {
    let unit = ['s', 'm', 'h', 'd', 'w', 'S', 'M', 'H', 'D', 'W'];
    let number = text.strip_suffix(unit).unwrap_or(text);
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// Replaces a file so that a reader sees the old or the new one, whole, whenever it reads and whatever crashes. Blocks.
///
/// # Errors
/// If the file beside it cannot be written, or not put into its place. The old one is left as it was.
pub fn write_atomically(folder: &Folder, name: &str, text: &str) -> io::Result<()> {
    if is_planted(Bug::DhcpFileInPlace) {
        return fs::write(folder.path(name), text);
    }
    folder.replace(name, text.as_bytes())
}

#[cfg(test)]
mod tests;
