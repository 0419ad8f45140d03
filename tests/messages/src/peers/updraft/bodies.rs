//! A large body, as everybody fetches one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use updraft_bench_load::Failure;
use updraft_runtime::{
    Env,
    bulk::{Algorithm, Digest, Hasher, Sink, SinkError, Source},
    rpc::{Client, Cx, Fault},
};

use super::messages::{Bench, Body, Prepare};
use crate::bulk::{content, timed};

/// A body that repeats itself.
pub(super) struct Repeated {
    content: Bytes,
    size_bytes: u64,
    digest: Digest,
}

impl Repeated {
    /// So many bytes.
    pub(super) async fn of(env: &Env, size_bytes: u64) -> Result<Self, Fault> {
        let content = content();
        let hashed = content.clone();
        let hashing = env.blocking(move || {
            let (mut hasher, mut left) = (Hasher::new(Algorithm::Sha256), size_bytes);
            while left > 0 {
                let count = left.min(hashed.len() as u64);
                hasher.update(&hashed[..count as usize]);
                left -= count;
            }
            hasher.finish()
        });
        let digest = hashing.await.map_err(|gone| Fault::internal(gone.to_string()))?;
        Ok(Self { content, size_bytes, digest })
    }
}

#[async_trait]
impl Source for Repeated {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    async fn read(&self, offset_bytes: u64, length_bytes: usize) -> Result<Bytes, Fault> {
        let from = (offset_bytes % self.content.len() as u64) as usize;
        Ok(self.content.slice(from..self.content.len().min(from + length_bytes)))
    }
}

/// Keeps nothing: what is timed is the way, not a disk.
struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    async fn kept_bytes(&mut self) -> Result<u64, SinkError> {
        Ok(0)
    }

    async fn read_kept(&mut self, _: u64, _: usize) -> Result<Bytes, SinkError> {
        Ok(Bytes::new())
    }

    async fn write(&mut self, _: Bytes) -> Result<(), SinkError> {
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// What the server has; a body is kept with its digest, which is made once.
#[derive(Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Option<Arc<Repeated>>>>);

impl Shelf {
    pub(super) async fn prepare(&self, env: &Env, size_bytes: u64) -> Result<(), Fault> {
        let body = Repeated::of(env, size_bytes).await?;
        *self.0.lock() = Some(Arc::new(body));
        Ok(())
    }

    pub(super) fn body(&self) -> Result<Arc<Repeated>, Fault> {
        self.0.lock().clone().ok_or_else(|| Fault::internal("nothing is prepared"))
    }
}

/// Fetches so many bytes.
pub(super) async fn fetch(
    server: &Client<Bench>,
    cx: &Cx,
    bytes: u64,
    others: &[i32],
) -> Result<String, Failure> {
    server.call(&Prepare(bytes), cx).await?;
    let bring = async {
        server.fetch(Body, cx).into(&mut Nowhere).await?;
        Ok(())
    };
    timed(bytes, others, bring).await
}
