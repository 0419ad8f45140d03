//! Monotonic time and timers, from the runtime that QUIC itself runs on.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::Runtime;

/// A handle on the runtime's time.
#[derive(Clone)]
pub(super) struct Clock {
    runtime: Arc<dyn Runtime>,
}

impl Clock {
    pub(super) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime }
    }

    pub(super) fn now(&self) -> Instant {
        self.runtime.now()
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        let mut timer = self.runtime.new_timer(self.now() + duration);
        poll_fn(|cx| timer.as_mut().poll(cx)).await;
    }

    /// The future's result, or `None` after `limit`.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            result = &mut work => Some(result),
            () = self.sleep(limit) => None,
        }
    }
}
