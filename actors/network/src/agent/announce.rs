//! Says where other hosts reach the tunnels of this one: at each start, whenever a control node comes or goes, and
//! now and then, since what was said may have been forgotten.

use std::time::Duration;

use tokio::sync::watch;
use updraft_protocol::network::{Announce, L2, Server};
use updraft_runtime::{
    rows::ASK_EVERY,
    rpc::{Cx, TraceContext},
};

use super::AgentContext;

/// The pause after nobody has heard it.
const PAUSE: Duration = Duration::from_secs(1);

/// Goes on until the agent stops.
pub(super) async fn forever(context: AgentContext, mut stopped: watch::Receiver<bool>) {
    let mut changes = context.rpc.directory().changes();
    loop {
        changes.mark_seen();
        let pause = if say(&context).await { ASK_EVERY } else { PAUSE };
        let until = async {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => true,
                () = changes.changed() => false,
            }
        };
        if context.env.timeout(pause, until).await == Some(true) {
            return;
        }
    }
}

/// Whether it was heard.
async fn say(context: &AgentContext) -> bool {
    let said = Announce {
        address: context.tunnel_address,
        incarnation: context.rpc.incarnation().0,
        physical_networks: context.physical_networks.clone(),
    };
    let cx = Cx::new(L2, TraceContext::default());
    match context.rpc.client::<Server>().call(&said, &cx).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "nobody heard where this host's tunnels are reached");
            false
        }
    }
}
