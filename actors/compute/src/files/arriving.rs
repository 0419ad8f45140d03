//! An image on its way into the cache: hashed as it comes, and named as an image only when it is whole.

use std::path::PathBuf;

use async_trait::async_trait;
use base16ct::lower;
use bytes::Bytes;
use sha2::{Digest, Sha512};
use updraft_protocol::image::ImageLocation;
use uuid::Uuid;

use super::{FileDisks, failed};
use crate::disks::{DiskError, Incoming};

/// What is not an image yet is named so, after the image's digest.
pub(super) const PART: &str = ".part-";

/// An image that is being written.
pub(super) struct Arriving {
    disks: FileDisks,
    image: Uuid,
    expected: String,
    digest: Sha512,
    file: Option<std::fs::File>,
    part: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Arriving {
    /// Begins a file of its own.
    pub(super) async fn begin(disks: &FileDisks, image: &ImageLocation) -> Result<Self, DiskError> {
        let name = disks.env.uuid().simple();
        let part = format!("{}{PART}{}-{name}", image.sha512, disks.life);
        let (folder, part) = (disks.images(), disks.images().join(part));
        let (at, what) = (part.clone(), format!("writing {}", part.display()));
        let create = move || {
            std::fs::create_dir_all(folder)?;
            std::fs::File::create(at)
        };
        let file = disks.files(what, create).await?;
        Ok(Self {
            disks: disks.clone(),
            image: image.image,
            expected: image.sha512.clone(),
            digest: Sha512::new(),
            file: Some(file),
            part,
            path: disks.image(image),
            kept: false,
        })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now, the next process of this host removes.
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
