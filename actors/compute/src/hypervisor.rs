//! The hypervisor of a host: the seam between compute and what runs guests.

use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use updraft_protocol::hypervisor::{Answer, ConsoleKind, DriverError, GuestEvent, Op};
use uuid::Uuid;

/// Runs guests. Every operation is idempotent and fenced by the generation in it.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// Carries out one operation, or says why not, within the deadline; after it, [`DriverError::Unknown`].
    async fn perform(&self, op: Op, deadline: Duration) -> Result<Answer, DriverError>;

    /// A connection to a console of a guest that runs. It ends when the guest stops.
    async fn console(
        &self,
        guest: Uuid,
        kind: ConsoleKind,
        deadline: Duration,
    ) -> Result<ConsoleEnd, DriverError>;

    /// The next thing that happened by itself. Waits for ever when nothing does.
    async fn next_event(&self) -> GuestEvent;
}

/// What a console is read from and written to.
pub type ConsoleEnd = Box<dyn Duplex>;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
