//! Disks as files on the host: images in a cache, root disks as overlays made by `qemu-img`.
//!
//! An image's bytes are a stranger's. Before a root disk is made of them they are looked at in the format that the
//! image service told, and refused if they name other files: whoever opened such a disk would read files of this
//! host. The format is written into the overlay, so that nobody guesses it from the bytes later.

mod cache;
mod copies;
mod qemu_img;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use updraft_protocol::{hypervisor::DiskFormat, image::ImageLocation};
use updraft_runtime::{
    Env,
    bulk::{Digest, FileSink, Sink, Source},
    rpc::Fault,
    turns::{Turn, Turns},
};
use uuid::Uuid;

use crate::disks::{DiskError, Disks, GIB, check_fits};

/// What a server's root disk is named.
const ROOT_DISK: &str = "disk.qcow2";

/// What is not an image yet is named so, after the image's digest.
const PART: &str = ".part";

/// What a server's own link of an image is named, before the image's digest.
const LINK: &str = "image-";

/// Files below one folder: `images/SHA512` and `servers/ID/`.
#[derive(Clone)]
pub struct FileDisks {
    env: Env,
    root: PathBuf,
    /// Held while it is decided whether an image stays.
    staying: Arc<Mutex<()>>,
    /// One operation at a time on the files of a server, also when nobody waits for it any more: what is late is done
    /// before what was asked after it.
    turns: Turns<Uuid>,
}

impl FileDisks {
    /// Disks below this folder, which is made when it is needed.
    #[must_use]
    pub fn new(env: &Env, root: PathBuf) -> Self {
        Self { env: env.clone(), root, staying: Arc::default(), turns: Turns::default() }
    }

    fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    fn image(&self, image: &ImageLocation) -> PathBuf {
        self.images().join(&image.sha512)
    }

    fn servers(&self) -> PathBuf {
        self.root.join("servers")
    }

    fn server(&self, server: Uuid) -> PathBuf {
        self.servers().join(server.to_string())
    }

    /// The server's own link of an image.
    fn own_image(&self, server: Uuid, image: &ImageLocation) -> PathBuf {
        self.server(server).join(format!("{LINK}{}", image.sha512))
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

    /// Does something with a server's files, in this turn.
    async fn files_in<T: Send + 'static>(
        &self,
        turn: &Arc<Turn>,
        what: String,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, DiskError> {
        let turn = turn.clone();
        self.files(what, move || {
            let _turn = turn;
            work()
        })
        .await
    }

    /// Gives the server a cached image as a file of its own, without a copy: it stays for as long as the server has
    /// it, and how many have it tells the cache whether it is in use.
    async fn own(
        &self,
        turn: &Arc<Turn>,
        server: Uuid,
        image: &ImageLocation,
    ) -> Result<PathBuf, DiskError> {
        let folder = self.server(server);
        let (cached, own) = (self.image(image), self.own_image(server, image));
        let (what, path) = (format!("linking {}", own.display()), own.clone());
        self.files_in(turn, what, move || {
            std::fs::create_dir_all(folder)?;
            // The server's own stays though the cache may have let the image go.
            if own.try_exists()? {
                return Ok(());
            }
            match std::fs::hard_link(cached, own) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            }
        })
        .await?;
        Ok(path)
    }

    /// Makes a root disk from an image of the server's, unless the image may not be used for it.
    async fn overlay(
        &self,
        image: &ImageLocation,
        base: &Path,
        disk: &Path,
        size_gib: u64,
    ) -> Result<(), DiskError> {
        let format = if image.disk_format == "qcow2" { "qcow2" } else { "raw" };
        let info = qemu_img::info(&self.env, base, format).await?;
        if info.names_another_file() {
            return Err(DiskError::Unsafe { image: image.image });
        }
        check_fits(info.virtual_size, size_gib)?;
        let size_bytes = (size_gib > 0).then(|| size_gib.saturating_mul(GIB));
        qemu_img::overlay(&self.env, base, format, disk, size_bytes).await
    }
}

