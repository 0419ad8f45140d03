//! The side that has something to talk to: says whether it may be had, and moves bytes between it and the tunnel.

use std::future::Future;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};
use updraft_transport::{
    NodeId,
    body::{Incoming, Label},
};

use super::{Asked, OPENS_WITHIN, Reader, Request, Tunnel, Writer, busy, open::opened, relay};
use crate::{
    bulk::Opener,
    rpc::{BelongsTo, Ctx, Fault, FaultKind, Handlers, Protocol, Rpc},
    shares::Place,
};

impl<P: Protocol> Handlers<P> {
    /// Adds the handler of a message that asks for a tunnel: it says no, or gives what is to be talked to. That is
    /// dropped when the tunnel ends.
    #[must_use]
    pub fn tunnel<M, F, R, S>(self, rpc: &Rpc, handler: F) -> Self
    where
        M: Request + BelongsTo<P>,
        F: Fn(Ctx, M) -> R + Send + Sync + 'static,
        R: Future<Output = Result<S, Fault>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let rpc = rpc.clone();
        self.call(move |ctx, Asked { message, labels }: Asked<M>| {
            let (rpc, peer) = (rpc.clone(), ctx.peer.node.clone());
            // Without a place the handler is not run: what it would open is for nothing.
            let place = rpc.shared.tunnels.take(&peer).map_err(|full| busy(full, &peer));
            let offer = place.map(|place| (place, handler(ctx, message)));
            async move {
                let (place, offer) = offer?;
                let end = offer.await?;
                let granted = Granted { rpc: rpc.clone(), peer, place };
                let (listening, listens) = oneshot::channel();
                rpc.env().spawn("tunnel", async move {
                    if let Err(why) = granted.join(end, labels, listening).await {
                        tracing::debug!(why, "a tunnel ended");
                    }
                });
                let gone = |_| Fault::new(FaultKind::Unavailable, "NoStream", "the node ends");
                listens.await.map_err(gone)
            }
        })
    }
}

/// A tunnel that was granted and whose streams do not stand yet.
struct Granted {
    rpc: Rpc,
    peer: NodeId,
    place: Place<NodeId>,
}

impl Granted {
    async fn join(
        self,
        end: impl AsyncRead + AsyncWrite + Send,
        labels: super::Labels,
        listening: oneshot::Sender<()>,
    ) -> Result<(), String> {
        let forth = self.forth(Label(labels.forth), listening);
        let back = opened(&self.rpc, &self.peer, Label(labels.back));
        let (incoming, outgoing) = tokio::join!(forth, back);
        let outgoing = outgoing.map_err(|error| error.to_string())?;
        let incoming = incoming?;
        let env = self.rpc.env().clone();
        let reader = Reader { incoming, _place: self.place };
        let tunnel = Tunnel { reader, writer: Writer { env, outgoing } };
        relay(tunnel, end).await.map_err(|error| error.to_string())
    }

    /// The stream of who asked, who is told to open it once it is listened for.
    async fn forth(
        &self,
        label: Label,
        listening: oneshot::Sender<()>,
    ) -> Result<Incoming, String> {
        let (sender, forth) = oneshot::channel();
        let opener = Opener::Node(self.peer.clone());
        let _expected = self.rpc.shared.bodies.expect(label, opener, sender);
        // Who asked may have given up meanwhile; then nothing comes.
        let _ = listening.send(());
        match self.rpc.env().timeout(OPENS_WITHIN, forth).await {
            Some(Ok(incoming)) => Ok(incoming),
            Some(Err(_)) | None => Err(format!("no stream of {} comes", self.peer)),
        }
    }
}
