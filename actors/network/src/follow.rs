//! What wakes rows that depend on other rows. All of it are hints: a rescan would find the same, later.

use std::collections::BTreeSet;

use updraft_edge::context::Context;
use updraft_runtime::{
    rows::Engine,
    store::{Record, Store, StoreError, Txn, Watch, entry_in, index_in, key_in},
};

use crate::{
    converge::{DhcpHosts, Filters, Overlays, Ports, Routers},
    rows::{
        DhcpRow, FilterRow, FloatingIpRow, NetworkRow, OverlayRow, PortRow, RouterRow, RuleRow,
        SubnetRow, TunnelRow,
    },
};

/// The engines of all rows that converge; cheap to clone.
#[derive(Clone)]
pub(crate) struct Engines {
    pub(crate) ports: Engine<Ports>,
    pub(crate) dhcp: Engine<DhcpHosts>,
    pub(crate) filters: Engine<Filters>,
    pub(crate) overlays: Engine<Overlays>,
    pub(crate) routers: Engine<Routers>,
}

impl Engines {
    pub(crate) fn start(&self) {
        self.ports.start();
        self.dhcp.start();
        self.filters.start();
        self.overlays.start();
        self.routers.start();
    }
}

/// Starts to follow everything.
pub(crate) fn start(context: &Context, store: &Store, engines: &Engines) {
    let follower = || Follower { store: store.clone(), engines: engines.clone() };
    let env = &context.env;
    env.spawn("network.dhcp", follower().ports());
    env.spawn("network.subnets", follower().subnets());
    env.spawn("network.filters", follower().needs());
    env.spawn("network.rules", follower().rules());
    env.spawn("network.members", follower().members());
    env.spawn("network.places", follower().places());
    env.spawn("network.tunnels", follower().tunnels());
    env.spawn("network.held", follower().held());
    env.spawn("network.networks", follower().networks());
    env.spawn("network.takeover", takeover(context.clone(), engines.clone()));
}

/// Plans everything when another control node comes or goes, since it decides who acts for what.
async fn takeover(context: Context, engines: Engines) {
    let mut changes = context.rpc.directory().changes();
    loop {
        changes.changed().await;
        engines.dhcp.wake_all();
        engines.ports.wake_all();
        engines.filters.wake_all();
        engines.overlays.wake_all();
        engines.routers.wake_all();
    }
}

struct Follower {
    store: Store,
    engines: Engines,
}

impl Follower {
    /// Plans the networks of hosts anew whenever a port of theirs changes.
    async fn ports(self) {
        let mut watch = self.store.watch(&format!("{}/", PortRow::TABLE));
        loop {
            let changes = watch.changed().await;
            if changes.overflowed {
                self.engines.dhcp.wake_all();
            }
            for key in changes.keys.iter().filter_map(|key| key_in::<PortRow>(key)) {
                let read = self.store.read(|txn| txn.get::<PortRow>(&key)).await;
                let Ok(Some(row)) = read else { continue };
                for host in row.bindings.keys() {
                    self.engines.dhcp.wake(&DhcpRow::key_of(row.network, host));
                }
            }
        }
    }

    /// The same for subnets. Their changes are rare, so all networks on all hosts are planned.
    async fn subnets(self) {
        let mut watch = self.store.watch(&format!("{}/", SubnetRow::TABLE));
        loop {
            watch.changed().await;
            self.engines.dhcp.wake_all();
            self.engines.ports.wake_all();
        }
    }

    /// Plans a security group on a host anew when a port there takes it or lets go of it.
    async fn needs(self) {
        let mut watch = self.watch::<PortRow>(PortRow::BY_FILTER);
        loop {
            for filter in self.values::<PortRow>(&mut watch, PortRow::BY_FILTER).await {
                self.engines.filters.wake(&filter);
            }
        }
    }

    /// Plans a security group on all its hosts anew when a rule of it comes or goes.
    async fn rules(self) {
        let mut watch = self.watch::<RuleRow>(RuleRow::BY_GROUP);
        loop {
            for group in self.values::<RuleRow>(&mut watch, RuleRow::BY_GROUP).await {
                self.wake_found(FilterRow::BY_GROUP, &group).await;
            }
        }
    }

