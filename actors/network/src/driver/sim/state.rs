//! What a simulated host has, and what each operation makes of it.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use updraft_protocol::network::{DhcpWant, FilterWant, OverlayWant, RouterWant, Routing};
use uuid::Uuid;

use super::super::{
    DriverError, FoundBridge, FoundDhcp, FoundOverlay, FoundRouter, FoundTap, Health, L2Inventory,
    Serving, TapSpec,
    judge::{self, Connection},
    names,
    newest::not_older,
};

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimBridge {
    /// Its network, if the agent made it.
    pub network: Option<Uuid>,
    /// Largest packet.
    pub mtu: u32,
}

/// A tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimTap {
    /// As the agent made it; `None` if somebody else did.
    pub spec: Option<TapSpec>,
    /// The bridge it is on.
    pub bridge: Option<String>,
}

/// A network's tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimOverlay {
    /// As the agent made it; `None` if somebody else did.
    pub want: Option<OverlayWant>,
    /// The bridge it is on.
    pub bridge: Option<String>,
}

/// A network's DHCP server in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimDhcp {
    /// What it answers.
    pub want: DhcpWant,
    /// Whether its process lives.
    pub alive: bool,
    /// Which making of the namespace this is.
    pub namespace: u64,
    /// Whether the agent made it.
    pub mine: bool,
}

/// A router in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimRouter {
    /// What it does.
    pub want: RouterWant,
    /// Whether the agent made it.
    pub mine: bool,
}

/// What a guest is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimOffer {
    /// Its address.
    pub address: IpAddr,
    /// Its subnet.
    pub cidr: IpNet,
    /// Its router.
    pub gateway: Option<IpAddr>,
    /// Its name servers.
    pub dns_servers: Vec<IpAddr>,
    /// Where the agent answers, metadata included.
    pub agent_address: IpAddr,
    /// Largest packet.
    pub mtu: u32,
    /// Its host name.
    pub hostname: String,
}

/// Everything a simulated host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimState {
    /// Bridges by device name.
    pub bridges: BTreeMap<String, SimBridge>,
    /// Taps by device name.
    pub taps: BTreeMap<String, SimTap>,
    /// Tunnels by device name.
    pub overlays: BTreeMap<String, SimOverlay>,
    /// What each security group lets pass.
    pub filters: BTreeMap<Uuid, FilterWant>,
    /// DHCP servers by network.
    pub dhcp: BTreeMap<Uuid, SimDhcp>,
    /// Routers by their id.
    pub routers: BTreeMap<Uuid, SimRouter>,
    /// The newest generation that each router was asked for.
    pub routers_asked: BTreeMap<Uuid, u64>,
    /// How many namespaces have ever been made.
    pub namespaces_made: u64,
}

impl SimState {
    pub(super) fn lose(&mut self) {
        // What comes late is still refused.
        let routers_asked = std::mem::take(&mut self.routers_asked);
        *self = Self { namespaces_made: self.namespaces_made, routers_asked, ..Self::default() };
    }

    pub(super) fn ensure_bridge(&mut self, network: Uuid, mtu: u32) -> Result<(), DriverError> {
        let name = names::bridge(network);
        let bridge =
            self.bridges.entry(name.clone()).or_insert(SimBridge { network: Some(network), mtu });
        if bridge.network != Some(network) {
            return Err(DriverError::Foreign { name });
        }
        bridge.mtu = mtu;
        Ok(())
    }

    pub(super) fn ensure_tap(&mut self, spec: &TapSpec) -> Result<(), DriverError> {
        let (name, bridge) = (names::tap(spec.port), names::bridge(spec.network));
        if !self.bridges.contains_key(&bridge) {
            return Err(DriverError::failed(
                format!("putting {name} on {bridge}"),
                "there is no such bridge",
            ));
        }
        if let Some(tap) = self.taps.get(&name) {
            let Some(had) = tap.spec.as_ref().filter(|had| had.port == spec.port) else {
                return Err(DriverError::Foreign { name });
            };
            not_older(spec.generation, had.generation)?;
        }
        self.taps.insert(name, SimTap { spec: Some(spec.clone()), bridge: Some(bridge) });
        Ok(())
    }

    pub(super) fn remove_tap(&mut self, port: Uuid) {
        let name = names::tap(port);
        if self.taps.get(&name).is_some_and(|tap| tap.port() == Some(port)) {
            self.taps.remove(&name);
        }
    }

