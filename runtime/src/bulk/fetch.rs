//! The side that wants a body: asks for it, again and again, until it has come or nothing comes any more.

use std::time::Duration;

use rand::{Rng, RngCore};
use tokio::sync::{oneshot, watch};
use updraft_transport::body::{Digest, Incoming, LABEL_BYTES, Label};

use super::{
    Ask, CHANGED, FetchError, OUT_OF_RANGE, Request, Sink, Wanted, expected::Opener, taking::Taking,
};
use crate::rpc::{
    Address, BelongsTo, CallError, Client, Cx, FaultKind, Protocol, Refusal, Rpc, TraceContext,
};

/// Bodies that a node takes at once; a further fetch waits for its turn. As many as one peer may send, so none
/// waits for another's stream, and at 4 MiB a stream 32 MiB of memory.
pub const FETCHES_MAX: usize = updraft_transport::body::BODIES_MAX;

/// How long no byte may come, from any server, before a fetch gives up; unless it says otherwise. A node that restarts
/// is back in seconds, and a control node that died is noticed within [`DEAD_AFTER`](crate::directory::DEAD_AFTER).
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long one stream may be silent before the body is asked for anew, of another server if there is one.
pub const STALL: Duration = Duration::from_secs(10);

/// The largest body that is taken, unless a fetch says otherwise: 1 TiB, more than any image has, and less than what
/// nobody notices.
pub const BODY_MAX_BYTES: u64 = 1 << 40;

/// The pause before a body is asked for again. It doubles while no byte comes, up to the latter: many that wait for
/// one server must not be what keeps it busy, and what has passed is still noticed in seconds.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How far a fetch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes in the sink, what it had kept among them.
    pub done_bytes: u64,
    /// Bytes of the whole body; `None` until a server has said it.
    pub total_bytes: Option<u64>,
    /// Bytes that came by the network: with what the sink had kept, as many as are done unless something was thrown
    /// away.
    pub fetched_bytes: u64,
}

/// A body to be fetched; see [`Client::fetch`].
#[must_use = "a fetch does nothing until it is given a sink"]
pub struct Fetch<M: Request> {
    rpc: Rpc,
    to: Address,
    wanted: Wanted<M>,
    expected: Option<Digest>,
    cx: Cx,
    patience: Duration,
    limit_bytes: u64,
    progress: watch::Sender<Progress>,
}

impl<P: Protocol> Client<P> {
    /// Fetches a body from whoever this handle is for. Asked for is with the message's own roles and the context, as in
    /// a call; but what is waited for is progress, not the end: only a deadline in the context ends a fetch to which
    /// bytes come.
    pub fn fetch<M>(&self, message: M, cx: &Cx) -> Fetch<M>
    where
        M: Request + BelongsTo<P>,
    {
        let ask = Ask { label: [0; LABEL_BYTES], from_bytes: 0, digest: None };
        Fetch {
            rpc: self.rpc().clone(),
            to: self.address().clone(),
            wanted: Wanted { message, ask },
            expected: None,
            cx: cx.clone(),
            patience: PATIENCE,
            limit_bytes: BODY_MAX_BYTES,
            progress: watch::Sender::new(Progress::default()),
        }
    }
}

/// How an attempt ended, if not with the body.
pub(super) enum Ended {
    /// It would end so again.
    ForGood(FetchError),
    /// It may go better the next time, or elsewhere.
    ForNow(String),
}

impl From<FetchError> for Ended {
    fn from(error: FetchError) -> Self {
        Self::ForGood(error)
    }
}

impl<M: Request> Fetch<M> {
    /// Takes no other body than this one.
    pub fn expecting(mut self, digest: Digest) -> Self {
        self.expected = Some(digest);
        self
    }

    /// Waits so long while no byte comes, instead of [`PATIENCE`].
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Takes no larger body, instead of [`BODY_MAX_BYTES`].
    pub fn at_most(mut self, limit_bytes: u64) -> Self {
        self.limit_bytes = limit_bytes;
        self
    }

