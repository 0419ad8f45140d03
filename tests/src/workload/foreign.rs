//! Hosts that ask for what is not theirs.

use std::time::Duration;

use updraft_harness::campaign::Run;
use updraft_protocol::compute::{Conductor, GetServer};
use updraft_runtime::rpc::{CallError, Cx, FaultKind, TraceContext};
use updraft_transport::NodeId;
use uuid::Uuid;

use crate::{census, cloud::SimCloud};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// No host is told of a server that is another's.
///
/// # Panics
/// If one is.
pub(super) fn hosts_hear_of_their_own(cloud: &mut SimCloud, run: &Run) {
    let servers = census::take(cloud).servers;
    for host in cloud.hosts().to_vec() {
        let foreign = servers
            .iter()
            .find(|(_, server)| server.host().is_some_and(|other| other != host.as_str()));
        let Some((server, _)) = foreign else { continue };
        if !is_refused(cloud, &host, *server) {
            let words = format!("{host} was told of {server}");
            run.violated("a host hears of its own servers alone", &words);
        }
    }
}

/// Whether a host that asks for a server is told that it has none. One that gets no answer was told nothing.
fn is_refused(cloud: &mut SimCloud, host: &NodeId, server: Uuid) -> bool {
    let Some(running) = cloud.world.handle::<updraft_cloud::Host>(host) else { return true };
    let rpc = running.node().rpc().clone();
    let question = async move {
        let cx = Cx::new("bugs", TraceContext::fresh(rpc.env()));
        rpc.client::<Conductor>().call(&GetServer { server }, &cx).await
    };
    let answer = cloud.world.on(host, PATIENCE, question);
    match answer {
        Some(Err(CallError::Rejected(fault))) => fault.kind == FaultKind::NotFound,
        Some(Ok(_)) => false,
        _ => true,
    }
}
