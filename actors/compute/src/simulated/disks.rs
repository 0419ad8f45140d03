//! Disks that exist as names only; what arrives is still checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha512};
use updraft_protocol::{hypervisor::DiskFormat, image::ImageLocation};
use uuid::Uuid;

use crate::disks::{DiskError, Disks, Incoming};

#[derive(Default)]
struct State {
    images: BTreeSet<String>,
    roots: BTreeMap<Uuid, PathBuf>,
}

/// The disks of a simulated host; outlive its processes. Cheap to clone.
#[derive(Clone, Default)]
pub struct SimulatedDisks {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisks {
    /// The servers that have files here, for a test to look at.
    #[must_use]
    pub fn servers(&self) -> Vec<Uuid> {
        self.state.lock().roots.keys().copied().collect()
    }
}

#[async_trait]
impl Disks for SimulatedDisks {
    async fn cached(&self, image: &ImageLocation) -> Result<Option<PathBuf>, DiskError> {
        let known = self.state.lock().images.contains(&image.sha512);
        Ok(known.then(|| PathBuf::from(format!("/simulated/images/{}", image.sha512))))
    }

    async fn receive(&self, image: &ImageLocation) -> Result<Box<dyn Incoming>, DiskError> {
        Ok(Box::new(Arriving {
            disks: self.clone(),
            image: image.image,
            expected: image.sha512.clone(),
            digest: Sha512::new(),
        }))
    }

    async fn make_root(
        &self,
        server: Uuid,
        _image: &ImageLocation,
        _size_gib: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        let path = PathBuf::from(format!("/simulated/servers/{server}/disk"));
        self.state.lock().roots.insert(server, path.clone());
        Ok((path, DiskFormat::Qcow2))
    }

    async fn remove(&self, server: Uuid) -> Result<(), DiskError> {
        self.state.lock().roots.remove(&server);
        Ok(())
    }

    async fn console_log(&self, server: Uuid) -> Result<PathBuf, DiskError> {
        Ok(PathBuf::from(format!("/simulated/servers/{server}/console.log")))
    }
}

struct Arriving {
    disks: SimulatedDisks,
    image: Uuid,
    expected: String,
    digest: Sha512,
}

#[async_trait]
impl Incoming for Arriving {
    async fn write(&mut self, piece: Bytes) -> Result<(), DiskError> {
        self.digest.update(&piece);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), DiskError> {
        let found = crate::disks::hex(&self.digest.finalize());
        if found != self.expected {
            return Err(DiskError::Digest { image: self.image, expected: self.expected, found });
        }
        self.disks.state.lock().images.insert(found);
        Ok(())
    }
}
