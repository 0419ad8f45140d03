//! The one door to the world: time, randomness, tasks, blocking work and small files.
//!
//! Everything that could differ between two runs comes from an [`Env`], handed down explicitly. In
//! production it is the machine; in a simulation it is a seed. Nothing else in this workspace reads
//! a clock or draws entropy.

use std::{any::Any, fmt, future::Future, io, path::Path, pin::Pin, sync::Arc, time::Duration};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::folder::{Files, Folder, RealFiles};

mod real;

pub use real::RealWorld;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Work for the blocking pool, with its result type erased.
pub type BlockingWork = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// Microseconds since 1970-01-01 UTC, on this node's wall clock. For people and tokens, never for order.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct UnixMicros(pub u64);

impl UnixMicros {
    /// Whole seconds.
    #[must_use]
    pub fn secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole milliseconds.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Later by this much.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// What stands behind an [`Env`]: the machine, or a simulated one.
pub trait World: Send + Sync + 'static {
    /// Monotonic time since the node started.
    fn now(&self) -> Duration;
    /// Wall-clock time.
    fn wall(&self) -> UnixMicros;
    /// A fresh seed for the named stream of randomness.
    fn seed(&self, stream: &'static str) -> [u8; 32];
    /// Somebody begins to wait for so long, and may end before: for a world that leaves nodes alone until something is due.
    fn waits(&self, _duration: Duration) {}
    /// Starts a task that ends with the node.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);
    /// Runs work that blocks a thread: disk, password hashing, a child process.
    fn blocking(&self, work: BlockingWork)
    -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>>;
    /// The files of the folder of this path, which is made if there is none: of this machine, unless the world has a disk
    /// of its own. Blocks.
    fn files(&self, folder: &Path) -> io::Result<Arc<dyn Files>> {
        Ok(Arc::new(RealFiles::open(folder)?))
    }
}

/// The task or work ended without a result: it panicked, or the node is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work ended without a result")]
pub struct Gone;

/// A handle on the world, cheap to clone.
#[derive(Clone)]
pub struct Env {
    world: Arc<dyn World>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Env {
    /// A handle on this world.
    pub fn new(world: impl World) -> Self {
        Self { world: Arc::new(world) }
    }

    /// A handle on the machine; call it inside a tokio runtime.
    #[must_use]
    pub fn real() -> Self {
        Self::new(RealWorld::new())
    }

    /// Monotonic time since the node started.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.world.now()
    }

    /// Wall-clock time.
    #[must_use]
    pub fn wall(&self) -> UnixMicros {
        self.world.wall()
    }

    /// Waits.
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    pub async fn sleep(&self, duration: Duration) {
        self.waits(duration);
        tokio::time::sleep(duration).await;
    }

    /// The future's result, or `None` after `limit`.
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    pub async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.waits(limit);
        tokio::time::timeout(limit, work).await.ok()
    }

    /// Says that somebody begins to wait for so long: for a [`World`] around this one.
    pub fn waits(&self, duration: Duration) {
        self.world.waits(duration);
    }

    /// Starts a named task that ends with the node.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.world.spawn(name, Box::pin(task));
    }

    /// Runs blocking work off the actors' threads.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let erased = self.world.blocking(Box::new(move || Box::new(work()))).await?;
        erased.downcast().map(|value| *value).map_err(|_| Gone)
    }

    /// A folder of small files, which is made if there is none. Blocks; call it at start-up.
    pub fn folder(&self, path: &Path) -> io::Result<Folder> {
        Ok(Folder::on(path, self.world.files(path)?))
    }

    /// A generator of its own for the named use; two uses never share draws.
    #[must_use]
    pub fn rng(&self, stream: &'static str) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.world.seed(stream))
    }

    /// A fresh random (version 4) UUID.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng("uuid").fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// The world, as the transport asks for it.
impl updraft_transport::host::Host for Env {
    fn spawn(&self, name: &'static str, task: updraft_transport::host::Task) {
        self.world.spawn(name, task);
    }

    fn seed(&self, stream: &'static str) -> [u8; 32] {
        self.world.seed(stream)
    }

    fn unix_secs(&self) -> u64 {
        self.wall().secs()
    }
}
