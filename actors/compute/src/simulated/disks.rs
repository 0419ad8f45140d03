//! Disks that exist as names only; what arrives is still checked, and each operation may go wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use updraft_protocol::{hypervisor::DiskFormat, image::ImageLocation};
use updraft_runtime::{
    Env,
    bulk::{Sink, SinkError},
};
use uuid::Uuid;

use super::Fault;
use crate::disks::{DiskError, Disks, check_fits};

/// What an operation on disks does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskOp {
    /// [`Disks::cached`].
    Cached,
    /// [`Sink::finish`], which ends what [`Disks::receive`] began.
    Keep,
    /// [`Disks::make_root`].
    MakeRoot,
    /// [`Disks::remove`].
    Remove,
}

/// Decides before each operation what goes wrong.
pub trait DiskFaults: Send + Sync + 'static {
    /// `None` lets it be.
    fn before(&self, op: DiskOp) -> Option<Fault>;
}

#[derive(Clone)]
struct Hook {
    env: Env,
    faults: Arc<dyn DiskFaults>,
}

#[derive(Default)]
struct State {
    images: BTreeSet<String>,
    /// What has come of images that are not whole.
    parts: BTreeMap<String, Vec<u8>>,
    roots: BTreeMap<Uuid, PathBuf>,
}

/// The disks of a simulated host; outlive its processes. Cheap to clone.
#[derive(Clone, Default)]
pub struct SimulatedDisks {
    state: Arc<Mutex<State>>,
    hook: Option<Hook>,
}

impl SimulatedDisks {
    /// A handle on the same disks whose operations go wrong as the hook says.
    #[must_use]
    pub fn with_faults(self, env: Env, faults: Arc<dyn DiskFaults>) -> Self {
        Self { hook: Some(Hook { env, faults }), ..self }
    }

    /// Asks what goes wrong, and does it.
    async fn perform<T>(
        &self,
        op: DiskOp,
        act: impl Fn(&mut State) -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        let act = || act(&mut self.state.lock());
        let failed = |reason: &str| {
            Err(DiskError::Failed { what: format!("{op:?}"), reason: reason.to_owned() })
        };
        let Some(hook) = &self.hook else { return act() };
        match hook.faults.before(op) {
            None => act(),
            Some(Fault::Fails) => failed("an injected failure"),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::SucceedsButSaysFailure) => {
                act()?;
                failed("an injected failure after success")
            }
            Some(Fault::Twice) => {
                act()?;
                act()
            }
            Some(Fault::Late(delay)) => {
                hook.env.sleep(delay).await;
                act()
            }
            Some(Fault::LosesState) => {
                *self.state.lock() = State::default();
                act()
            }
        }
    }

    /// How much has come of images that are not whole, for a test to look at.
    #[must_use]
    pub fn arriving_bytes(&self) -> usize {
        self.state.lock().parts.values().map(Vec::len).sum()
    }

    /// The servers that have files here, for a test to look at.
    #[must_use]
    pub fn servers(&self) -> Vec<Uuid> {
        self.state.lock().roots.keys().copied().collect()
    }
}

#[async_trait]
impl Disks for SimulatedDisks {
    async fn cached(&self, image: &ImageLocation) -> Result<bool, DiskError> {
        self.perform(DiskOp::Cached, |state| Ok(state.images.contains(&image.sha512))).await
    }

    async fn receive(&self, image: &ImageLocation) -> Result<Box<dyn Sink>, DiskError> {
        Ok(Box::new(Arriving { disks: self.clone(), sha512: image.sha512.clone() }))
    }

    async fn make_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        size_gib: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        check_fits(image.disk_bytes(), size_gib)?;
        self.perform(DiskOp::MakeRoot, |state| {
            let path = PathBuf::from(format!("/simulated/servers/{server}/disk"));
            state.roots.insert(server, path.clone());
            Ok((path, DiskFormat::Qcow2))
        })
        .await
    }

    async fn make_boot_file(
        &self,
        server: Uuid,
        image: &ImageLocation,
    ) -> Result<PathBuf, DiskError> {
        Ok(PathBuf::from(format!("/simulated/servers/{server}/image-{}", image.sha512)))
    }

    async fn remove(&self, server: Uuid) -> Result<(), DiskError> {
        self.perform(DiskOp::Remove, |state| {
            state.roots.remove(&server);
            Ok(())
        })
        .await
    }

    async fn console_log(&self, server: Uuid) -> Result<PathBuf, DiskError> {
        Ok(PathBuf::from(format!("/simulated/servers/{server}/console.log")))
    }
}

struct Arriving {
    disks: SimulatedDisks,
    sha512: String,
}

impl Arriving {
    /// Does something with what has come.
    fn part<T>(&self, act: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut state = self.disks.state.lock();
        act(state.parts.entry(self.sha512.clone()).or_default())
    }
}

#[async_trait]
impl Sink for Arriving {
    async fn kept_bytes(&mut self) -> Result<u64, SinkError> {
        Ok(self.part(|part| part.len() as u64))
    }

    async fn read_kept(
        &mut self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> Result<Bytes, SinkError> {
        let from = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
        Ok(self.part(|part| part.iter().skip(from).take(length_bytes).copied().collect()))
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        self.part(|part| part.extend_from_slice(&bytes));
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        let kept = self.disks.perform(DiskOp::Keep, |state| {
            state.parts.remove(&self.sha512);
            state.images.insert(self.sha512.clone());
            Ok(())
        });
        kept.await.map_err(|error| SinkError::Failed(error.to_string()))
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        self.part(Vec::clear);
        Ok(())
    }
}