fn failed(what: &str, reason: &dyn std::fmt::Display) -> DiskError {
    DiskError::Failed { what: what.to_owned(), reason: reason.to_string() }
}

#[async_trait]
impl Disks for FileDisks {
    async fn cached(&self, image: &ImageLocation) -> Result<bool, DiskError> {
        let path = self.image(image);
        let (what, staying, now) =
            (format!("looking for {}", path.display()), self.staying.clone(), self.wall());
        self.files(what, move || {
            let _held = staying.lock();
            cache::touch(&path, now)
        })
        .await
    }

    async fn receive(&self, image: &ImageLocation) -> Result<Box<dyn Sink>, DiskError> {
        let (folder, path) = (self.images(), self.image(image));
        let part = folder.join(format!("{}{PART}", image.sha512));
        let (what, staying, now) =
            (format!("looking for {}", part.display()), self.staying.clone(), self.wall());
        let at = part.clone();
        self.files(what, move || {
            std::fs::create_dir_all(folder)?;
            let _held = staying.lock();
            // What is there of it is gone on with, and must not go meanwhile.
            cache::touch(&at, now)
        })
        .await?;
        Ok(Box::new(FileSink::new(&self.env, part, path)))
    }

    async fn make_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        size_gib: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        let disk = self.server(server).join(ROOT_DISK);
        let (what, there) = (format!("looking for {}", disk.display()), disk.clone());
        let turn = Arc::new(self.turns.take(server).await);
        let exists = self.files_in(&turn, what, move || there.try_exists()).await?;
        if !exists {
            let part = disk.with_extension("part");
            let base = self.own(&turn, server, image).await?;
            self.overlay(image, &base, &part, size_gib).await?;
            let (from, to) = (part, disk.clone());
            let what = format!("keeping {}", disk.display());
            self.files_in(&turn, what, move || std::fs::rename(from, to)).await?;
        }
        Ok((disk, DiskFormat::Qcow2))
    }

    async fn make_boot_file(
        &self,
        server: Uuid,
        image: &ImageLocation,
    ) -> Result<PathBuf, DiskError> {
        let turn = Arc::new(self.turns.take(server).await);
        self.own(&turn, server, image).await
    }

    async fn kept_root(&self, server: Uuid) -> Result<(PathBuf, DiskFormat), DiskError> {
        self.root_there(server).await
    }

    async fn digest(&self, server: Uuid) -> Result<Digest, DiskError> {
        self.root_digest(server).await
    }

    async fn offer_root(&self, server: Uuid, digest: Digest) -> Result<Arc<dyn Source>, Fault> {
        self.offer(&self.server(server).join(ROOT_DISK), digest).await
    }

    async fn offer_image(
        &self,
        server: Uuid,
        image: &ImageLocation,
    ) -> Result<Arc<dyn Source>, Fault> {
        let nonsense = || Fault::internal(format!("{:?} is no SHA-512", image.sha512));
        let digest = image.digest().ok_or_else(nonsense)?;
        self.offer(&self.own_image(server, image), digest).await
    }

    async fn receive_root(
        &self,
        server: Uuid,
        generation: u64,
    ) -> Result<Option<Box<dyn Sink>>, DiskError> {
        self.receive_copy(server, generation).await
    }

    async fn adopt_root(
        &self,
        server: Uuid,
        image: &ImageLocation,
        generation: u64,
    ) -> Result<(PathBuf, DiskFormat), DiskError> {
        self.adopt_copy(server, image, generation).await
    }

    async fn remove(&self, server: Uuid) -> Result<(), DiskError> {
        let folder = self.server(server);
        let what = format!("removing {}", folder.display());
        let turn = Arc::new(self.turns.take(server).await);
        self.files_in(&turn, what, move || match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    async fn console_log(&self, server: Uuid) -> Result<PathBuf, DiskError> {
        let folder = self.server(server);
        let path = folder.join("console.log");
        let turn = Arc::new(self.turns.take(server).await);
        let what = format!("making {}", folder.display());
        self.files_in(&turn, what, move || std::fs::create_dir_all(folder)).await?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests;
