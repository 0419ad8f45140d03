//! Bridges, taps and tunnels by `ip` and `bridge`, and what may pass them by `nft` and `conntrack`.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use async_trait::async_trait;
use updraft_protocol::network::{FilterWant, OverlayWant};
use updraft_runtime::Env;
use uuid::Uuid;

use super::{
    LinuxConfig, bridge_nf,
    connections::Connections,
    guard::{Guard, Held},
    ip::{Ip, Link},
    tunnel::Tunnels,
};
use crate::driver::{
    DriverError, FoundBridge, FoundOverlay, FoundTap, L2Driver, L2Inventory, TapSpec,
    names::{self, Made, Tag},
    newest::Newest,
};

/// Bridges and taps of this machine, or of the network namespace in which the process runs.
pub struct LinuxL2 {
    env: Env,
    ip: Ip,
    guard: Guard,
    connections: Connections,
    tunnels: Tunnels,
    tag: Tag,
    modprobe: PathBuf,
    /// Of taps, of tunnels and of security groups.
    newest: Newest,
}

impl LinuxL2 {
    /// A driver with these settings.
    #[must_use]
    pub fn new(env: &Env, config: &LinuxConfig) -> Self {
        Self {
            env: env.clone(),
            ip: Ip::new(env, config),
            guard: Guard::new(env, config),
            connections: Connections::new(env, config),
            tunnels: Tunnels::new(env, config),
            tag: config.tag.clone(),
            modprobe: config.modprobe.clone(),
            newest: Newest::default(),
        }
    }

    async fn blocking(
        &self,
        doing: &str,
        work: impl FnOnce() -> Result<(), DriverError> + Send + 'static,
    ) -> Result<(), DriverError> {
        let done = self.env.blocking(work).await;
        done.unwrap_or_else(|gone| Err(DriverError::failed(doing, gone)))
    }

    async fn make_bridge(&self, name: &str) -> Result<(), DriverError> {
        let doing = format!("making bridge {name}");
        // Snooping would drop multicast that no querier has asked for, IPv6 neighbour discovery with it.
        let words = [
            "link",
            "add",
            "name",
            name,
            "type",
            "bridge",
            "stp_state",
            "0",
            "mcast_snooping",
            "0",
        ];
        self.ip.run_to(&doing, None, &words).await
    }

    /// The host's own stack hears nothing on a bridge; without this a guest's router advertisement would give
    /// the host an address and a route.
    async fn silence_ipv6(&self, device: &str) -> Result<(), DriverError> {
        let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
        let doing = format!("writing {path}");
        let words = doing.clone();
        let write = move || match fs::write(&path, "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DriverError::failed(doing, error))
            }
            // A kernel without IPv6 has nothing to silence.
            _ => Ok(()),
        };
        self.blocking(&words, write).await
    }

    /// Ends the connections on the network's bridge that may not be any longer.
    async fn end_forbidden(&self, network: Uuid) -> Result<(), DriverError> {
        let zone = self.guard.track(&names::bridge(network)).await?;
        self.connections.end_forbidden(network, zone).await
    }

    fn made(&self, link: &Link) -> Option<Made> {
        link.ifalias.as_deref().and_then(|alias| self.tag.read(alias))
    }

    /// Whether the device may be taken for the one that shall be made. One without any alias is: its name is
    /// made from an id, so it is what a crash left between making and marking.
    fn is_mine(&self, link: &Link, is_it: impl Fn(Made) -> bool) -> bool {
        link.ifalias.is_none() || self.made(link).is_some_and(is_it)
    }

    fn found_tap(&self, link: &Link, guarded: bool) -> FoundTap {
        let port = match self.made(link) {
            Some(Made::Tap(port, generation)) => Some((port, generation)),
            _ => None,
        };
        FoundTap { port, bridge: link.master.clone(), mtu: link.mtu, guarded }
    }

    fn found_bridge(&self, link: &Link, links: &BTreeMap<String, Link>) -> FoundBridge {
        let network = match self.made(link) {
            Some(Made::Bridge(network)) => Some(network),
            _ => None,
        };
        let is_on = |other: &&Link| other.master.as_deref() == Some(&*link.ifname);
        FoundBridge { network, devices: links.values().filter(is_on).count() }
    }
}

