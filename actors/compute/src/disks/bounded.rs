//! Disks that answer in time.
//!
//! Owns how long an operation on files may take. A file system that is away, such as one on a network, answers nothing
//! for as long as it likes: then the operation has failed, its guest's row goes on, and the plan asks again or elsewhere.
//! What was begun may still be done later: whoever keeps the files orders the operations on those of one server.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use updraft_protocol::{hypervisor::DiskFormat, image::ImageLocation};
use updraft_runtime::{
    Env,
    bulk::{Digest, Sink, SinkError, Source},
    rpc::{Fault, FaultKind},
};
use uuid::Uuid;

use super::{DiskError, Disks};

/// How long an operation on files may take: none of them copies an image, and a busy disk takes seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long it may take to have a whole image on disk, whose last gigabytes may still be in memory.
const KEEP_DEADLINE: Duration = Duration::from_secs(300);

/// See the module.
pub(crate) struct Bounded {
    env: Env,
    disks: Arc<dyn Disks>,
}

impl Bounded {
    pub(crate) fn new(env: &Env, disks: Arc<dyn Disks>) -> Self {
        Self { env: env.clone(), disks }
    }

    async fn within<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, DiskError>>,
    ) -> Result<T, DiskError> {
        let late = || DiskError::Failed { what: what.to_owned(), reason: too_late(DEADLINE) };
        self.env.timeout(DEADLINE, work).await.unwrap_or_else(|| Err(late()))
    }

    async fn offered(
        &self,
        work: impl Future<Output = Result<Arc<dyn Source>, Fault>>,
    ) -> Result<Arc<dyn Source>, Fault> {
        let late = || Fault::new(FaultKind::Unavailable, "Silent", too_late(DEADLINE));
        self.env.timeout(DEADLINE, work).await.unwrap_or_else(|| Err(late()))
    }
}

/// How long it may take to read a whole root disk: a terabyte from a disk of 300 MB/s.
const DIGEST_DEADLINE: Duration = Duration::from_secs(3_600);

fn too_late(deadline: Duration) -> String {
    format!("not done within {} s; is the file system there?", deadline.as_secs())
}

#[async_trait]
impl Disks for Bounded {
    async fn cached(&self, image: &ImageLocation) -> Result<bool, DiskError> {
        self.within("looking for an image", self.disks.cached(image)).await
    }

    async fn receive(&self, image: &ImageLocation) -> Result<Box<dyn Sink>, DiskError> {
        let sink = self.within("making room for an image", self.disks.receive(image)).await?;
        Ok(Box::new(BoundedSink { env: self.env.clone(), sink }))
    }

    async fn make_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        size_gib: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        self.within("making a root disk", self.disks.make_root(server, image, size_gib)).await
    }

    async fn make_boot_file(
        &self,
        server: Uuid,
        image: &ImageLocation,
    ) -> Result<PathBuf, DiskError> {
        self.within("making a boot file", self.disks.make_boot_file(server, image)).await
    }

    async fn kept_root(&self, server: Uuid) -> Result<(PathBuf, DiskFormat), DiskError> {
        self.within("looking for a root disk", self.disks.kept_root(server)).await
    }

    async fn digest(&self, server: Uuid) -> Result<Digest, DiskError> {
        let reason = || too_late(DIGEST_DEADLINE);
        let late =
            || DiskError::Failed { what: "reading a root disk".to_owned(), reason: reason() };
        let digest = self.env.timeout(DIGEST_DEADLINE, self.disks.digest(server)).await;
        digest.unwrap_or_else(|| Err(late()))
    }

    async fn offer_root(&self, server: Uuid, digest: Digest) -> Result<Arc<dyn Source>, Fault> {
        self.offered(self.disks.offer_root(server, digest)).await
    }

    async fn offer_image(
        &self,
        server: Uuid,
        image: &ImageLocation,
    ) -> Result<Arc<dyn Source>, Fault> {
        self.offered(self.disks.offer_image(server, image)).await
    }

    async fn receive_root(
        &self,
        server: Uuid,
        generation: u64,
    ) -> Result<Option<Box<dyn Sink>>, DiskError> {
        let receiving = self.disks.receive_root(server, generation);
        let sink = self.within("making room for a root disk", receiving).await?;
        Ok(sink.map(|sink| Box::new(BoundedSink { env: self.env.clone(), sink }) as Box<dyn Sink>))
    }

    async fn adopt_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        generation: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        let adopting = self.disks.adopt_root(server, image, generation);
        self.within("taking a root disk over", adopting).await
    }

    async fn remove(&self, server: Uuid) -> Result<(), DiskError> {
        self.within("removing a server's files", self.disks.remove(server)).await
    }

    async fn console_log(&self, server: Uuid) -> Result<PathBuf, DiskError> {
        self.within("making a console log", self.disks.console_log(server)).await
    }
}

/// An image on its way to disks that answer in time.
struct BoundedSink {
    env: Env,
    sink: Box<dyn Sink>,
}

/// What the work gives, or that it was not done in time.
async fn in_time<T>(
    env: &Env,
    deadline: Duration,
    work: impl Future<Output = Result<T, SinkError>>,
) -> Result<T, SinkError> {
    let late = || Err(SinkError::Failed(too_late(deadline)));
    env.timeout(deadline, work).await.unwrap_or_else(late)
}

#[async_trait]
impl Sink for BoundedSink {
    async fn kept_bytes(&mut self) -> Result<u64, SinkError> {
        in_time(&self.env, DEADLINE, self.sink.kept_bytes()).await
    }

    async fn read_kept(
        &mut self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> Result<Bytes, SinkError> {
        in_time(&self.env, DEADLINE, self.sink.read_kept(offset_bytes, length_bytes)).await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        in_time(&self.env, DEADLINE, self.sink.write(bytes)).await
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        in_time(&self.env, KEEP_DEADLINE, self.sink.finish()).await
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        in_time(&self.env, DEADLINE, self.sink.discard()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{self, DiskFaults, DiskOp, SimulatedDisks};

    struct Away;

    impl DiskFaults for Away {
        fn before(&self, _op: DiskOp) -> Option<simulated::Fault> {
            Some(simulated::Fault::Hangs)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_answers_has_failed_after_a_while() {
        let env = Env::real();
        let away = SimulatedDisks::default().with_faults(env.clone(), Arc::new(Away));
        let removed = Bounded::new(&env, Arc::new(away)).remove(Uuid::nil()).await;
        let said = removed.unwrap_err().to_string();
        assert!(said.starts_with("removing a server's files: not done within 60 s"), "{said}");
    }
}
