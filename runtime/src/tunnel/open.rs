//! The side that wants a tunnel: draws the labels, asks, and joins the two streams.

use rand::RngCore;
use tokio::sync::oneshot;
use updraft_transport::{
    NodeId,
    body::{LABEL_BYTES, Label, Outgoing},
};

use super::{Asked, Labels, OPENS_WITHIN, OpenError, Reader, Request, Tunnel, Writer, full};
use crate::{
    bulk::Opener,
    rpc::{BelongsTo, Client, Cx, Protocol, Rpc},
};

impl<P: Protocol> Client<P> {
    /// Opens a tunnel to the server that this handle is for: one that is [named](Client::on), since a tunnel is with
    /// somebody. Asked for is with the message's own roles and the context, as in a call.
    pub async fn open<M>(&self, message: M, cx: &Cx) -> Result<Tunnel, OpenError>
    where
        M: Request + BelongsTo<P>,
    {
        let rpc = self.rpc();
        let Some(peer) = self.address().server.clone() else {
            return Err(OpenError::Broken("it was not said with which node".to_owned()));
        };
        let place = rpc.shared.tunnels.take(&peer);
        let place = place.map_err(|reason| OpenError::Full(full(reason, &peer)))?;
        let labels = Labels { forth: drawn(rpc), back: drawn(rpc) };
        let (sender, back) = oneshot::channel();
        let opener = Opener::Node(peer.clone());
        let _expected = rpc.shared.bodies.expect(Label(labels.back), opener, sender);
        let forth = Label(labels.forth);
        rpc.call(self.address(), &Asked { message, labels }, cx).await?;
        let outgoing = opened(rpc, &peer, forth).await?;
        let Some(Ok(incoming)) = rpc.env().timeout(OPENS_WITHIN, back).await else {
            return Err(OpenError::Broken(format!("no stream of {peer} comes")));
        };
        let writer = Writer { env: rpc.env().clone(), outgoing };
        Ok(Tunnel { reader: Reader { incoming, _place: place }, writer })
    }
}

fn drawn(rpc: &Rpc) -> [u8; LABEL_BYTES] {
    let mut label = [0; LABEL_BYTES];
    rpc.env().rng("tunnel label").fill_bytes(&mut label);
    label
}

/// A stream that the peer knows of.
pub(super) async fn opened(rpc: &Rpc, peer: &NodeId, label: Label) -> Result<Outgoing, OpenError> {
    let stream = rpc.shared.transport.open_body(peer, label);
    let mut stream = stream.map_err(|error| OpenError::Broken(error.to_string()))?;
    match rpc.env().timeout(OPENS_WITHIN, stream.open()).await {
        Some(Ok(())) => Ok(stream),
        Some(Err(error)) => Err(OpenError::Broken(error.to_string())),
        None => Err(OpenError::Broken(format!("no stream to {peer} is free"))),
    }
}