    /// Plans the security groups that name a group as peer anew when somebody joins or leaves it.
    async fn members(self) {
        let mut watch = self.watch::<PortRow>(PortRow::BY_MEMBER);
        loop {
            let joined = self.values::<PortRow>(&mut watch, PortRow::BY_MEMBER).await;
            let mut groups: Vec<&str> =
                joined.iter().filter_map(|value| Some(value.split_once('/')?.0)).collect();
            groups.dedup();
            for group in groups {
                self.wake_found(FilterRow::BY_PEER, group).await;
            }
        }
    }

    /// Plans a network's tunnels on all its hosts anew when a port comes, goes or moves.
    async fn places(self) {
        let mut watch = self.watch::<PortRow>(PortRow::BY_PLACE);
        loop {
            let changes = watch.changed().await;
            if changes.overflowed {
                self.engines.overlays.wake_all();
            }
            let entries =
                changes.keys.iter().filter_map(|key| entry_in::<PortRow>(PortRow::BY_PLACE, key));
            let places: Vec<String> = entries.map(|(value, _)| value).collect();
            let networks: BTreeSet<&str> =
                places.iter().filter_map(|place| Some(PortRow::read_place(place)?.0)).collect();
            for network in networks {
                self.wake_tunnels(network).await;
            }
        }
    }

    /// The same for all networks when a host says where it is reached, which is rare.
    async fn tunnels(self) {
        let mut watch = self.store.watch(&format!("{}/", TunnelRow::TABLE));
        loop {
            watch.changed().await;
            self.engines.overlays.wake_all();
        }
    }

    /// Plans a port anew of which a router's host has let go, and the router that its floating address now leads through.
    async fn held(self) {
        let mut watch = self.watch::<RouterRow>(RouterRow::BY_HELD);
        loop {
            let changes = watch.changed().await;
            if changes.overflowed {
                self.engines.ports.wake_all();
                self.engines.routers.wake_all();
            }
            let keys = changes.keys.iter();
            for (port, _) in keys.filter_map(|key| entry_in::<RouterRow>(RouterRow::BY_HELD, key)) {
                self.engines.ports.wake(&port);
                let read = self.store.read(|txn| router_of(txn, &port)).await;
                read.ok().flatten().iter().for_each(|router| self.engines.routers.wake(router));
            }
        }
    }

    /// Plans everything of a network anew when it changes: its largest packet may have.
    async fn networks(self) {
        let mut watch = self.store.watch(&format!("{}/", NetworkRow::TABLE));
        loop {
            let changes = watch.changed().await;
            if changes.overflowed {
                self.engines.overlays.wake_all();
            }
            for network in changes.keys.iter().filter_map(|key| key_in::<NetworkRow>(key)) {
                self.wake_tunnels(&network).await;
                for server in self.found::<DhcpRow>("network", &network).await {
                    self.engines.dhcp.wake(&server);
                }
                for port in self.found::<PortRow>("network", &network).await {
                    self.engines.ports.wake(&port);
                }
            }
        }
    }

    async fn wake_tunnels(&self, network: &str) {
        for overlay in self.found::<OverlayRow>(OverlayRow::BY_NETWORK, network).await {
            self.engines.overlays.wake(&overlay);
        }
    }

    fn watch<R: Record>(&self, index: &str) -> Watch {
        self.store.watch(&index_in::<R>(index))
    }

    /// The values in the index of which entries came or went.
    async fn values<R: Record>(&self, watch: &mut Watch, index: &str) -> Vec<String> {
        let changes = watch.changed().await;
        if changes.overflowed {
            self.engines.filters.wake_all();
        }
        let entries = changes.keys.iter().filter_map(|key| entry_in::<R>(index, key));
        entries.map(|(value, _)| value).collect()
    }

    async fn wake_found(&self, index: &'static str, value: &str) {
        for filter in self.found::<FilterRow>(index, value).await {
            self.engines.filters.wake(&filter);
        }
    }

    /// The keys of the rows that an index has for a value, and for those that begin with it.
    async fn found<R: Record>(&self, index: &'static str, value: &str) -> Vec<String> {
        let found = self.store.read(|txn| txn.index_entries::<R>(index, value)).await;
        found.into_iter().flatten().map(|(_, row)| row).collect()
    }
}

/// The router that the floating address of this port leads through.
fn router_of(txn: &Txn, port: &str) -> Result<Option<String>, StoreError> {
    let Some(port) = txn.get::<PortRow>(port)? else { return Ok(None) };
    let floating = txn.get::<FloatingIpRow>(&port.device_id)?;
    Ok(floating.and_then(|row| row.router).map(|router| router.to_string()))
}
