//! Bodies in memory: for small ones, and for tests.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use updraft_transport::body::Digest;

use super::{Algorithm, Hasher, Sink, SinkError, Source};
use crate::rpc::Fault;

/// A body in memory, to send.
#[derive(Clone, Debug)]
pub struct Memory {
    bytes: Bytes,
    digest: Digest,
}

/// Takes a body into memory.
#[derive(Clone, Debug)]
pub struct MemorySink {
    bytes: Vec<u8>,
    limit_bytes: usize,
}

impl MemorySink {
    /// An empty one, for at most so many bytes.
    #[must_use]
    pub fn at_most(limit_bytes: usize) -> Self {
        Self { bytes: Vec::new(), limit_bytes }
    }

    /// What has come.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Memory {
    /// A body that is known by a digest of this kind.
    #[must_use]
    pub fn new(bytes: Bytes, algorithm: Algorithm) -> Self {
        Self { digest: Hasher::digest(algorithm, &bytes), bytes }
    }
}

/// So many of these bytes, from an offset, as far as there are any.
fn range(bytes: &[u8], offset_bytes: u64, length_bytes: usize) -> Range<usize> {
    let from = usize::try_from(offset_bytes).unwrap_or(usize::MAX).min(bytes.len());
    from..from.saturating_add(length_bytes).min(bytes.len())
}

#[async_trait]
impl Source for Memory {
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    async fn read(&self, offset_bytes: u64, length_bytes: usize) -> Result<Bytes, Fault> {
        Ok(self.bytes.slice(range(&self.bytes, offset_bytes, length_bytes)))
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn kept_bytes(&mut self) -> Result<u64, SinkError> {
        Ok(self.bytes.len() as u64)
    }

    async fn read_kept(
        &mut self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> Result<Bytes, SinkError> {
        let range = range(&self.bytes, offset_bytes, length_bytes);
        Ok(Bytes::copy_from_slice(&self.bytes[range]))
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        if self.bytes.len() + bytes.len() > self.limit_bytes {
            let words = format!("it has more than {} bytes", self.limit_bytes);
            return Err(SinkError::Full(words));
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        self.bytes.clear();
        Ok(())
    }
}
