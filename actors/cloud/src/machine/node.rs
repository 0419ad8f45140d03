//! A compute host: the process that runs guests, on the control node's machine or another.

use std::{net::SocketAddr, time::Duration};

use updraft_compute::node::NodeConfig;
use updraft_runtime::{Env, node::Parts, store::Store};
use updraft_transport::{NodeId, join::JoinToken};

use super::{
    config::Settings,
    contact::{self, CONTACT_FILE},
    data_dir::DataDir,
    drivers,
    enrol::{self, EnrolError, Membership},
    known,
    link::{self, Failure, Side},
    processes::Processes,
    renewal, revoked,
    signals::told_to_end,
};
use crate::host::Host;

/// The cell's name until there are several.
pub(super) const CELL: &str = "cell-1";

/// The name of a compute process among the processes of a folder.
pub const COMPUTE: &str = "compute";

/// Where a compute node listens; there as long as it runs.
pub const NODE_ADDRESS_FILE: &str = "run/node-address";

/// How long the drivers may take to end in order.
const END_WITHIN: Duration = Duration::from_secs(8);

/// What the command line says beyond the settings.
#[derive(Default)]
pub struct NodeRequest {
    /// The token to join with, if the host is no node yet.
    pub token: Option<JoinToken>,
    /// The name to join under; the machine's own if there is none.
    pub name: Option<NodeId>,
    /// Where the control node listens now, if elsewhere than when the host joined.
    pub control: Option<SocketAddr>,
}

/// Makes this host a node if it is none yet, without running it.
pub async fn enrol_node(settings: &Settings, request: NodeRequest) -> Result<Membership, Failure> {
    let env = Env::real();
    let data = DataDir::open(&settings.data_dir)?;
    let _held = Processes::of(&data).hold(&env, COMPUTE).await?;
    join(&env, &data, request).await
}

async fn join(env: &Env, data: &DataDir, request: NodeRequest) -> Result<Membership, Failure> {
    let NodeRequest { token, name, control } = request;
    let mut membership = enrol::enrol(env, data, token.as_ref(), name).await?;
    if let Some(moved) = control.filter(|address| *address != membership.control_address) {
        membership.control_address = moved;
        enrol::remember(data, &membership)?;
    }
    Ok(membership)
}

/// Runs a compute host until it is told to end.
pub async fn run_node(settings: Settings, request: NodeRequest) -> Result<(), Failure> {
    let env = Env::real();
    let data = DataDir::open(&settings.data_dir)?;
    let _held = Processes::of(&data).hold(&env, COMPUTE).await?;
    data.remove(NODE_ADDRESS_FILE)?;
    data.remove(CONTACT_FILE)?;
    let membership = join(&env, &data, request).await?;
    let store = Store::redb(env.clone(), &data.path("compute.redb")).await?;
    let credentials = enrol::credentials(&data, &membership.node)?;
    let incarnation = data.next_incarnation(&env, membership.node.as_str())?;
    let listen = enrol::listen_address(settings.node_listen, membership.control_address)?;
    let (quic, events) = link::link(&env, credentials.clone(), incarnation, listen, Side::Node)?;
    // Before anything else runs: whoever was refused when this node last ran is refused now.
    let refused = revoked::kept(&data, &membership.node)?;
    quic.revoke(&refused.keys)?;
    let seeds = membership.controls();
    let parts = Parts {
        env: env.clone(),
        address: quic.local_addr()?,
        transport: quic.clone(),
        events,
        incarnation,
        cell: CELL.to_owned(),
        seeds: seeds.clone(),
    };
    let address = quic.local_addr()?.ip();
    let drivers = drivers::drivers(&env, &settings, &data, &credentials, address)?;
    let host = Host::start(parts, store.clone(), drivers, NodeConfig::default()).await?;
    data.write(NODE_ADDRESS_FILE, &quic.local_addr()?.to_string())?;
    settings.export_spans(&env, host.node());
    let directory = host.node().rpc().directory().clone();
    directory.revocations().take(refused);
    let kept = Some((data.clone(), membership.node.clone()));
    revoked::follow(&env, quic.clone(), kept, directory.revocations());
    renewal::of_node(&env, quic, credentials, host.node().rpc().clone(), data.clone());
    tracing::info!(node = %membership.node, control = %membership.control_address, "this node runs");
    let seeds: Vec<_> = seeds.into_iter().map(|(node, _)| node).collect();
    let (name, kept) = (membership.node.clone(), (env.clone(), data.clone(), directory.clone()));
    env.spawn("known controls", async move {
        let (env, data, directory) = kept;
        known::follow(&env, &data, &directory, membership).await;
    });
    let removed = tokio::select! {
        biased;
        () = told_to_end() => None,
        reason = host.node().failed() => return Err(reason.into()),
        control = contact::follow(&env, &data, &directory, &seeds) => Some(control),
    };
    let ended = async {
        host.network().stop().await;
        host.node().stop().await;
        store.close().await;
    };
    if env.timeout(END_WITHIN, ended).await.is_none() {
        tracing::warn!(
            "this node did not end in order; what it left is looked after at its next start"
        );
    }
    data.remove(NODE_ADDRESS_FILE)?;
    match removed {
        None => Ok(()),
        Some(control) => Err(EnrolError::Removed { node: name, control }.into()),
    }
}
