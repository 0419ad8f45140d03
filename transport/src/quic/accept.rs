//! Takes in connections that peers open.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use quinn::{Endpoint, Incoming};

use super::{
    join,
    meet::{self, Inbound},
    node::Node,
    words,
};
use crate::{counts::Refused, link::LinkError};

/// Handshakes at once before a dialler has to prove its address first.
const HANDSHAKES_BEFORE_PROOF: usize = 64;
/// Handshakes at once before further ones are refused: each costs a signature and about 100 KiB.
const HANDSHAKES_MAX: usize = 512;

/// How the log calls those that are refused unseen.
const CROWD: &str = "further peers";

/// Runs until the endpoint closes.
pub(super) async fn run(node: Arc<Node>, endpoint: Endpoint) {
    let handshakes = Arc::new(AtomicUsize::new(0));
    while let Some(incoming) = endpoint.accept().await {
        let running = handshakes.load(Ordering::Relaxed);
        if node.is_closing() {
            incoming.refuse();
        } else if running >= HANDSHAKES_MAX {
            incoming.refuse();
            let why = format!("{HANDSHAKES_MAX} handshakes are under way");
            // Not by address: none is proven, and whoever makes them up would fill the log.
            node.log_refusal(CROWD, &node.refused(Refused::TooManyHandshakes, why));
        } else if running >= HANDSHAKES_BEFORE_PROOF && incoming.may_retry() {
            // It fails only if the address is proven already, and that was just checked.
            let _ = incoming.retry();
        } else {
            let counted = Counted::new(&handshakes);
            let greeting = greet(Arc::clone(&node), incoming, counted);
            node.host.spawn("quic handshake", Box::pin(greeting));
        }
    }
}

async fn greet(node: Arc<Node>, incoming: Incoming, counted: Counted) {
    let address = incoming.remote_address();
    let connection = match incoming.accept() {
        Ok(connecting) => connecting.await,
        Err(error) => Err(error),
    };
    let heard = match connection {
        Ok(connection) if join::is_wanted(&connection) => {
            return join::serve(&node, &connection).await;
        }
        Ok(connection) => meet::greet(&node, connection).await,
        Err(error) => Err(node.not_met(&error)),
    };
    drop(counted);
    match heard {
        Ok(inbound) => introduce(&node, inbound, address),
        Err(why) if why == words::HUNG_UP => {}
        Err(why) => node.log_refusal(&address.to_string(), &why),
    }
}

/// Leaves a peer's connection to its keeper.
fn introduce(node: &Arc<Node>, inbound: Inbound, address: SocketAddr) {
    match node.peer(inbound.node()) {
        Ok(peer) => peer.offer(inbound),
        Err(LinkError::Closing) => inbound.refuse(&LinkError::Closing.to_string()),
        Err(_) => {
            let why = node.refused(Refused::OverLimit, "too many peers are known here");
            node.log_refusal(&address.to_string(), &why);
            inbound.refuse(&why);
        }
    }
}

/// Counts one handshake while it lasts.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(handshakes: &Arc<AtomicUsize>) -> Self {
        handshakes.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(handshakes))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
