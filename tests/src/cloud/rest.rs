//! How requests reach a control node: into its router on tier 1, by HTTP over simulated TCP on tier 2.

use std::{io, net::SocketAddr};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
    serve::Listener,
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tower::ServiceExt;
use updraft_cloud::Control;
use updraft_edge::listener::{self, Limits};
use updraft_harness::tcp::{Tcp, TcpListener, TcpStream};
use updraft_transport::NodeId;

/// Where control nodes answer REST.
const PORT: u16 = 8_774;

/// The way to a control node.
#[derive(Clone)]
pub(super) enum Door {
    /// The router itself, on the node.
    Router { node: NodeId, router: Router },
    /// TCP, from the user's machine.
    Tcp { user: NodeId, tcp: Tcp, node: NodeId },
}

impl Door {
    /// Who answers.
    pub(super) fn node(&self) -> &NodeId {
        match self {
            Self::Router { node, .. } | Self::Tcp { node, .. } => node,
        }
    }

    /// Where [`Self::pass`] is to run.
    pub(super) fn from(&self) -> &NodeId {
        match self {
            Self::Router { node, .. } => node,
            Self::Tcp { user, .. } => user,
        }
    }

    /// Sends a request and returns the answer, its body still to be read.
    pub(super) async fn pass(self, request: Request<Body>) -> Option<Response<Body>> {
        match self {
            Self::Router { router, .. } => router.oneshot(request).await.ok(),
            Self::Tcp { tcp, node, .. } => over_tcp(&tcp, &node, request).await.ok(),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the user's machine is a part of the harness")]
async fn over_tcp(
    tcp: &Tcp,
    node: &NodeId,
    request: Request<Body>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = tcp.connect(node, PORT).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?.map(Body::new))
}

/// Answers REST on the node's own simulated TCP port, as long as the node lives.
pub(super) fn answer(control: &Control, tcp: &Tcp) {
    let (env, router) = (control.context().env.clone(), control.router());
    let (own, listens) = (env.clone(), tcp.listen(PORT));
    env.spawn("rest", async move {
        match listens {
            Ok(listener) => {
                let end = watch::Sender::new(false);
                let listener = Simulated(listener);
                listener::serve(&own, listener, router, Limits::default(), end.subscribe()).await;
            }
            Err(error) => tracing::error!(%error, "a control node does not answer"),
        }
    });
}

/// The world's listener, as axum wants one.
struct Simulated(TcpListener);

impl Listener for Simulated {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                // The connection is gone before it was taken.
                Err(error) => tracing::debug!(%error, "a connection was not accepted"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.0.local_addr())
    }
}
