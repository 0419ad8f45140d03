//! One large body in pieces, with a digest over the whole.
//!
//! Owns how a body is cut and put together. Promises that the receiver has seen every byte in order: it compares the
//! digests. How a piece travels is the sink's business.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use updraft_bench_load::{Costs, Failure};

/// The size of a piece: below the limit of the bulk class with any header.
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

/// Sends so many bytes, and says what that took: a "message" of the sample is a mebibyte.
#[allow(clippy::disallowed_methods, reason = "it measures the machine")]
pub(crate) async fn send<S: Sink>(sink: S, bytes: u64, others: &[i32]) -> Result<String, Failure> {
    let content =
        Bytes::from((0..PART_BYTES).map(|at| at.wrapping_mul(31) as u8).collect::<Vec<_>>());
    let costs = Costs::since_now(others);
    let begun = Instant::now();
    let ours = put_all(&sink, &content, bytes / PART_BYTES).await?;
    if sink.digest().await? != ours {
        return Err("the receiver's digest is another".into());
    }
    let lasted = begun.elapsed();
    let mebibytes = (bytes / PART_BYTES * PART_BYTES) as f64 / f64::from(1 << 20);
    Ok(serde_json::to_string(&costs.sample(mebibytes, lasted, None))?)
}

async fn put_all<S: Sink>(sink: &S, content: &Bytes, parts: u64) -> Result<Vec<u8>, Failure> {
    let (mut hasher, mut under_way) = (Sha256::new(), JoinSet::new());
    for number in 0..parts {
        hasher.update(content);
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
    Ok(hasher.finalize().to_vec())
}