#[async_trait]
impl L2Driver for LinuxL2 {
    async fn ensure_bridge(&self, network: Uuid, mtu: u32) -> Result<(), DriverError> {
        bridge_nf::ensure(&self.env, &self.modprobe).await?;
        let name = names::bridge(network);
        match self.ip.find(None, &name).await? {
            Some(link) if !self.is_mine(&link, |made| made == Made::Bridge(network)) => {
                return Err(DriverError::Foreign { name });
            }
            Some(_) => {}
            None => self.make_bridge(&name).await?,
        }
        self.silence_ipv6(&name).await?;
        let (alias, mtu) = (self.tag.alias(Made::Bridge(network)), mtu.to_string());
        let words = [
            "link",
            "set",
            "dev",
            &name,
            "alias",
            &alias,
            "mtu",
            &mtu,
            "addrgenmode",
            "none",
            "up",
            "type",
            "bridge",
        ];
        let words = [words.as_slice(), &bridge_nf::OPTIONS].concat();
        self.ip.run_to(&format!("setting up bridge {name}"), None, &words).await?;
        self.guard.track(&name).await.map(drop)
    }

    async fn ensure_tap(&self, tap: &TapSpec) -> Result<(), DriverError> {
        self.newest.pass(tap.port, tap.generation, || ())?;
        let (name, bridge) = (names::tap(tap.port), names::bridge(tap.network));
        match self.ip.find(None, &name).await? {
            Some(link) if !self.is_mine(&link, |made| is_tap_of(made, tap.port)) => {
                return Err(DriverError::Foreign { name });
            }
            Some(_) => {}
            None => {
                let words = ["tuntap", "add", "dev", &name, "mode", "tap"];
                self.ip.run_to(&format!("making tap {name}"), None, &words).await?;
            }
        }
        self.guard.hold(tap).await?;
        if self.connections.tap(tap) {
            self.end_forbidden(tap.network).await?;
        }
        let alias = self.tag.alias(Made::Tap(tap.port, tap.generation));
        let mtu = tap.mtu.to_string();
        let words = [
            "link",
            "set",
            "dev",
            &name,
            "alias",
            &alias,
            "mtu",
            &mtu,
            "addrgenmode",
            "none",
            "master",
            &bridge,
            "up",
        ];
        self.ip.run_to(&format!("putting tap {name} on {bridge}"), None, &words).await
    }

    async fn remove_tap(&self, port: Uuid) -> Result<(), DriverError> {
        let name = names::tap(port);
        match self.ip.find(None, &name).await? {
            Some(link) if !self.is_mine(&link, |made| is_tap_of(made, port)) => {
                tracing::warn!(name, "a device of somebody else has this tap's name");
            }
            Some(_) => self.ip.remove(&name).await?,
            None => {}
        }
        self.connections.no_tap(port);
        self.newest.forget(port);
        self.guard.release(&name).await
    }

    async fn remove_bridge_if_empty(&self, network: Uuid) -> Result<(), DriverError> {
        let name = names::bridge(network);
        let links = self.ip.links().await?;
        if let Some(link) = links.get(&name) {
            let is_mine = self.is_mine(link, |made| made == Made::Bridge(network));
            if !is_mine || self.found_bridge(link, &links).devices > 0 {
                return Ok(());
            }
            self.ip.remove(&name).await?;
        }
        match self.guard.untrack(&name).await? {
            Some(zone) => self.connections.end_all(zone).await,
            None => Ok(()),
        }
    }

