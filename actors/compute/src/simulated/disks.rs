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
    bulk::{Algorithm, Digest, Hasher, Memory, Sink, SinkError, Source},
    rpc,
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
    /// [`Disks::make_root`], [`Disks::adopt_root`].
    MakeRoot,
    /// [`Disks::digest`].
    Digest,
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
    /// What has come of images and of root disks that are not whole.
    parts: BTreeMap<String, Vec<u8>>,
    /// What has come of root disks whole.
    copies: BTreeMap<String, Bytes>,
    roots: BTreeMap<Uuid, Bytes>,
}

fn path_of(server: Uuid) -> PathBuf {
    PathBuf::from(format!("/simulated/servers/{server}/disk"))
}

fn copy_of(server: Uuid, generation: u64) -> String {
    format!("{server}/copy-{generation}")
}

fn not_there(server: Uuid) -> DiskError {
    let what = format!("looking for the root disk of {server}");
    DiskError::Failed { what, reason: "it is not there".to_owned() }
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

    /// What is on a server's root disk, for a test to look at.
    #[must_use]
    pub fn root(&self, server: Uuid) -> Option<Bytes> {
        self.state.lock().roots.get(&server).cloned()
    }

    /// Writes to a server's root disk, as its guest would.
    pub fn write_root(&self, server: Uuid, bytes: Bytes) {
        if let Some(root) = self.state.lock().roots.get_mut(&server) {
            *root = bytes;
        }
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
        Ok(Box::new(Arriving { disks: self.clone(), name: image.sha512.clone(), is_root: false }))
    }

    async fn make_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        size_gib: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        check_fits(image.disk_bytes(), size_gib)?;
        self.perform(DiskOp::MakeRoot, |state| {
            let made = || Bytes::from(format!("the disk of {server}"));
            state.roots.entry(server).or_insert_with(made);
            Ok((path_of(server), DiskFormat::Qcow2))
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

    async fn kept_root(&self, server: Uuid) -> Result<(PathBuf, DiskFormat), DiskError> {
        let there = self.root(server).ok_or_else(|| not_there(server));
        there.map(|_| (path_of(server), DiskFormat::Qcow2))
    }

    async fn digest(&self, server: Uuid) -> Result<Digest, DiskError> {
        self.perform(DiskOp::Digest, |state| {
            let root = state.roots.get(&server).ok_or_else(|| not_there(server))?;
            Ok(Hasher::digest(Algorithm::Sha256, root))
        })
        .await
    }

    async fn offer_root(
        &self,
        server: Uuid,
        _digest: Digest,
    ) -> Result<Arc<dyn Source>, rpc::Fault> {
        let gone = || rpc::Fault::internal(not_there(server).to_string());
        let root = self.root(server).ok_or_else(gone)?;
        Ok(Arc::new(Memory::new(root, Algorithm::Sha256)))
    }

    /// Of images only the names are kept: whoever wants one has it from the image service.
    async fn offer_image(
        &self,
        _server: Uuid,
        image: &ImageLocation,
    ) -> Result<Arc<dyn Source>, rpc::Fault> {
        let words = format!("image {} is a name here", image.image);
        Err(rpc::Fault::new(rpc::FaultKind::NotFound, "Simulated", words))
    }

    async fn receive_root(
        &self,
        server: Uuid,
        generation: u64,
    ) -> Result<Option<Box<dyn Sink>>, DiskError> {
        let copy = copy_of(server, generation);
        let state = self.state.lock();
        let has_come = state.roots.contains_key(&server) || state.copies.contains_key(&copy);
        let sink = || Box::new(Arriving { disks: self.clone(), name: copy, is_root: true });
        Ok((!has_come).then(|| sink() as Box<dyn Sink>))
    }

    async fn adopt_root(
        &self,
        server: Uuid,
        _image: &ImageLocation,
        generation: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        self.perform(DiskOp::MakeRoot, |state| {
            if !state.roots.contains_key(&server) {
                let copy = state.copies.remove(&copy_of(server, generation));
                state.roots.insert(server, copy.ok_or_else(|| not_there(server))?);
            }
            Ok((path_of(server), DiskFormat::Qcow2))
        })
        .await
    }

    async fn remove(&self, server: Uuid) -> Result<(), DiskError> {
        self.perform(DiskOp::Remove, |state| {
            state.roots.remove(&server);
            let own = server.to_string();
            state.parts.retain(|name, _| !name.starts_with(&own));
            state.copies.retain(|name, _| !name.starts_with(&own));
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
    name: String,
    is_root: bool,
}

impl Arriving {
    /// Does something with what has come.
    fn part<T>(&self, act: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut state = self.disks.state.lock();
        act(state.parts.entry(self.name.clone()).or_default())
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
            let whole = state.parts.remove(&self.name).map(Bytes::from);
            if self.is_root {
                state.copies.extend(whole.map(|whole| (self.name.clone(), whole)));
            } else {
                state.images.insert(self.name.clone());
            }
            Ok(())
        });
        kept.await.map_err(|error| SinkError::Failed(error.to_string()))
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        self.part(Vec::clear);
        Ok(())
    }
}
