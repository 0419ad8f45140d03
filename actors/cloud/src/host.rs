//! A compute host: the compute node, the network agents and the volume node.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use updraft_compute::{
    disks::Disks,
    hypervisor::Hypervisor,
    node::{ComputeNode, NodeConfig},
};
use updraft_network::{
    agent::{AgentContext, MetadataConfig, NetworkAgent},
    driver::{DhcpDriver, L2Driver, L3Driver},
};
use updraft_runtime::{
    directory::Interest,
    node::{Node, Parts, Prepared},
    store::Store,
    trace::collect,
};
use updraft_volume::{VolumeAgent, driver::VolumeDriver};

use crate::control::StartError;

/// What stands between the agents and the machine.
pub struct HostDrivers {
    /// Runs guests.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Keeps their images and root disks.
    pub disks: Arc<dyn Disks>,
    /// Makes bridges and taps.
    pub l2: Arc<dyn L2Driver>,
    /// Answers DHCP.
    pub dhcp: Arc<dyn DhcpDriver>,
    /// Makes routers.
    pub l3: Arc<dyn L3Driver>,
    /// The physical networks that the host has a way to.
    pub physical_networks: BTreeSet<String>,
    /// How metadata is listened for.
    pub metadata: MetadataConfig,
    /// Where other hosts reach the tunnels of this one; where its node listens if nothing is said.
    pub tunnel_address: Option<IpAddr>,
    /// Makes volumes.
    pub volumes: Arc<dyn VolumeDriver>,
}

/// A running compute host; cheap to clone.
#[derive(Clone)]
pub struct Host {
    node: Arc<Node>,
    network: NetworkAgent,
}

impl Host {
    /// Starts every agent on these parts; `store` is the node's own.
    pub async fn start(
        parts: Parts,
        store: Store,
        drivers: HostDrivers,
        config: NodeConfig,
    ) -> Result<Self, StartError> {
        let (env, address) = (parts.env.clone(), parts.address);
        let prepared = Prepared::new(parts).told_of(Interest::ControlNodes);
        let rpc = prepared.rpc();
        let compute = ComputeNode::new(
            rpc.clone(),
            store.scoped("node/"),
            prepared.tracer(),
            drivers.hypervisor,
            drivers.disks,
            config,
        );
        let context = AgentContext {
            env: env.clone(),
            rpc: rpc.clone(),
            store: store.clone(),
            tracer: prepared.tracer(),
            host: rpc.local().clone(),
            tunnel_address: drivers.tunnel_address.unwrap_or(address.ip()),
            physical_networks: drivers.physical_networks,
        };
        let HostDrivers { l2, dhcp, l3, metadata, .. } = drivers;
        let network = NetworkAgent::new(context, l2, dhcp, l3, metadata);
        let context = updraft_volume::AgentContext {
            env: env.clone(),
            host: rpc.local().clone(),
            rpc,
            store,
            tracer: prepared.tracer(),
        };
        let volume = VolumeAgent::new(context, drivers.volumes);
        let mut offered = compute.services();
        offered.extend(network.services());
        offered.extend(volume.services());
        let node =
            prepared.start(offered).await.map_err(|error| StartError::Actor(Box::new(error)))?;
        collect::start(&env, node.tracer().clone(), node.rpc().clone());
        compute.start();
        network.start();
        volume.start();
        Ok(Self { node: Arc::new(node), network })
    }

    /// The node that it runs on.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The host's network agent.
    #[must_use]
    pub fn network(&self) -> &NetworkAgent {
        &self.network
    }
}
