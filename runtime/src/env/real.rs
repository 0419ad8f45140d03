//! The machine as a [`World`].
#![allow(clippy::disallowed_methods, reason = "this module is what the door opens on")]

use std::{
    any::Any,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rand::RngCore;
use tokio::runtime::Handle;

use super::{BlockingWork, BoxFuture, Gone, UnixMicros, World};

/// The machine's clocks, entropy and threads.
pub struct RealWorld {
    started: Instant,
    handle: Handle,
}

impl RealWorld {
    /// Call it inside the tokio runtime that shall carry the node's tasks.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), handle: Handle::current() }
    }
}

impl Default for RealWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl World for RealWorld {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> UnixMicros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMicros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        seed
    }

    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        self.handle.spawn(task);
    }

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        let running = self.handle.spawn_blocking(work);
        Box::pin(async move { running.await.map_err(|_| Gone) })
    }
}