    /// Tells how far it has come, for as long as it runs.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Fetches it into a sink, behind what that has kept. Dropped, it ends at once, and so does its sender; what has
    /// come stays in the sink.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn into(mut self, sink: &mut dyn Sink) -> Result<Digest, FetchError> {
        let rpc = self.rpc.clone();
        let cx = self.cx.clone();
        let left = self.cx.expires.map(|expires| expires.saturating_sub(rpc.env().now()));
        let fetching = async {
            // It never fails: the room is never closed.
            let _turn = rpc.shared.bodies.fetches.acquire().await;
            self.run(sink).await
        };
        let timed = async {
            match left {
                Some(left) => rpc.env().timeout(left, fetching).await,
                None => Some(fetching.await),
            }
        };
        let fetched = tokio::select! {
            biased;
            () = cx.cancelled() => None,
            fetched = timed => fetched,
        };
        fetched.unwrap_or(Err(FetchError::Cancelled { method: M::METHOD }))
    }

    async fn run(&mut self, sink: &mut dyn Sink) -> Result<Digest, FetchError> {
        let mut taking = {
            let progress = self.progress.clone();
            Taking::begin(M::METHOD, sink, progress, self.limit_bytes).await?
        };
        let mut heard = (taking.worked_bytes(), self.rpc.env().now());
        let mut pause = PAUSE;
        loop {
            let last = match self.attempt(&mut taking).await {
                Ok(digest) => return Ok(digest),
                Err(Ended::ForGood(error)) => return Err(error),
                Err(Ended::ForNow(last)) => last,
            };
            tracing::debug!(method = M::METHOD, last, "a body is asked for again");
            let now = self.rpc.env().now();
            if taking.worked_bytes() != heard.0 {
                heard = (taking.worked_bytes(), now);
                pause = PAUSE;
            }
            let waited = now.saturating_sub(heard.1);
            if waited >= self.patience {
                let done_bytes = taking.done_bytes();
                return Err(FetchError::Stalled { method: M::METHOD, done_bytes, waited, last });
            }
            // Drawn, so that those who lost the same server do not come back all at once.
            let drawn = self.rpc.env().rng("body pause").random_range(0.5..=1.0);
            self.rpc.env().sleep(pause.mul_f64(drawn).min(self.patience)).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// Asks once, and takes what comes until it has come or its stream ends.
    async fn attempt(&mut self, taking: &mut Taking<'_>) -> Result<Digest, Ended> {
        let shared = &self.rpc.shared;
        let ask = &mut self.wanted.ask;
        ask.from_bytes = taking.done_bytes();
        ask.digest = self.expected.or(taking.digest());
        self.rpc.env().rng("body label").fill_bytes(&mut ask.label);
        let (sender, body) = oneshot::channel();
        let _expected = shared.bodies.expect(Label(ask.label), Opener::Server(M::CONTRACT), sender);
        let answer = self.rpc.call(&self.to, &self.wanted, &self.cx).await;
        // The first attempt is a step of the flow; the others would hide the rest of it.
        self.cx.trace = TraceContext::default();
        match answer {
            Ok(()) => {}
            Err(error) if is_code(&error, OUT_OF_RANGE) && taking.done_bytes() > 0 => {
                taking.begin_anew().await?;
                return Err(Ended::ForNow(error.to_string()));
            }
            Err(error) if is_code(&error, CHANGED) && self.expected.is_none() => {
                // What has come is of no use to whoever asks next.
                taking.begin_anew().await?;
                return Err(judged(error));
            }
            Err(error) => return Err(judged(error)),
        }
        match self.rpc.env().timeout(STALL.min(self.patience), body).await {
            Some(Ok(body)) => self.take(taking, body).await,
            Some(Err(_)) | None => Err(Ended::ForNow("its stream does not come".to_owned())),
        }
    }

    async fn take(&self, taking: &mut Taking<'_>, mut body: Incoming) -> Result<Digest, Ended> {
        let (env, stall) = (self.rpc.env(), STALL.min(self.patience));
        loop {
            let before = body.received_bytes();
            match env.timeout(stall, body.next()).await {
                Some(Ok(Some(part))) => {
                    if let Some(digest) = taking.take(env, part, &self.wanted.ask).await? {
                        return Ok(digest);
                    }
                }
                Some(Ok(None)) => return Err(Ended::ForNow("it broke off".to_owned())),
                Some(Err(error)) if error.is_nonsense() => {
                    return Err(taking.dishonest(format!("sends what is no body: {error}")));
                }
                Some(Err(error)) => return Err(Ended::ForNow(error.to_string())),
                // A part is on its way, slowly.
                None if body.received_bytes() > before => {}
                None => return Err(Ended::ForNow(format!("silence for {} s", stall.as_secs()))),
            }
        }
    }
}

fn is_code(error: &CallError, code: &str) -> bool {
    error.fault().is_some_and(|fault| fault.code == code)
}

/// Whether it is of use to ask again.
fn judged(error: CallError) -> Ended {
    let passes = match &error {
        CallError::Unknown { .. } => true,
        CallError::Rejected(fault) => fault.kind == FaultKind::Unavailable,
        CallError::Refused { refusal, .. } => matches!(
            refusal,
            Refusal::NoRoute(_) | Refusal::Busy(_) | Refusal::GoingAway(_) | Refusal::Expired
        ),
    };
    if passes { Ended::ForNow(error.to_string()) } else { Ended::ForGood(error.into()) }
}
