//! Keeps the snapshot of a control node fresh, whether or not identity runs there.
//!
//! Owns nothing but the way: it asks the identity service for news, by a timer and when it is told
//! that there is some, and hands them to the node's verifier. While no identity server answers, the
//! node goes on with what it holds. It never reads the store, and it runs on control nodes alone: a
//! snapshot holds the keys of tokens.

use std::{sync::Arc, time::Duration};

use updraft_edge::verify::Verifier;
use updraft_protocol::identity::{
    Changed, GetSnapshot, Held, Identity, KEEPER, Keeper, POLL, Received, SnapshotChanges,
    SnapshotPiece,
};
use updraft_runtime::{
    Env,
    rpc::{CallError, Client, Cx, Rpc, Service, TraceContext},
};

/// The pause between two questions until there is a first answer, so that a start takes milliseconds.
const POLL_AT_START: Duration = Duration::from_millis(25);

/// How long a question waits for its answer: so that a lost one is asked again in time.
const ANSWERED_WITHIN: Duration = Duration::from_millis(500);

/// Largest news in bytes, all pieces together: 256 MiB hold some million users.
const NEWS_MAX_BYTES: u64 = 256 << 20;

/// One per control node.
#[derive(Clone)]
pub struct SnapshotKeeper {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    rpc: Rpc,
    verifier: Arc<Verifier>,
    /// Held while news are fetched: two would fetch the same.
    gate: tokio::sync::Mutex<()>,
}

#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("news of {0} bytes are over the limit of {NEWS_MAX_BYTES}")]
    TooLarge(u64),
    #[error("a piece of the news does not fit to the others")]
    OutOfPlace,
    #[error("the news cannot be read")]
    Unreadable(#[from] postcard::Error),
}

impl SnapshotKeeper {
    /// A keeper for this verifier.
    #[must_use]
    pub fn new(env: Env, rpc: Rpc, verifier: Arc<Verifier>) -> Self {
        let gate = tokio::sync::Mutex::new(());
        Self { inner: Arc::new(Inner { env, rpc, verifier, gate }) }
    }

    /// What the node has to serve.
    #[must_use]
    pub fn service(&self) -> Service {
        let inner = self.inner.clone();
        Service::of::<Keeper>()
            .call(move |ctx, Changed { version }: Changed| {
                let inner = inner.clone();
                async move {
                    // Whoever says that there is news has it.
                    let at = inner.rpc.client().on(&ctx.peer.node);
                    if let Err(error) = inner.fetch(version, &at).await {
                        tracing::warn!(peer = %ctx.peer.node, %error, "news were not fetched");
                    }
                    let version = inner.verifier.snapshot().version;
                    Ok(Held { version, wall: inner.env.wall() })
                }
            })
            .into()
    }

    /// Asks for news for as long as the node lives. Call it once the node runs.
    pub fn start(&self) {
        let inner = self.inner.clone();
        self.inner.env.spawn("snapshot-keeper", async move { inner.keep().await });
    }
}

impl Inner {
    async fn keep(&self) {
        loop {
            let asked_at = self.env.now();
            if let Err(error) = self.fetch(u64::MAX, &self.rpc.client()).await {
                tracing::debug!(%error, "identity did not say whether there is news");
            }
            let ready = self.verifier.snapshot().version > 0;
            let pause = if ready { POLL } else { POLL_AT_START };
            let took = self.env.now().saturating_sub(asked_at);
            self.env.sleep(pause.saturating_sub(took).max(POLL_AT_START)).await;
        }
    }

    /// Fetches what is new, unless this version or a later one is held.
    async fn fetch(&self, wanted_version: u64, at: &Client<Identity>) -> Result<(), KeeperError> {
        let _gate = self.gate.lock().await;
        let held = self.verifier.snapshot();
        if held.version >= wanted_version {
            return Ok(());
        }
        if let Some(bytes) = self.pieces(held.version, at).await? {
            let changes: SnapshotChanges = postcard::from_bytes(&bytes)?;
            self.verifier.publish(Arc::new(changes.applied_to(&held)));
        }
        Ok(())
    }

    /// The whole answer to "what is new?", piece by piece.
    async fn pieces(
        &self,
        known_version: u64,
        at: &Client<Identity>,
    ) -> Result<Option<Vec<u8>>, KeeperError> {
        let mut received: Option<Received> = None;
        let mut whole = Vec::new();
        loop {
            let cx = Cx::new(KEEPER, TraceContext::default()).within(&self.env, ANSWERED_WITHIN);
            let question = GetSnapshot { known_version, received };
            let piece: SnapshotPiece = at.call(&question, &cx).await?;
            if piece.total_bytes == 0 {
                return Ok(None);
            }
            if piece.total_bytes > NEWS_MAX_BYTES {
                return Err(KeeperError::TooLarge(piece.total_bytes));
            }
            if received.is_none_or(|so_far| so_far.version != piece.version) {
                whole.clear();
            }
            if piece.offset != whole.len() as u64 || piece.bytes.is_empty() {
                return Err(KeeperError::OutOfPlace);
            }
            whole.extend_from_slice(&piece.bytes);
            let bytes = whole.len() as u64;
            if bytes >= piece.total_bytes {
                return Ok(Some(whole));
            }
            received = Some(Received { version: piece.version, bytes });
        }
    }
}
