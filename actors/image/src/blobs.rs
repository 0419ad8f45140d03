//! The bytes of images: one object an upload, `images/IMAGE/UPLOAD`, in any store that `object_store` can use.
//!
//! Promises that an object which [`Writer::finish`] has returned for is whole and, in a directory, synced with
//! its directory entry; and that listing shows everything that takes room, unfinished pieces too. Knows nothing
//! of rows: what may be removed is for its callers to say.

use std::{fmt, ops::Range, path::Path, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, local::LocalFileSystem,
    memory::InMemory, path::Path as ObjectPath,
};
use updraft_runtime::Env;
use uuid::Uuid;

mod staging;

/// Where every object is.
const ROOT: &str = "images";

/// Size of the pieces in which bytes are written: what S3 takes at least.
pub(crate) const PART_BYTES: usize = 5 << 20;

/// How long reading a piece, removing an object or listing them may take; many times what a store takes that works. What
/// never ends would keep its row for ever.
const DEADLINE: Duration = Duration::from_secs(60);

/// A place for the bytes of images; clones share it.
#[derive(Clone)]
pub struct ByteStore {
    objects: Arc<dyn ObjectStore>,
    /// Set for a directory, whose unfinished files no listing shows.
    directory: Option<PathBuf>,
}

impl fmt::Debug for ByteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteStore({})", self.objects)
    }
}

impl ByteStore {
    /// In memory alone: for simulations, where it stands for a shared store, and for tests.
    #[must_use]
    pub fn memory() -> Self {
        Self::on(Arc::new(InMemory::new()))
    }

    /// Files in a directory, which is made if it does not exist.
    pub fn directory(path: &Path) -> Result<Self, ByteStoreError> {
        let failed = |reason: String| ByteStoreError::Directory { path: path.to_owned(), reason };
        std::fs::create_dir_all(path).map_err(|error| failed(error.to_string()))?;
        let path = path.canonicalize().map_err(|error| failed(error.to_string()))?;
        let files = LocalFileSystem::new_with_prefix(&path)
            .map_err(|error| failed(error.to_string()))?
            .with_automatic_cleanup(true)
            .with_fsync(true);
        Ok(Self { objects: Arc::new(files), directory: Some(path) })
    }

    /// Any other store.
    #[must_use]
    pub fn on(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, directory: None }
    }
}

/// Why bytes could not be kept, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum ByteStoreError {
    /// The directory cannot be used.
    #[error("images cannot be kept in {}: {reason}; check that it is a directory this user may write to", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        reason: String,
    },
    /// There is no room left.
    #[error("no space left: {0}")]
    Full(#[source] object_store::Error),
    /// Writing is not allowed.
    #[error("permission denied: {0}")]
    Denied(#[source] object_store::Error),
    /// There is no such object.
    #[error("there are no such bytes: {0}")]
    Missing(#[source] object_store::Error),
    /// Anything else.
    #[error("the store of image bytes failed: {0}")]
    Failed(#[source] object_store::Error),
    /// Files that no listing shows could not be looked at.
    #[error("the directory of image bytes could not be searched: {0}")]
    Search(#[source] std::io::Error),
    /// It did not answer.
    #[error("the store of image bytes did not answer within {} s", DEADLINE.as_secs())]
    Silent,
    /// The node is shutting down.
    #[error("this node is shutting down")]
    Gone,
}

impl From<object_store::Error> for ByteStoreError {
    fn from(error: object_store::Error) -> Self {
        match io_kind(&error) {
            Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
                Self::Full(error)
            }
            Some(std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem) => {
                Self::Denied(error)
            }
            _ => match error {
                object_store::Error::NotFound { .. } => Self::Missing(error),
                object_store::Error::PermissionDenied { .. } => Self::Denied(error),
                error => Self::Failed(error),
            },
        }
    }
}

/// The system's own answer, however deep it lies.
fn io_kind(error: &object_store::Error) -> Option<std::io::ErrorKind> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = current.source();
    }
    None
}

/// Something that takes room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) image: Uuid,
    pub(crate) upload: Uuid,
    pub(crate) size_bytes: u64,
    /// `None` for a whole object; the file of a piece that was never finished.
    unfinished: Option<PathBuf>,
}

impl Found {
    pub(crate) fn is_whole(&self) -> bool {
        self.unfinished.is_none()
    }
}

/// A handle on the bytes of all images.
#[derive(Clone)]
pub(crate) struct Blobs {
    env: Env,
    bytes: ByteStore,
}

