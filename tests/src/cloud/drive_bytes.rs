//! Images' bytes as files on a node's drive, in the steps in which the real store of files goes: what is written is synced
//! beside its place before it has its name, and the name is synced; that something was deleted is not.

use std::{fmt, io, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart, memory::InMemory, path::Path,
};
use parking_lot::Mutex;
use updraft_harness::disk::Drive;
use updraft_runtime::{
    Env,
    folder::{Files, Folder},
};

/// Where they are on the drive.
const FOLDER: &str = "images";

/// The bytes of images on a drive; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct DriveBytes {
    files: Arc<dyn Files>,
    /// Whoever waits for the disk; nobody does who looks on.
    env: Option<Env>,
}

impl DriveBytes {
    /// As the node sees it that has the drive.
    pub(super) fn new(drive: &Drive, env: &Env) -> Self {
        Self { files: drive.folder(FOLDER), env: Some(env.clone()) }
    }

    /// For a test to look at.
    pub(super) fn looked_at(drive: &Drive) -> Self {
        Self { files: drive.looked_at().folder(FOLDER), env: None }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        location: &Path,
        work: impl FnOnce(&dyn Files, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (files, name) = (self.files.clone(), location.to_string());
        let work = move || work(&*files, &name);
        let done = match &self.env {
            Some(env) => {
                env.blocking(work).await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
            }
            None => work(),
        };
        done.map_err(|error| refused(location, error))
    }

    async fn replace(&self, location: &Path, content: Vec<u8>) -> Result<PutResult> {
        let folder = Folder::on(std::path::Path::new(FOLDER), self.files.clone());
        self.on_disk(location, move |_, name| folder.replace(name, &content)).await?;
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn delete_one(&self, location: Path) -> Result<Path> {
        self.on_disk(&location, Files::remove).await?;
        Ok(location)
    }

    async fn listed(&self, prefix: Path) -> Result<Vec<Result<ObjectMeta>>> {
        let read = move |files: &dyn Files, prefix: &str| {
            let names = files.names()?.into_iter();
            // What is on its way in is no object.
            let names = names.filter(|name| name.starts_with(prefix) && !name.ends_with(".new"));
            names.map(|name| Ok((files.read(&name)?, name))).collect::<io::Result<Vec<_>>>()
        };
        let found = InMemory::new();
        for (content, name) in self.on_disk(&prefix, read).await? {
            found.put(&Path::from(name), content.into()).await?;
        }
        Ok(found.list(None).collect().await)
    }
}

fn refused(location: &Path, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path, source: Box::new(error) },
        _ => Error::Generic { store: "simulated", source: Box::new(error) },
    }
}

#[async_trait]
impl ObjectStore for DriveBytes {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        _options: PutOptions,
    ) -> Result<PutResult> {
        self.replace(location, bytes::Bytes::from(payload).to_vec()).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (bytes, location) = (self.clone(), location.clone());
        Ok(Box::new(Upload { bytes, location, parts: Arc::default() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let content = self.on_disk(location, Files::read).await?;
        // Ranges and conditions are a store's in memory as well.
        let whole = InMemory::new();
        whole.put(location, content.into()).await?;
        whole.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let bytes = self.clone();
        let delete = move |location: Result<Path>| {
            let bytes = bytes.clone();
            async move { bytes.delete_one(location?).await }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (bytes, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = async move { bytes.listed(prefix).await };
        let all = |listed: Result<Vec<_>>| listed.unwrap_or_else(|error| vec![Err(error)]);
        stream::once(listed).flat_map(move |listed| stream::iter(all(listed))).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(Error::NotImplemented {
            operation: "`list_with_delimiter`".to_owned(),
            implementer: self.to_string(),
        })
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented {
            operation: "`copy_opts`".to_owned(),
            implementer: self.to_string(),
        })
    }
}

impl fmt::Display for DriveBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.files)
    }
}

/// An object on its way in; it is written when it is whole.
#[derive(Debug)]
struct Upload {
    bytes: DriveBytes,
    location: Path,
    parts: Arc<Mutex<Vec<u8>>>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        // In the order in which they are put, whoever waits for which.
        self.parts.lock().extend_from_slice(&bytes::Bytes::from(data));
        Box::pin(async { Ok(()) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let whole = std::mem::take(&mut *self.parts.lock());
        self.bytes.replace(&self.location, whole).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.lock().clear();
        Ok(())
    }
}
