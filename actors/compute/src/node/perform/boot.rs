//! Brings what a guest boots from to this host.

use std::{future::Future, time::Duration};

use updraft_protocol::{
    compute::{BuildFault, Goal, GuestWant, RootDisk},
    image::{self, ImageLocation},
};
use updraft_runtime::{bulk::FetchError, rpc::CallError};
use uuid::Uuid;

use super::{Guests, refused};
use crate::{
    disks::DiskError,
    node::{
        guest::{BootFiles, GuestRow},
        plan::Learned,
    },
};

/// How long a fetch waits while no byte of an image comes. Short: what has come stays, and the plan asks again.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Guests {
    pub(super) async fn prepare_boot(&self, row: &GuestRow, want: &GuestWant) -> Option<Learned> {
        match self.boot_files(row, want).await {
            Ok(boot) => Some(Learned::Boot(boot)),
            Err(Unready::Disk(error)) => Some(Learned::Fault(
                want.generation,
                BuildFault { message: error.to_string(), elsewhere: error.may_succeed_elsewhere() },
            )),
            Err(Unready::Call(error)) => refused(row, want, &error),
            Err(Unready::Unwanted) => None,
            Err(Unready::Later(error)) => {
                tracing::info!(server = %row.server, %error, "the image is fetched on later");
                None
            }
        }
    }

    async fn boot_files(&self, row: &GuestRow, want: &GuestWant) -> Result<BootFiles, Unready> {
        let mut boot =
            BootFiles { disk: None, kernel: None, ramdisk: None, command_line: String::new() };
        let Some((root, parts)) = row.images.as_ref().and_then(|images| images.split_first())
        else {
            return Ok(boot);
        };
        boot.disk = Some(match &want.disk {
            RootDisk::Kept => self.make(row.server, self.disks.kept_root(row.server)).await?,
            RootDisk::CopyOf { host, generation } => {
                self.bring_kept(row, root, (host, *generation)).await?;
                self.copy_root(row, root, (host, *generation)).await?
            }
            RootDisk::Here | RootDisk::Parked => {
                self.bring(row, root).await?;
                let disk = self.disks.make_root(row.server, root, want.flavor.disk_gib);
                self.make(row.server, disk).await?
            }
        });
        for part in parts {
            match &want.disk {
                RootDisk::Kept => {}
                RootDisk::CopyOf { host, generation } => {
                    self.bring_kept(row, part, (host, *generation)).await?;
                }
                RootDisk::Here | RootDisk::Parked => self.bring(row, part).await?,
            }
            let file = self.disks.make_boot_file(row.server, part);
            let file = Some(self.make(row.server, file).await?);
            if Some(part.image) == root.kernel {
                boot.kernel = file;
            } else {
                boot.ramdisk = file;
            }
        }
        let line = root.properties.get("os_command_line");
        boot.command_line = line.map_or_else(|| "console=ttyS0".to_owned(), Clone::clone);
        Ok(boot)
    }

    /// Makes a file of a guest, in its turn among what is done for it, and unless it is to go by now: an image may have
    /// been long on its way, and what is made after a removal stays.
    pub(super) async fn make<T>(
        &self,
        server: Uuid,
        work: impl Future<Output = Result<T, DiskError>>,
    ) -> Result<T, Unready> {
        let _turn = self.turns.take(server).await;
        if !self.is_wanted(server).await {
            return Err(Unready::Unwanted);
        }
        Ok(work.await?)
    }

    /// Whether a guest is to be here. A store that does not answer says no: the plan asks again.
    pub(super) async fn is_wanted(&self, server: Uuid) -> bool {
        let row = self.store.read(|txn| txn.get::<GuestRow>(&server.to_string())).await;
        let present = |row: GuestRow| {
            !row.unwanted && row.want.is_some_and(|want| want.goal == Goal::Present)
        };
        row.is_ok_and(|row| row.is_some_and(present))
    }

    /// Brings an image to this host, unless it is here. Once: of many servers that want it at the same time, one
    /// fetches it and the others find it. A fetch that broke off, also with this process, goes on where it was.
    pub(super) async fn bring(&self, row: &GuestRow, image: &ImageLocation) -> Result<(), Unready> {
        let _turn = self.fetching.take(image.sha512.clone()).await;
        if self.disks.cached(image).await? {
            return Ok(());
        }
        let digest = image.digest().ok_or_else(|| nonsense(image))?;
        let mut sink = self.disks.receive(image).await?;
        let message = image::Fetch { image: image.image };
        let fetch = self.rpc.client::<image::Api>().fetch(message, &self.cx(row));
        let fetch = fetch.expecting(digest).at_most(image.size_bytes).patient_for(PATIENCE);
        fetch.into(&mut *sink).await.map(|_| ()).map_err(|error| unready(image, error))
    }
}

pub(super) enum Unready {
    Disk(DiskError),
    Call(CallError),
    Later(FetchError),
    Unwanted,
}

pub(super) fn nonsense(image: &ImageLocation) -> DiskError {
    let reason = format!("{:?} is no SHA-512", image.sha512);
    DiskError::Failed { what: format!("fetching image {}", image.image), reason }
}

/// What a fetch that did not end well teaches.
pub(super) fn unready(image: &ImageLocation, error: FetchError) -> Unready {
    match error {
        FetchError::Call(error) => Unready::Call(error),
        FetchError::Digest { digests, .. } => Unready::Disk(DiskError::Digest {
            image: image.image,
            expected: image.sha512.clone(),
            found: digests.found.hex(),
        }),
        FetchError::Sink { error, .. } => Unready::Disk(DiskError::Failed {
            what: format!("keeping image {}", image.image),
            reason: error.to_string(),
        }),
        FetchError::Changed { .. } | FetchError::Dishonest { .. } | FetchError::TooLarge { .. } => {
            Unready::Disk(DiskError::Failed {
                what: format!("fetching image {}", image.image),
                reason: error.to_string(),
            })
        }
        FetchError::Stalled { .. } | FetchError::Cancelled { .. } => Unready::Later(error),
    }
}

impl From<DiskError> for Unready {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}
