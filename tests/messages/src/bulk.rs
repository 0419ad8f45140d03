//! One large body, with a digest over the whole.
//!
//! Owns what a body is, how its way is timed, and how it is cut and put together where nothing else does that. Promises
//! that the receiver has seen every byte in order: it makes the digest, in the time, and compares it with the sender's,
//! which is known before, as that of whatever is kept is.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use updraft_bench_load::{Costs, Failure};

/// The size of a piece.
const PART_BYTES: u64 = 2 * 1024 * 1024;

/// Pieces under way at once.
const PARTS_IN_FLIGHT: usize = 4;

/// A piece of a body.
#[derive(Serialize, Deserialize)]
pub(crate) struct Part {
    /// Which one, counted from 0.
    pub(crate) number: u64,
    /// What it holds.
    pub(crate) bytes: Bytes,
}

/// What takes pieces on another process.
pub(crate) trait Sink: Clone + Send + Sync + 'static {
    /// Brings one there.
    fn put(&self, part: Part) -> impl Future<Output = Result<(), Failure>> + Send;
    /// The digest of all that came.
    fn digest(&self) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;
}

/// A body that arrives.
#[derive(Default)]
pub(crate) struct Body {
    next: u64,
    early: BTreeMap<u64, Bytes>,
    hasher: Sha256,
}

impl Body {
    /// Takes a piece; one before its turn waits for it.
    pub(crate) fn take(&mut self, part: Part) {
        self.early.insert(part.number, part.bytes);
        while let Some(bytes) = self.early.remove(&self.next) {
            self.hasher.update(&bytes);
            self.next += 1;
        }
    }

    /// The digest of what is there.
    pub(crate) fn digest(self) -> Vec<u8> {
        self.hasher.finalize().to_vec()
    }
}

/// What a body consists of, again and again.
pub(crate) fn content() -> Bytes {
    (0..PART_BYTES).map(|at| at.wrapping_mul(31) as u8).collect()
}

/// Brings so many bytes to the other process, and says what that took: a "message" of the sample is a mebibyte.
#[allow(clippy::disallowed_methods, reason = "it measures the machine")]
pub(crate) async fn timed(
    bytes: u64,
    others: &[i32],
    bring: impl Future<Output = Result<(), Failure>>,
) -> Result<String, Failure> {
    let costs = Costs::since_now(others);
    let begun = Instant::now();
    bring.await?;
    let lasted = begun.elapsed();
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    Ok(serde_json::to_string(&costs.sample(mebibytes, lasted, None))?)
}

/// Sends so many bytes in pieces.
pub(crate) async fn send<S: Sink>(sink: S, bytes: u64, others: &[i32]) -> Result<String, Failure> {
    let (content, parts) = (content(), bytes / PART_BYTES);
    let mut hasher = Sha256::new();
    (0..parts).for_each(|_| hasher.update(&content));
    let ours = hasher.finalize().to_vec();
    let put = async {
        put_all(&sink, &content, parts).await?;
        if sink.digest().await? == ours { Ok(()) } else { Err("the digest is another".into()) }
    };
    timed(parts * PART_BYTES, others, put).await
}

async fn put_all<S: Sink>(sink: &S, content: &Bytes, parts: u64) -> Result<(), Failure> {
    let mut under_way = JoinSet::new();
    for number in 0..parts {
        if under_way.len() == PARTS_IN_FLIGHT
            && let Some(ended) = under_way.join_next().await
        {
            ended??;
        }
        let (sink, bytes) = (sink.clone(), content.clone());
        under_way.spawn(async move { sink.put(Part { number, bytes }).await });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}
