//! Disks as files on the host: images in a cache, root disks as overlays made by `qemu-img`.
//!
//! An image's bytes are a stranger's. Before a root disk is made of them they are looked at in the format that the
//! image service told, and refused if they name other files: whoever opened such a disk would read files of this
//! host. The format is written into the overlay, so that nobody guesses it from the bytes later.

mod qemu_img;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base16ct::lower;
use bytes::Bytes;
use sha2::{Digest, Sha512};
use updraft_protocol::{hypervisor::DiskFormat, image::ImageLocation};
use updraft_runtime::Env;
use uuid::Uuid;

use crate::disks::{DiskError, Disks, GIB, Incoming, check_fits};

/// Files below one folder: `images/SHA512` and `servers/ID/`.
#[derive(Clone)]
pub struct FileDisks {
    env: Env,
    root: PathBuf,
}

impl FileDisks {
    /// Disks below this folder, which is made when it is needed.
    #[must_use]
    pub fn new(env: &Env, root: PathBuf) -> Self {
        Self { env: env.clone(), root }
    }

    fn image(&self, image: &ImageLocation) -> PathBuf {
        self.root.join("images").join(&image.sha512)
    }

    fn server(&self, server: Uuid) -> PathBuf {
        self.root.join("servers").join(server.to_string())
    }

    /// Does something with the file system off the actors' threads.
    async fn files<T: Send + 'static>(
        &self,
        what: String,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, DiskError> {
        let result = self.env.blocking(work).await.map_err(|gone| failed(&what, &gone))?;
        result.map_err(|error| failed(&what, &error))
    }

    /// Makes a root disk from an image that is here, unless the image may not be used for it.
    async fn overlay(
        &self,
        image: &ImageLocation,
        disk: &Path,
        size_gib: u64,
    ) -> Result<(), DiskError> {
        let base = self.image(image);
        let format = if image.disk_format == "qcow2" { "qcow2" } else { "raw" };
        let info = qemu_img::info(&self.env, &base, format).await?;
        if info.names_another_file() {
            return Err(DiskError::Unsafe { image: image.image });
        }
        check_fits(info.virtual_size, size_gib)?;
        let size_bytes = (size_gib > 0).then(|| size_gib.saturating_mul(GIB));
        qemu_img::overlay(&self.env, &base, format, disk, size_bytes).await
    }
}

fn failed(what: &str, reason: &dyn std::fmt::Display) -> DiskError {
    DiskError::Failed { what: what.to_owned(), reason: reason.to_string() }
}

#[async_trait]
impl Disks for FileDisks {
    async fn cached(&self, image: &ImageLocation) -> Result<Option<PathBuf>, DiskError> {
        let path = self.image(image);
        let what = format!("looking for {}", path.display());
        let found = path.clone();
        let exists = self.files(what, move || found.try_exists()).await?;
        Ok(exists.then_some(path))
    }

    async fn receive(&self, image: &ImageLocation) -> Result<Box<dyn Incoming>, DiskError> {
        let path = self.image(image);
        // Two servers may fetch the same image at once: each its own file, and the last one stays.
        let part = path.with_extension(format!("part-{}", self.env.uuid().simple()));
        let (at, what) = (part.clone(), format!("writing {}", part.display()));
        let file = self.files(what, move || create(&at)).await?;
        Ok(Box::new(Arriving {
            disks: self.clone(),
            image: image.image,
            expected: image.sha512.clone(),
            digest: Sha512::new(),
            file: Some(file),
            part,
            path,
            kept: false,
        }))
    }

    async fn make_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        size_gib: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        let folder = self.server(server);
        let disk = folder.join("disk.qcow2");
        let (what, there) = (format!("making {}", folder.display()), disk.clone());
        let exists = self
            .files(what, move || {
                std::fs::create_dir_all(&folder)?;
                there.try_exists()
            })
            .await?;
        if !exists {
            let part = disk.with_extension("part");
            self.overlay(image, &part, size_gib).await?;
            let (from, to) = (part, disk.clone());
            let what = format!("keeping {}", disk.display());
            self.files(what, move || std::fs::rename(from, to)).await?;
        }
        Ok((disk, DiskFormat::Qcow2))
    }

    async fn remove(&self, server: Uuid) -> Result<(), DiskError> {
        let folder = self.server(server);
        let what = format!("removing {}", folder.display());
        self.files(what, move || match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    async fn console_log(&self, server: Uuid) -> Result<PathBuf, DiskError> {
        let folder = self.server(server);
        let path = folder.join("console.log");
        self.files(format!("making {}", folder.display()), move || std::fs::create_dir_all(folder))
            .await?;
        Ok(path)
    }
}

fn create(path: &Path) -> std::io::Result<std::fs::File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::File::create(path)
}

struct Arriving {
    disks: FileDisks,
    image: Uuid,
    expected: String,
    digest: Sha512,
    file: Option<std::fs::File>,
    part: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is found by its name when the host is looked over.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

#[async_trait]
impl Incoming for Arriving {
    async fn write(&mut self, piece: Bytes) -> Result<(), DiskError> {
        self.digest.update(&piece);
        let what = format!("writing {}", self.part.display());
        let Some(mut file) = self.file.take() else {
            return Err(failed(&what, &"an earlier piece was not written"));
        };
        let written = self.disks.files(what, move || {
            std::io::Write::write_all(&mut file, &piece)?;
            Ok(file)
        });
        self.file = Some(written.await?);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), DiskError> {
        let found = lower::encode_string(&std::mem::take(&mut self.digest).finalize());
        if found != self.expected {
            let expected = self.expected.clone();
            return Err(DiskError::Digest { image: self.image, expected, found });
        }
        let what = format!("keeping {}", self.path.display());
        let Some(file) = self.file.take() else {
            return Err(failed(&what, &"a piece was not written"));
        };
        let (from, to) = (self.part.clone(), self.path.clone());
        self.disks
            .files(what, move || {
                file.sync_all()?;
                std::fs::rename(from, to)
            })
            .await?;
        self.kept = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