impl Blobs {
    pub(crate) fn new(env: &Env, bytes: ByteStore) -> Self {
        Self { env: env.clone(), bytes }
    }

    /// Begins an object.
    pub(crate) async fn write(&self, image: Uuid, upload: Uuid) -> Result<Writer, ByteStoreError> {
        let upload = self.bytes.objects.put_multipart(&path(image, upload)).await?;
        Ok(Writer { upload })
    }

    /// A piece of an object.
    pub(crate) async fn read(
        &self,
        image: Uuid,
        upload: Uuid,
        range: Range<u64>,
    ) -> Result<Bytes, ByteStoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let at = path(image, upload);
        Ok(self.within(self.bytes.objects.get_range(&at, range)).await??)
    }

    /// Everything that takes room, for one image or for all.
    pub(crate) async fn list(&self, image: Option<Uuid>) -> Result<Vec<Found>, ByteStoreError> {
        let prefix = match image {
            Some(image) => ObjectPath::from_iter([ROOT, &image.to_string()]),
            None => ObjectPath::from(ROOT),
        };
        let listed = self.bytes.objects.list(Some(&prefix)).try_collect();
        let whole: Vec<ObjectMeta> = self.within(listed).await??;
        let mut found: Vec<Found> = whole
            .iter()
            .filter_map(|object| {
                let (image, upload) = names(&object.location)?;
                Some(Found { image, upload, size_bytes: object.size, unfinished: None })
            })
            .collect();
        if let Some(directory) = self.bytes.directory.clone() {
            let search = move || staging::unfinished(&directory.join(ROOT), image);
            let unfinished = self.env.blocking(search).await.map_err(|_| ByteStoreError::Gone)?;
            found.extend(unfinished.map_err(ByteStoreError::Search)?);
        }
        found.sort();
        Ok(found)
    }

    /// Removes what takes room for an image, as far as `unwanted` says of its upload; returns how many.
    pub(crate) async fn remove(
        &self,
        image: Uuid,
        unwanted: impl Fn(Uuid) -> bool,
    ) -> Result<usize, ByteStoreError> {
        let mut found = self.list(Some(image)).await?;
        found.retain(|found| unwanted(found.upload));
        for found in &found {
            self.remove_one(found).await?;
        }
        Ok(found.len())
    }

    /// The operation's result, if there is one in time.
    async fn within<T>(&self, operation: impl Future<Output = T>) -> Result<T, ByteStoreError> {
        self.env.timeout(DEADLINE, operation).await.ok_or(ByteStoreError::Silent)
    }

    /// Removes it; that it is gone already is as good.
    pub(crate) async fn remove_one(&self, found: &Found) -> Result<(), ByteStoreError> {
        if let Some(file) = found.unfinished.clone() {
            let removed = self.env.blocking(move || staging::remove(&file)).await;
            return removed.map_err(|_| ByteStoreError::Gone)?.map_err(ByteStoreError::Search);
        }
        let at = path(found.image, found.upload);
        match self.within(self.bytes.objects.delete(&at)).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn path(image: Uuid, upload: Uuid) -> ObjectPath {
    ObjectPath::from_iter([ROOT, &image.to_string(), &upload.to_string()])
}

/// Image and upload of an object; `None` if it is not one of ours.
fn names(path: &ObjectPath) -> Option<(Uuid, Uuid)> {
    let mut parts = path.parts().skip(1);
    let image = parts.next()?.as_ref().parse().ok()?;
    let upload = parts.next()?.as_ref().parse().ok()?;
    parts.next().is_none().then_some((image, upload))
}

/// An object on its way in; dropped before [`Writer::finish`] it leaves at most unfinished pieces.
pub(crate) struct Writer {
    upload: Box<dyn MultipartUpload>,
}

impl Writer {
    /// Writes the next part: [`PART_BYTES`] long unless it is the last.
    pub(crate) async fn part(&mut self, bytes: Bytes) -> Result<(), ByteStoreError> {
        Ok(self.upload.put_part(bytes.into()).await?)
    }

    /// Makes the object appear, whole and durable.
    pub(crate) async fn finish(mut self) -> Result<(), ByteStoreError> {
        self.upload.complete().await?;
        Ok(())
    }

    /// Forgets it, as far as the store can.
    pub(crate) async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::info!(%error, "an upload's pieces stay until they are swept");
        }
    }
}