    pub(super) fn remove_bridge_if_empty(&mut self, network: Uuid) {
        let name = names::bridge(network);
        let mine = self.bridges.get(&name).is_some_and(|bridge| bridge.network == Some(network));
        if mine && self.devices_on(&name) == 0 {
            self.bridges.remove(&name);
        }
    }

    pub(super) fn ensure_overlay(&mut self, want: &OverlayWant) -> Result<(), DriverError> {
        let (name, bridge) = (names::overlay(want.network), names::bridge(want.network));
        if !self.bridges.contains_key(&bridge) {
            return Err(DriverError::failed(
                format!("putting {name} on {bridge}"),
                "there is no such bridge",
            ));
        }
        if let Some(overlay) = self.overlays.get(&name) {
            let Some(had) = overlay.want.as_ref().filter(|had| had.network == want.network) else {
                return Err(DriverError::Foreign { name });
            };
            not_older(want.generation, had.generation)?;
        }
        let overlay = SimOverlay { want: Some(want.clone()), bridge: Some(bridge) };
        self.overlays.insert(name, overlay);
        Ok(())
    }

    pub(super) fn remove_overlay(&mut self, network: Uuid) {
        let name = names::overlay(network);
        let is_of = |want: &OverlayWant| want.network == network;
        if self.overlays.get(&name).is_some_and(|had| had.want.as_ref().is_some_and(is_of)) {
            self.overlays.remove(&name);
        }
    }

    fn devices_on(&self, bridge: &str) -> usize {
        let taps = self.taps.values().map(|tap| &tap.bridge);
        let overlays = self.overlays.values().map(|overlay| &overlay.bridge);
        let taps = taps.chain(overlays).filter(|on| on.as_deref() == Some(bridge)).count();
        let servers = self.dhcp.keys().filter(|network| names::bridge(**network) == bridge).count();
        let routings = self.routers.values().filter_map(|it| it.want.routing.as_ref());
        let legs = routings.flat_map(Routing::bridged);
        let legs = legs.filter(|leg| names::bridge(leg.network) == bridge).count();
        taps + servers + legs
    }

    pub(super) fn devices(&self) -> L2Inventory {
        let taps = self.taps.iter().map(|(name, tap)| (name.clone(), tap.found())).collect();
        let bridges = self.bridges.iter().map(|(name, bridge)| {
            let found = FoundBridge { network: bridge.network, devices: self.devices_on(name) };
            (name.clone(), found)
        });
        let overlays = self.overlays.iter().map(|(name, found)| (name.clone(), found.found()));
        let generation = |want: &FilterWant| Some(want.generation);
        let filters = self.filters.iter().map(|(group, want)| (*group, generation(want)));
        L2Inventory {
            taps,
            bridges: bridges.collect(),
            overlays: overlays.collect(),
            filters: filters.collect(),
        }
    }

    pub(super) fn purge_devices(&mut self) {
        self.taps.retain(|_, tap| tap.spec.is_none());
        self.overlays.retain(|_, overlay| overlay.want.is_none());
        self.bridges.retain(|_, bridge| bridge.network.is_none());
        self.filters.clear();
    }

    pub(super) fn ensure_filter(&mut self, want: &FilterWant) -> Result<(), DriverError> {
        if let Some(had) = self.filters.get(&want.group) {
            not_older(want.generation, had.generation)?;
        }
        self.filters.insert(want.group, want.clone());
        Ok(())
    }

    pub(super) fn remove_filter(&mut self, group: Uuid) -> Result<(), DriverError> {
        let has_it =
            |tap: &SimTap| tap.spec.as_ref().is_some_and(|spec| spec.groups.contains(&group));
        if self.taps.values().any(has_it) {
            let doing = format!("removing security group {group}");
            return Err(DriverError::failed(doing, "a tap has it"));
        }
        self.filters.remove(&group);
        Ok(())
    }

    pub(super) fn may_open(&self, network: Uuid, connection: &Connection) -> Option<bool> {
        let taps = self.taps.values().filter_map(|tap| tap.spec.as_ref());
        let taps: Vec<&TapSpec> = taps.filter(|spec| spec.network == network).collect();
        judge::may_open(&taps, &self.filters, connection)
    }

    pub(super) fn serve(&mut self, want: &DhcpWant) -> Result<Serving, DriverError> {
        let bridge = names::bridge(want.network);
        if !self.bridges.contains_key(&bridge) {
            return Err(DriverError::failed(
                format!("serving DHCP on {bridge}"),
                "there is no such bridge",
            ));
        }
        let namespace = match self.dhcp.get(&want.network) {
            Some(dhcp) if !dhcp.mine => {
                return Err(DriverError::Foreign { name: names::namespace(want.network) });
            }
            Some(dhcp) => {
                not_older(want.generation, dhcp.want.generation)?;
                dhcp.namespace
            }
            None => {
                self.namespaces_made += 1;
                self.namespaces_made
            }
        };
        let dhcp = SimDhcp { want: want.clone(), alive: true, namespace, mine: true };
        self.dhcp.insert(want.network, dhcp);
        Ok(Serving { namespace })
    }

