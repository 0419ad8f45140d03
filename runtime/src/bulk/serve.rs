//! The side that has a body: says whether it may be had, and sends it.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use updraft_transport::{
    NodeId,
    body::{BodyError, Digest, Head, Label, Outgoing, PIECE_MAX_BYTES, Part, WORDS_MAX_BYTES},
};

use super::{Ask, Request, Source, Wanted, served::busy};
use crate::{
    Env,
    rpc::{BelongsTo, Ctx, Fault, FaultKind, Handlers, Protocol, Rpc},
    shares::Place,
};

/// How long a receiver may take none of a body, or its source give none, before it is given up. It goes on
/// where it was when it comes again.
pub const SERVED_STALL: Duration = Duration::from_secs(60);

impl<P: Protocol> Handlers<P> {
    /// Adds the handler of a message that asks for a body: it says no, or gives the body.
    ///
    /// What it returns for equal messages need not be equal: a fetch that goes on says which body it has a part of,
    /// and is refused any other.
    #[must_use]
    pub fn body<M, F, R, S>(self, rpc: &Rpc, handler: F) -> Self
    where
        M: Request + BelongsTo<P>,
        F: Fn(Ctx, M) -> R + Send + Sync + 'static,
        R: Future<Output = Result<S, Fault>> + Send + 'static,
        S: Source,
    {
        let rpc = rpc.clone();
        self.call(move |ctx, Wanted { message, ask }: Wanted<M>| {
            let (rpc, peer) = (rpc.clone(), ctx.peer.node.clone());
            // Without a place the handler is not run: what it would do for its answer, as reading a disk, is for nothing.
            let place = rpc.shared.bodies.served.take(&peer).map_err(|full| busy(full, &peer));
            let offer = place.map(|place| (place, handler(ctx, message)));
            async move {
                let (place, offer) = offer?;
                let source = offer.await?;
                check(&source, &ask)?;
                let label = Label(ask.label);
                let outgoing = rpc.shared.transport.open_body(&peer, label).map_err(|error| {
                    Fault::new(FaultKind::Unavailable, "NoStream", error.to_string())
                })?;
                let sending = Sending { env: rpc.env().clone(), source, outgoing, _place: place };
                rpc.env().spawn("bulk send", sending.run(ask.from_bytes, peer.to_string()));
                Ok(())
            }
        })
    }
}

fn check(source: &impl Source, ask: &Ask) -> Result<(), Fault> {
    let (size_bytes, digest) = (source.size_bytes(), source.digest());
    if let Some(wanted) = ask.digest.filter(|wanted| *wanted != digest) {
        let words = format!("the body is {digest} now, not {wanted}");
        return Err(Fault::new(FaultKind::Conflict, super::CHANGED, words));
    }
    if ask.from_bytes > size_bytes {
        let words = format!("byte {} was asked for of a body of {size_bytes}", ask.from_bytes);
        return Err(Fault::new(FaultKind::Invalid, super::OUT_OF_RANGE, words));
    }
    Ok(())
}

/// One body on its way out.
struct Sending<S> {
    env: Env,
    source: S,
    outgoing: Outgoing,
    _place: Place<NodeId>,
}

impl<S: Source> Sending<S> {
    async fn run(mut self, from_bytes: u64, to: String) {
        let ended = match self.pour(from_bytes).await {
            Ok(()) => self.outgoing.finish().await.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        if let Err(why) = ended {
            tracing::debug!(to, why, "a body was not sent to its end");
        }
    }

    async fn pour(&mut self, from_bytes: u64) -> Result<(), String> {
        let (size_bytes, digest) = (self.source.size_bytes(), self.source.digest());
        self.send(Part::Head(Head { size_bytes, from_bytes, digest })).await?;
        let mut at = from_bytes;
        while at < size_bytes {
            let left = usize::try_from(size_bytes - at).unwrap_or(usize::MAX);
            let asked = left.min(PIECE_MAX_BYTES);
            match read(&self.env, &self.source, at, asked).await {
                Ok(piece) if (1..=asked).contains(&piece.len()) => {
                    at += piece.len() as u64;
                    self.send(Part::Piece(piece)).await?;
                }
                Ok(piece) => {
                    let came = piece.len();
                    let words = format!(
                        "at {at} of {size_bytes}, {came} bytes came where 1 to {asked} were due"
                    );
                    return self.fail(words).await;
                }
                Err(fault) => return self.fail(fault.message).await,
            }
        }
        self.send(Part::End).await
    }

    /// Says why it does not go on.
    async fn fail(&mut self, mut words: String) -> Result<(), String> {
        let fits = (0..=words.len().min(WORDS_MAX_BYTES)).rev();
        words.truncate(fits.into_iter().find(|end| words.is_char_boundary(*end)).unwrap_or(0));
        tracing::warn!(words, "a body cannot be read");
        self.send(Part::Failed(words)).await
    }

    async fn send(&mut self, part: Part) -> Result<(), String> {
        let sent = self.env.timeout(SERVED_STALL, self.outgoing.send(part)).await;
        let stalled = || BodyError::Broken("its receiver takes nothing".to_owned());
        sent.unwrap_or_else(|| Err(stalled())).map_err(|error| error.to_string())
    }
}

/// Reads of a source, which is taken for dead when it takes too long.
async fn read(env: &Env, source: &impl Source, at: u64, asked: usize) -> Result<Bytes, Fault> {
    env.timeout(SERVED_STALL, source.read(at, asked)).await.unwrap_or_else(|| {
        let words = format!("nothing could be read for {} s", SERVED_STALL.as_secs());
        Err(Fault::new(FaultKind::Unavailable, "Silent", words))
    })
}

/// A source that several sendings share.
#[async_trait]
impl<S: Source + ?Sized> Source for Arc<S> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn digest(&self) -> Digest {
        (**self).digest()
    }

    async fn read(&self, offset_bytes: u64, length_bytes: usize) -> Result<Bytes, Fault> {
        (**self).read(offset_bytes, length_bytes).await
    }
}
