//! A network's tunnel to other hosts: a VXLAN device on the network's bridge that learns nothing.
//!
//! The bridge floods nothing unknown to it, and what comes out of it reaches guests alone: like the cable of the DHCP
//! server it is an isolated port, and no packet passes from one of those to another.

use updraft_protocol::network::Tunnel;
use updraft_runtime::Env;
use uuid::Uuid;

use super::{
    LinuxConfig,
    fdb::{Entries, Fdb},
    ip::{Ip, Link},
};
use crate::driver::{DriverError, names};

/// Where tunnels end, by IANA's word.
const VXLAN_PORT: &str = "4789";

/// Makes tunnels.
pub(super) struct Tunnels {
    ip: Ip,
    fdb: Fdb,
}

/// The words by which a tunnel's device is made.
fn making<'a>(name: &'a str, vni: &'a str, local: &'a str) -> [&'a str; 13] {
    [
        "link",
        "add",
        "name",
        name,
        "type",
        "vxlan",
        "id",
        vni,
        "local",
        local,
        "dstport",
        VXLAN_PORT,
        "nolearning",
    ]
}

impl Tunnels {
    pub(super) fn new(env: &Env, config: &LinuxConfig) -> Self {
        Self { ip: Ip::new(env, config), fdb: Fdb::new(env, config) }
    }

    /// The device is there, on its bridge, and does as the tunnel says. `found` is what there is of it.
    pub(super) async fn ensure(
        &self,
        network: Uuid,
        tunnel: &Tunnel,
        found: Option<&Link>,
        alias: &str,
    ) -> Result<(), DriverError> {
        let (name, bridge) = (names::overlay(network), names::bridge(network));
        let is_that = found.is_some_and(|link| link.is_tunnel(tunnel.vni, tunnel.local));
        if !is_that {
            self.remake(&name, tunnel).await?;
        }
        let doing = format!("putting tunnel {name} on {bridge}");
        let mtu = tunnel.mtu.to_string();
        let words = ["link", "set", "dev", &name, "addrgenmode", "none", "master", &bridge];
        self.ip.run_to(&doing, None, &words).await?;
        let words = ["link", "set", "dev", &name, "type", "bridge_slave"];
        let rest = ["learning", "off", "flood", "off", "isolated", "on"];
        self.ip.run_to(&doing, None, &[words.as_slice(), &rest].concat()).await?;
        self.fdb.ensure(&name, &Entries::of(tunnel)).await?;
        let words = ["link", "set", "dev", &name, "alias", alias, "mtu", &mtu, "up"];
        self.ip.run_to(&doing, None, &words).await
    }

    /// The number and the own end of a device cannot be changed.
    async fn remake(&self, name: &str, tunnel: &Tunnel) -> Result<(), DriverError> {
        self.ip.remove(name).await?;
        let (vni, local) = (tunnel.vni.to_string(), tunnel.local.to_string());
        let words = making(name, &vni, &local);
        self.ip.run_to(&format!("making tunnel {name}"), None, &words).await
    }

    /// What each of these devices does, by name, unless that is nothing that a tunnel of an agent's does.
    pub(super) async fn found<'a>(
        &self,
        links: impl Iterator<Item = &'a Link>,
    ) -> Result<Vec<(&'a Link, Option<Tunnel>)>, DriverError> {
        let links: Vec<&Link> = links.collect();
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let mut entries = self.fdb.all().await?;
        let mut found = Vec::new();
        for link in links {
            let peers = entries.remove(&link.ifname).unwrap_or_default().peers();
            let tunnel = link.tunnel().zip(peers).map(|((vni, local), peers)| Tunnel {
                vni,
                mtu: link.mtu,
                local,
                peers,
            });
            found.push((link, tunnel));
        }
        Ok(found)
    }
}
