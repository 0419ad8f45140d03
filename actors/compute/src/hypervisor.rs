//! The hypervisor of a host: the seam between compute and what runs guests.

use std::time::Duration;

use async_trait::async_trait;
use updraft_protocol::hypervisor::{Answer, DriverError, GuestEvent, Op};

/// Runs guests. Every operation is idempotent and fenced by the generation in it.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// Carries out one operation, or says why not, within the deadline; after it, [`DriverError::Unknown`].
    async fn perform(&self, op: Op, deadline: Duration) -> Result<Answer, DriverError>;

    /// The next thing that happened by itself. Waits for ever when nothing does.
    async fn next_event(&self) -> GuestEvent;
}
