//! The store of images' bytes, with faults of its own for each node that uses it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart, path::Path,
};
use updraft_harness::fault::DriverTrouble;
use updraft_runtime::Env;
use updraft_transport::NodeId;

use super::drivers::Menu;

/// One node's way to the bytes.
#[derive(Clone)]
pub(super) struct Bytes {
    pub(super) shared: Arc<dyn ObjectStore>,
    pub(super) gate: Gate,
}

/// Where an operation learns what goes wrong with it.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) shared: Arc<dyn ObjectStore>,
    pub(super) env: Env,
    pub(super) menu: Menu,
    pub(super) node: NodeId,
}

fn injected() -> Error {
    Error::Generic { store: "simulated", source: "an injected failure".into() }
}

/// Whether an operation that was done is said to have failed.
struct Passed {
    lies: bool,
}

impl Gate {
    /// Waits until the operation is to be done. An object that is written or deleted twice is as if once.
    async fn pass(&self, what: &str) -> Result<Passed> {
        let lies = match self.menu.driver(self.node.as_str(), &format!("bytes/{what}")) {
            None | Some(DriverTrouble::Twice) => false,
            Some(DriverTrouble::Fails) => return Err(injected()),
            Some(DriverTrouble::Hangs) => std::future::pending().await,
            Some(DriverTrouble::Lies) => true,
            Some(DriverTrouble::Late { by }) => {
                self.env.sleep(by).await;
                false
            }
            Some(DriverTrouble::LosesState) => {
                self.lose_everything().await?;
                false
            }
        };
        Ok(Passed { lies })
    }
}

impl Gate {
    /// Every object is gone.
    async fn lose_everything(&self) -> Result<()> {
        let objects: Vec<Result<ObjectMeta>> = self.shared.list(None).collect().await;
        for object in objects {
            self.shared.delete(&object?.location).await?;
        }
        Ok(())
    }
}

impl Passed {
    fn tells<T>(&self, result: Result<T>) -> Result<T> {
        if self.lies { result.and(Err(injected())) } else { result }
    }
}

#[async_trait]
impl ObjectStore for Bytes {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let passed = self.gate.pass("Put").await?;
        passed.tells(self.shared.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let passed = self.gate.pass("Begin").await?;
        let upload = passed.tells(self.shared.put_multipart_opts(location, options).await)?;
        Ok(Box::new(Upload { upload, gate: self.gate.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let passed = self.gate.pass("Get").await?;
        passed.tells(self.shared.get_opts(location, options).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let bytes = self.clone();
        let delete = move |location: Result<Path>| {
            let bytes = bytes.clone();
            async move {
                let location = location?;
                let passed = bytes.gate.pass("Delete").await?;
                passed.tells(bytes.shared.delete(&location).await)?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.shared.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.shared.copy_opts(from, to, options).await
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes that {} sees", self.gate.node)
    }
}

/// An object on its way in.
struct Upload {
    upload: Box<dyn MultipartUpload>,
    gate: Gate,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upload.fmt(f)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let passed = self.gate.pass("Complete").await?;
        passed.tells(self.upload.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