    pub(super) fn ensure_router(&mut self, want: &RouterWant) -> Result<(), DriverError> {
        let name = names::router(want.router);
        let routing = want.routing.as_ref();
        for leg in routing.into_iter().flat_map(Routing::bridged) {
            if !self.bridges.contains_key(&names::bridge(leg.network)) {
                let doing = format!("connecting {name} with {}", names::bridge(leg.network));
                return Err(DriverError::failed(doing, "there is no such bridge"));
            }
        }
        if self.routers.get(&want.router).is_some_and(|router| !router.mine) {
            return Err(DriverError::Foreign { name });
        }
        self.ask_for_router(want.router, want.generation)?;
        self.routers.insert(want.router, SimRouter { want: want.clone(), mine: true });
        Ok(())
    }

    pub(super) fn remove_router(
        &mut self,
        router: Uuid,
        generation: u64,
    ) -> Result<(), DriverError> {
        self.ask_for_router(router, generation)?;
        if self.routers.get(&router).is_some_and(|router| router.mine) {
            self.routers.remove(&router);
        }
        Ok(())
    }

    fn ask_for_router(&mut self, router: Uuid, generation: u64) -> Result<(), DriverError> {
        let newest = self.routers_asked.entry(router).or_insert(generation);
        not_older(generation, *newest)?;
        *newest = generation;
        Ok(())
    }

    pub(super) fn found_routers(&self) -> BTreeMap<Uuid, FoundRouter> {
        let found = |router: &SimRouter| FoundRouter {
            mine: router.mine,
            generation: Some(router.want.generation),
        };
        self.routers.iter().map(|(id, router)| (*id, found(router))).collect()
    }

    pub(super) fn stop(&mut self, network: Uuid) {
        if self.dhcp.get(&network).is_some_and(|dhcp| dhcp.mine) {
            self.dhcp.remove(&network);
        }
    }

    pub(super) fn health(&self, network: Uuid) -> Health {
        match self.dhcp.get(&network) {
            Some(dhcp) if dhcp.alive => Health::Answering,
            Some(_) => Health::Down("its process is gone".to_owned()),
            None => Health::Down("its namespace is gone".to_owned()),
        }
    }

    pub(super) fn namespaces(&self) -> BTreeMap<Uuid, FoundDhcp> {
        let found =
            |dhcp: &SimDhcp| FoundDhcp { mine: dhcp.mine, generation: Some(dhcp.want.generation) };
        self.dhcp.iter().map(|(network, dhcp)| (*network, found(dhcp))).collect()
    }

    pub(super) fn offer(&self, port: Uuid) -> Option<SimOffer> {
        let tap = self.taps.get(&names::tap(port))?;
        let spec = tap.spec.as_ref()?;
        let dhcp = self.dhcp.get(&spec.network).filter(|dhcp| dhcp.alive)?;
        let lease = dhcp.want.leases.iter().find(|l| l.mac_address == spec.mac_address)?;
        let subnet = dhcp.want.subnets.iter().find(|s| s.cidr.contains(&lease.address))?;
        Some(SimOffer {
            address: lease.address,
            cidr: subnet.cidr,
            gateway: subnet.gateway,
            dns_servers: subnet.dns_servers.clone(),
            agent_address: subnet.agent_address,
            mtu: dhcp.want.mtu,
            hostname: lease.hostname.clone(),
        })
    }
}

impl SimOverlay {
    fn found(&self) -> FoundOverlay {
        FoundOverlay {
            network: self.want.as_ref().map(|want| (want.network, want.generation)),
            bridge: self.bridge.clone(),
            tunnel: self.want.as_ref().and_then(|want| want.tunnel.clone()),
        }
    }
}

impl SimTap {
    fn port(&self) -> Option<Uuid> {
        self.spec.as_ref().map(|spec| spec.port)
    }

    fn found(&self) -> FoundTap {
        FoundTap {
            port: self.spec.as_ref().map(|spec| (spec.port, spec.generation)),
            bridge: self.bridge.clone(),
            mtu: self.spec.as_ref().map_or(0, |spec| spec.mtu),
            guarded: self.spec.is_some(),
        }
    }
}
