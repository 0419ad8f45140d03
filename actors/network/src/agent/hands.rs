//! How wants are carried out by the drivers, each operation within a deadline.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use updraft_protocol::network::{DhcpWant, FilterWant, OverlayWant, PortWant, RouterWant};
use updraft_runtime::Env;

use super::{
    metadata::{Leases, Metadata},
    plan::Hands,
    want::Want,
};
use crate::driver::{DhcpDriver, DriverError, L2Driver, L3Driver, TapSpec};

/// How long one operation on bridges and taps may take: a few netlink requests, and two of them fit the ten
/// seconds of a call.
pub(super) const L2_DEADLINE: Duration = Duration::from_secs(4);

/// How long one operation on DHCP servers may take: it starts a dozen processes and waits for one to end.
pub(super) const DHCP_DEADLINE: Duration = Duration::from_secs(6);

/// How long one operation on routers may take: it starts a few dozen processes.
pub(super) const L3_DEADLINE: Duration = Duration::from_secs(6);

/// The operation's result, or that there was none in time.
pub(super) async fn within<T>(
    env: &Env,
    limit: Duration,
    operation: impl Future<Output = Result<T, DriverError>>,
) -> Result<T, DriverError> {
    env.timeout(limit, operation).await.unwrap_or(Err(DriverError::Silent(limit)))
}

/// Plugs and unplugs ports.
pub(super) struct L2Hands {
    pub(super) env: Env,
    pub(super) l2: Arc<dyn L2Driver>,
}

#[async_trait]
impl Hands<PortWant> for L2Hands {
    async fn apply(&self, want: &PortWant) -> Result<(), DriverError> {
        if want.present {
            let bridge = self.l2.ensure_bridge(want.network, want.mtu);
            within(&self.env, L2_DEADLINE, bridge).await?;
            let spec = tap_spec(want);
            within(&self.env, L2_DEADLINE, self.l2.ensure_tap(&spec)).await
        } else {
            within(&self.env, L2_DEADLINE, self.l2.remove_tap(want.port)).await?;
            let bridge = self.l2.remove_bridge_if_empty(want.network);
            within(&self.env, L2_DEADLINE, bridge).await
        }
    }
}

fn tap_spec(want: &PortWant) -> TapSpec {
    TapSpec {
        port: want.port,
        generation: want.generation,
        network: want.network,
        mac_address: want.mac_address.clone(),
        addresses: want.addresses.clone(),
        mtu: want.mtu,
        secured: want.secured,
        groups: want.groups.clone(),
        pairs: want.pairs.clone(),
    }
}

/// Lets pass what security groups let pass.
pub(super) struct FilterHands {
    pub(super) env: Env,
    pub(super) l2: Arc<dyn L2Driver>,
}

#[async_trait]
impl Hands<FilterWant> for FilterHands {
    async fn apply(&self, want: &FilterWant) -> Result<(), DriverError> {
        if want.present {
            within(&self.env, L2_DEADLINE, self.l2.ensure_filter(want)).await
        } else {
            within(&self.env, L2_DEADLINE, self.l2.remove_filter(want.group)).await
        }
    }
}

/// Connects networks with other hosts.
pub(super) struct OverlayHands {
    pub(super) env: Env,
    pub(super) l2: Arc<dyn L2Driver>,
}

#[async_trait]
impl Hands<OverlayWant> for OverlayHands {
    async fn apply(&self, want: &OverlayWant) -> Result<(), DriverError> {
        let (env, l2, network) = (&self.env, &self.l2, want.network);
        if let Some(tunnel) = &want.tunnel {
            within(env, L2_DEADLINE, l2.ensure_bridge(network, tunnel.mtu)).await?;
            within(env, L2_DEADLINE, l2.ensure_overlay(want)).await
        } else {
            within(env, L2_DEADLINE, l2.remove_overlay(network)).await?;
            within(env, L2_DEADLINE, l2.remove_bridge_if_empty(network)).await
        }
    }
}

/// Makes, changes and removes routers. A bridge on which nothing is left then goes when the host is next looked at.
pub(super) struct RouterHands {
    pub(super) env: Env,
    pub(super) l2: Arc<dyn L2Driver>,
    pub(super) l3: Arc<dyn L3Driver>,
}

#[async_trait]
impl Hands<RouterWant> for RouterHands {
    async fn apply(&self, want: &RouterWant) -> Result<(), DriverError> {
        let Some(routing) = &want.routing else {
            let removed = self.l3.remove_router(want.router, want.generation);
            return within(&self.env, L3_DEADLINE, removed).await;
        };
        for leg in routing.bridged() {
            let bridge = self.l2.ensure_bridge(leg.network, leg.mtu);
            within(&self.env, L2_DEADLINE, bridge).await?;
        }
        within(&self.env, L3_DEADLINE, self.l3.ensure_router(want)).await
    }
}

/// Starts, changes and stops DHCP servers, and the metadata service beside each.
pub(super) struct DhcpHands {
    pub(super) env: Env,
    pub(super) l2: Arc<dyn L2Driver>,
    pub(super) dhcp: Arc<dyn DhcpDriver>,
    pub(super) metadata: Metadata,
    pub(super) leases: Leases,
}

#[async_trait]
impl Hands<DhcpWant> for DhcpHands {
    async fn apply(&self, want: &DhcpWant) -> Result<(), DriverError> {
        let network = want.network;
        self.leases.learn(want);
        if !want.present() {
            // What listens in a namespace keeps it alive.
            self.metadata.close(network).await;
            within(&self.env, DHCP_DEADLINE, self.dhcp.stop(network)).await?;
            return within(&self.env, L2_DEADLINE, self.l2.remove_bridge_if_empty(network)).await;
        }
        within(&self.env, L2_DEADLINE, self.l2.ensure_bridge(network, want.mtu)).await?;
        let serving = within(&self.env, DHCP_DEADLINE, self.dhcp.serve(want)).await?;
        let listening = async {
            let opened = self.metadata.open(network, serving.namespace).await;
            opened.map_err(|error| DriverError::failed("listening for metadata", error))
        };
        within(&self.env, DHCP_DEADLINE, listening).await
    }
}
