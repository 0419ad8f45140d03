//! The files of guests on a host: cached images and root disks.

mod bounded;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use updraft_protocol::{hypervisor::DiskFormat, image::ImageLocation};
use updraft_runtime::{
    bulk::{Digest, Sink, Source},
    rpc::Fault,
};
use uuid::Uuid;

pub(crate) use bounded::Bounded;

/// Bytes in a GiB.
pub(crate) const GIB: u64 = 1 << 30;

/// Keeps images and makes root disks.
#[async_trait]
pub trait Disks: Send + Sync + 'static {
    /// Whether the image is whole and on this host. Whoever asks is about to use it: it stays long enough.
    async fn cached(&self, image: &ImageLocation) -> Result<bool, DiskError>;

    /// Where an image goes. It has what was kept of it before, also by an earlier process.
    async fn receive(&self, image: &ImageLocation) -> Result<Box<dyn Sink>, DiskError>;

    /// Makes the server's root disk from a cached image, at least this large. Made already is a success.
    async fn make_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        size_gib: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError>;

    /// Gives the server a cached image as it is, for a kernel or a ramdisk. Made already is a success.
    async fn make_boot_file(
        &self,
        server: Uuid,
        image: &ImageLocation,
    ) -> Result<PathBuf, DiskError>;

    /// The server's root disk as it was left on this host; an error if it is not there.
    async fn kept_root(&self, server: Uuid) -> Result<(PathBuf, DiskFormat), DiskError>;

    /// What the server's root disk is known by, to which nobody writes: reads all of it.
    async fn digest(&self, server: Uuid) -> Result<Digest, DiskError>;

    /// The server's root disk to send, whose digest this is.
    async fn offer_root(&self, server: Uuid, digest: Digest) -> Result<Arc<dyn Source>, Fault>;

    /// The server's own copy of an image to send.
    async fn offer_image(
        &self,
        server: Uuid,
        image: &ImageLocation,
    ) -> Result<Arc<dyn Source>, Fault>;

    /// Where the copy of a root disk goes that another host keeps at this generation; `None` once all of it has come. It
    /// has what was kept of it before, also by an earlier process.
    async fn receive_root(
        &self,
        server: Uuid,
        generation: u64,
    ) -> Result<Option<Box<dyn Sink>>, DiskError>;

    /// Makes what has come so the server's root disk, over this cached image. Made already is a success.
    async fn adopt_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        generation: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError>;

    /// Removes every file of the server. Nothing there is a success.
    async fn remove(&self, server: Uuid) -> Result<(), DiskError>;

    /// Where the server's console is written to; its folder exists.
    async fn console_log(&self, server: Uuid) -> Result<PathBuf, DiskError>;
}

/// Why a file was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The file system said no.
    #[error("{what}: {reason}")]
    Failed {
        /// What was tried, on which file.
        what: String,
        /// What the system said.
        reason: String,
    },
    /// What arrived is not the image.
    #[error("image {image} arrived with SHA-512 {found}, not {expected}")]
    Digest {
        /// The image.
        image: Uuid,
        /// As the image service says.
        expected: String,
        /// As counted here.
        found: String,
    },
    /// Whoever opened it would read other files of this host.
    #[error("Image {image} is unacceptable: it names another file")]
    Unsafe {
        /// The image.
        image: Uuid,
    },
    /// A disk of the flavor cannot hold it.
    #[error(
        "Flavor's disk is too small for requested image. Flavor disk is {disk_bytes} bytes, image is \
         {image_bytes} bytes."
    )]
    TooSmall {
        /// The flavor's disk.
        disk_bytes: u64,
        /// What a guest would see of the image.
        image_bytes: u64,
    },
}

impl DiskError {
    /// Whether another host may do better.
    #[must_use]
    pub fn may_succeed_elsewhere(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::Digest { .. } => true,
            Self::Unsafe { .. } | Self::TooSmall { .. } => false,
        }
    }
}

/// Whether a disk of the flavor holds an image whose guests see so many bytes; a disk of 0 GiB takes the image's
/// own size.
pub(crate) fn check_fits(image_bytes: u64, disk_gib: u64) -> Result<(), DiskError> {
    let disk_bytes = disk_gib.saturating_mul(GIB);
    if disk_gib > 0 && image_bytes > disk_bytes {
        return Err(DiskError::TooSmall { disk_bytes, image_bytes });
    }
    Ok(())
}
