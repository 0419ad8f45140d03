//! What makes the files of volumes on a host.
//!
//! A driver carries out one operation after another for a file and keeps nothing of its own: what is wanted is
//! the node's to know. Every operation may be repeated, also after one that said that it failed; one of an
//! older generation than has been seen for the same file is refused, so that what comes late does no harm.

use std::{io, path::PathBuf, time::Duration};

use async_trait::async_trait;
use updraft_protocol::{
    hypervisor::DiskFormat,
    image::ImageLocation,
    volume::{Export, ExportWant, Room},
};
use updraft_runtime::bulk::Sink;
use uuid::Uuid;

mod command;
mod exports;
mod fence;
mod qemu;
mod sim;

pub use exports::{Serving, ServingTls, stop_serving};
pub use qemu::QemuVolumes;
pub use sim::{
    Fault, Faults, NoFaults, Operation, SimulatedExport, SimulatedFile, SimulatedVolumes, Verb,
};

/// How long an operation may take that touches no data.
pub const QUICK_DEADLINE: Duration = Duration::from_secs(30);

/// How long an operation may take that copies data: 1 TiB at 500 MB/s.
pub const COPY_DEADLINE: Duration = Duration::from_secs(2_400);

/// A file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// The volume or snapshot.
    pub id: Uuid,
    /// Of the want that it is made for.
    pub generation: u64,
    /// Its size.
    pub size_gib: u64,
    /// Its format.
    pub format: DiskFormat,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Where.
    pub path: PathBuf,
    /// What a guest sees.
    pub size_gib: u64,
}

/// Why a driver did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// It may work when it is tried again.
    #[error("{0}")]
    Failed(String),
    /// It cannot be done now, and says nothing about the file: who gives the image is away. Tried again, for as long as
    /// the file is wanted.
    #[error("{0}")]
    Later(String),
    /// It never will: the image is not one, the source is larger than the volume.
    #[error("{0}")]
    Impossible(String),
    /// There is no room.
    #[error("no space left on the host for the volume: {0}")]
    Full(String),
    /// A newer generation has been seen for the file.
    #[error("a newer generation of the file has been seen")]
    Stale,
}

/// An image that a file begins as.
#[async_trait]
pub trait Image: Send + Sync {
    /// What the image is.
    fn location(&self) -> &ImageLocation;
    /// Fetches its bytes, behind what the sink has of them; they are checked against what the image service says.
    async fn fetch(&self, into: &mut dyn Sink) -> Result<(), DriverError>;
}

/// Makes the files of volumes and snapshots on one host.
#[async_trait]
pub trait VolumeDriver: Send + Sync + 'static {
    /// The file, if it is there and whole.
    async fn find(&self, id: Uuid, format: DiskFormat) -> Result<Option<FoundFile>, DriverError>;

    /// Makes a file of zeros. One that is there already is a success.
    async fn create(&self, file: &FileSpec) -> Result<(), DriverError>;

    /// Makes a file that begins as a copy of another one.
    async fn copy(
        &self,
        file: &FileSpec,
        source: Uuid,
        source_format: DiskFormat,
    ) -> Result<(), DriverError>;

    /// Makes a file that begins as an image.
    async fn import(&self, file: &FileSpec, image: &dyn Image) -> Result<(), DriverError>;

    /// Makes a file larger. One that is as large already is a success.
    async fn grow(&self, file: &FileSpec) -> Result<(), DriverError>;

    /// Serves a file to one attachment, and ends serving it to any other before that. A file that is served so already is a
    /// success; one that was once is served at the same place again.
    async fn export(&self, file: &FileSpec, to: &ExportWant) -> Result<Export, DriverError>;

    /// Serves a file no longer: when this succeeds, nobody writes to it from outside any more. One that is not served is a
    /// success.
    async fn unexport(&self, id: Uuid, generation: u64) -> Result<(), DriverError>;

    /// Removes a file and all that was left of making and serving it. One that is not there is a success.
    async fn delete(&self, id: Uuid, generation: u64) -> Result<(), DriverError>;

    /// All files that are there, for a look at what should not be.
    async fn files(&self) -> Result<Vec<Uuid>, DriverError>;

    /// How long an operation that copies data may take on this host.
    fn copy_deadline(&self) -> Duration {
        COPY_DEADLINE
    }

    /// How much room there is.
    async fn room(&self) -> Result<Room, DriverError>;
}

/// What the disk said, as this driver's error.
fn failed(what: &str, error: &io::Error) -> DriverError {
    let words = format!("{what}: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DriverError::Full(words),
        _ => DriverError::Failed(words),
    }
}