    async fn ensure_filter(&self, want: &FilterWant) -> Result<(), DriverError> {
        self.newest.pass(want.group, want.generation, || ())?;
        self.guard.filter(want).await?;
        for network in self.connections.group(want) {
            self.end_forbidden(network).await?;
        }
        Ok(())
    }

    async fn remove_filter(&self, group: Uuid) -> Result<(), DriverError> {
        self.guard.unfilter(group).await?;
        self.connections.no_group(group);
        self.newest.forget(group);
        Ok(())
    }

    async fn ensure_overlay(&self, want: &OverlayWant) -> Result<(), DriverError> {
        let (network, name) = (want.network, names::overlay(want.network));
        let missing =
            || DriverError::Invalid(format!("{name} is to be made, and no tunnel is said"));
        let tunnel = want.tunnel.as_ref().ok_or_else(missing)?;
        self.newest.pass(network, want.generation, || ())?;
        let found = self.ip.find(None, &name).await?;
        if found
            .as_ref()
            .is_some_and(|link| !self.is_mine(link, |made| is_overlay_of(made, network)))
        {
            return Err(DriverError::Foreign { name });
        }
        let alias = self.tag.alias(Made::Overlay(network, want.generation));
        self.tunnels.ensure(network, tunnel, found.as_ref(), &alias).await?;
        self.silence_ipv6(&name).await
    }

    async fn remove_overlay(&self, network: Uuid) -> Result<(), DriverError> {
        let name = names::overlay(network);
        match self.ip.find(None, &name).await? {
            Some(link) if !self.is_mine(&link, |made| is_overlay_of(made, network)) => {
                tracing::warn!(name, "a device of somebody else has this tunnel's name");
            }
            Some(_) => self.ip.remove(&name).await?,
            None => {}
        }
        self.newest.forget(network);
        Ok(())
    }

    async fn inventory(&self) -> Result<L2Inventory, DriverError> {
        let (links, held) = (self.ip.links().await?, self.guard.held().await?);
        let mut found = L2Inventory { filters: held.groups.clone(), ..L2Inventory::default() };
        let tunnels = links.values().filter(|link| names::is_overlay(&link.ifname));
        for (link, tunnel) in self.tunnels.found(tunnels).await? {
            let network = match self.made(link) {
                Some(Made::Overlay(network, generation)) => Some((network, generation)),
                _ => None,
            };
            let overlay = FoundOverlay { network, bridge: link.master.clone(), tunnel };
            found.overlays.insert(link.ifname.clone(), overlay);
        }
        for (name, link) in &links {
            if names::is_tap(name) {
                let tap = self.found_tap(link, is_guarded(link, &links, &held));
                found.taps.insert(name.clone(), tap);
            } else if names::is_bridge(name) {
                found.bridges.insert(name.clone(), self.found_bridge(link, &links));
            }
        }
        Ok(found)
    }

    async fn purge(&self) -> Result<(), DriverError> {
        let links = self.ip.links().await?;
        for link in links.values().filter(|link| self.made(link).is_some()) {
            self.ip.remove(&link.ifname).await?;
        }
        let zones = self.guard.held().await?.zones;
        self.guard.remove().await?;
        for zone in zones.into_values() {
            self.connections.end_all(zone).await?;
        }
        Ok(())
    }
}

fn is_tap_of(made: Made, port: Uuid) -> bool {
    matches!(made, Made::Tap(own, _) if own == port)
}

fn is_overlay_of(made: Made, network: Uuid) -> bool {
    matches!(made, Made::Overlay(own, _) if own == network)
}

/// Whether the tap is up, and rules see what passes it.
fn is_guarded(tap: &Link, links: &BTreeMap<String, Link>, held: &Held) -> bool {
    let bridge = tap.master.as_ref().and_then(|name| links.get(name));
    let is_seen =
        bridge.is_some_and(|bridge| bridge.is_tracked() && held.zones.contains_key(&bridge.ifname));
    tap.is_up() && held.taps.contains(&tap.ifname) && is_seen
}
