//! Root disks that go from host to host: sent as they are, and taken over under a name of their own until they are whole.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use updraft_protocol::{hypervisor::DiskFormat, image::ImageLocation};
use updraft_runtime::{
    bulk::{Algorithm, Digest, FileSink, FileSource, Sink, Source},
    rpc::Fault,
};
use uuid::Uuid;

use super::{FileDisks, ROOT_DISK, failed, qemu_img};
use crate::disks::DiskError;

impl FileDisks {
    pub(super) async fn root_there(
        &self,
        server: Uuid,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        let disk = self.server(server).join(ROOT_DISK);
        let (what, there) = (format!("looking for {}", disk.display()), disk.clone());
        match self.files(what.clone(), move || there.try_exists()).await? {
            true => Ok((disk, DiskFormat::Qcow2)),
            false => Err(failed(&what, &"it is not there")),
        }
    }

    pub(super) async fn root_digest(&self, server: Uuid) -> Result<Digest, DiskError> {
        let (disk, _) = self.root_there(server).await?;
        let digest = FileSource::digest_of(&self.env, &disk, Algorithm::Sha256).await;
        digest.map_err(|fault| failed("reading a root disk", &fault.message))
    }

    pub(super) async fn offer(
        &self,
        path: &Path,
        digest: Digest,
    ) -> Result<Arc<dyn Source>, Fault> {
        Ok(Arc::new(FileSource::open(&self.env, path, digest).await?))
    }

    /// What the copy is named once it has come, after the generation that it is kept at: what is left of another copy is
    /// not gone on with.
    fn copy(&self, server: Uuid, generation: u64) -> PathBuf {
        self.server(server).join(format!("copy-{generation}"))
    }

    pub(super) async fn receive_copy(
        &self,
        server: Uuid,
        generation: u64,
    ) -> Result<Option<Box<dyn Sink>>, DiskError> {
        let (folder, copy) = (self.server(server), self.copy(server, generation));
        let (whole, disk) = (copy.clone(), folder.join(ROOT_DISK));
        let turn = Arc::new(self.turns.take(server).await);
        let what = format!("looking for {}", copy.display());
        let has_come = self.files_in(&turn, what, move || {
            std::fs::create_dir_all(folder)?;
            Ok(disk.try_exists()? || whole.try_exists()?)
        });
        if has_come.await? {
            return Ok(None);
        }
        Ok(Some(Box::new(FileSink::new(&self.env, copy.with_extension("part"), copy))))
    }

    /// The copy names the image below it by where that was on the other host: here it is elsewhere.
    pub(super) async fn adopt_copy(
        &self,
        server: Uuid,
        image: &ImageLocation,
        generation: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        let (disk, copy) = (self.server(server).join(ROOT_DISK), self.copy(server, generation));
        let (what, there) = (format!("looking for {}", disk.display()), disk.clone());
        let turn = Arc::new(self.turns.take(server).await);
        if !self.files_in(&turn, what, move || there.try_exists()).await? {
            let base = self.own(&turn, server, image).await?;
            let format = if image.disk_format == "qcow2" { "qcow2" } else { "raw" };
            if qemu_img::info(&self.env, &copy, "qcow2").await?.has_data_elsewhere() {
                return Err(DiskError::Unsafe { image: image.image });
            }
            qemu_img::rebase(&self.env, &copy, &base, format).await?;
            let to = disk.clone();
            let what = format!("keeping {}", disk.display());
            self.files_in(&turn, what, move || {
                File::open(&copy)?.sync_all()?;
                std::fs::rename(copy, &to)?;
                to.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
            })
            .await?;
        }
        Ok((disk, DiskFormat::Qcow2))
    }
}
