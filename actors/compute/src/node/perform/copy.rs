//! Brings a server's disk to this host from the one that keeps it.
//!
//! What has come stays over a restart of either host, and the next fetch goes on behind it. A disk that is not wanted here
//! any more is fetched no further.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use updraft_protocol::{
    compute::{BuildFault, Conductor, CopyDisk, DescribeDisk, DiskFile, FindDisk, GuestWant, Node},
    hypervisor::DiskFormat,
    image::ImageLocation,
};
use updraft_runtime::{
    bulk::{Digest, FetchError, Sink, SinkError},
    rpc::{CallError, Client, FaultKind},
    transport::NodeId,
};
use uuid::Uuid;

use super::{
    Guests,
    boot::{PATIENCE, Unready, nonsense, unready},
    unheard,
};
use crate::{
    disks::DiskError,
    node::{
        guest::{GuestRow, Parked},
        plan::Learned,
    },
};

/// What each fetch of a disk is counted under: one at a time of each server's.
fn turn_of(server: Uuid) -> String {
    format!("disk {server}")
}

impl Guests {
    /// What a root disk is known by that is to stay here without its guest.
    pub(super) async fn digest(&self, row: &GuestRow, want: &GuestWant) -> Option<Learned> {
        let generation = want.generation;
        if want.image.is_none() {
            return Some(Learned::Parked { generation, parked: Parked { digest: None } });
        }
        Some(match self.disks.digest(row.server).await {
            Ok(digest) => {
                Learned::Parked { generation, parked: Parked { digest: Some(digest.hex()) } }
            }
            Err(error) => {
                let fault = BuildFault { message: error.to_string(), elsewhere: false };
                Learned::Fault(generation, fault)
            }
        })
    }

    /// The images that a disk was made over, as the host knows them that keeps it.
    pub(super) async fn kept_images(
        &self,
        row: &GuestRow,
        host: &str,
        generation: u64,
    ) -> Option<Learned> {
        let message = DescribeDisk { server: row.server, generation };
        let keeper = self.keeper(row, host).await;
        let asked = match &keeper {
            Ok(keeper) => keeper.call(&message, &self.cx(row)).await,
            Err(error) => return unheard(row, error),
        };
        match asked {
            Ok(kept) => Some(Learned::Images(kept.images)),
            Err(error) => unheard(row, &error),
        }
    }

    /// The host that keeps a server's disk. Hosts are not told of one another by their beats: a conductor says where it
    /// listens.
    async fn keeper(&self, row: &GuestRow, host: &str) -> Result<Client<Node>, CallError> {
        let message = FindDisk { server: row.server };
        let address = self.rpc.client::<Conductor>().call(&message, &self.cx(row)).await?;
        let node = NodeId::new(host).map_err(|error| {
            CallError::Rejected(updraft_runtime::rpc::Fault::internal(error.to_string()))
        })?;
        self.rpc.directory().introduce(&node, address);
        Ok(self.rpc.client::<Node>().on(&node))
    }

    /// Brings an image that a disk was made over, unless it is here: from the host that keeps the disk, since the image
    /// service may have it no longer, or from there if the host does not give it.
    pub(super) async fn bring_kept(
        &self,
        row: &GuestRow,
        image: &ImageLocation,
        (host, generation): (&str, u64),
    ) -> Result<(), Unready> {
        let turn = self.fetching.take(image.sha512.clone()).await;
        if self.disks.cached(image).await? {
            return Ok(());
        }
        let digest = image.digest().ok_or_else(|| nonsense(image))?;
        let sink = self.disks.receive(image).await?;
        let from = (host, generation);
        let fetched =
            self.copied(row, DiskFile::Image(image.image), from, sink, Some(digest)).await;
        drop(turn);
        match fetched {
            Err(FetchError::Call(CallError::Rejected(fault)))
                if fault.kind == FaultKind::NotFound =>
            {
                self.bring(row, image).await
            }
            other => other.map_err(|error| unready(image, error)),
        }
    }

    /// Brings a root disk, and makes it the server's own here.
    pub(super) async fn copy_root(
        &self,
        row: &GuestRow,
        image: &ImageLocation,
        (host, generation): (&str, u64),
    ) -> Result<(PathBuf, DiskFormat), Unready> {
        let _turn = self.fetching.take(turn_of(row.server)).await;
        let room = self.disks.receive_root(row.server, generation);
        if let Some(sink) = self.make(row.server, room).await? {
            let wanted = WhileWanted { guests: self.clone(), server: row.server, sink };
            let from = (host, generation);
            let copied = self.copied(row, DiskFile::Root, from, Box::new(wanted), None).await;
            copied.map_err(|error| not_copied(image, error))?;
        }
        self.make(row.server, self.disks.adopt_root(row.server, image, generation)).await
    }

    async fn copied(
        &self,
        row: &GuestRow,
        file: DiskFile,
        (host, generation): (&str, u64),
        mut sink: Box<dyn Sink>,
        digest: Option<Digest>,
    ) -> Result<(), FetchError> {
        let keeper = self.keeper(row, host).await.map_err(FetchError::Call)?;
        let message = CopyDisk { server: row.server, generation, file };
        let mut fetch = keeper.fetch(message, &self.cx(row)).patient_for(PATIENCE);
        if let Some(digest) = digest {
            fetch = fetch.expecting(digest);
        }
        fetch.into(&mut *sink).await.map(|_| ())
    }
}

/// What a copy that did not end well teaches: that the disk's host does not give it may pass, and no other has it.
fn not_copied(image: &ImageLocation, error: FetchError) -> Unready {
    match error {
        FetchError::Call(error) => Unready::Later(FetchError::Call(error)),
        error @ FetchError::Sink { .. } => Unready::Disk(DiskError::Failed {
            what: "copying a root disk".to_owned(),
            reason: error.to_string(),
        }),
        FetchError::Digest { .. } | FetchError::Changed { .. } | FetchError::Dishonest { .. } => {
            Unready::Later(error)
        }
        error => unready(image, error),
    }
}

/// A disk on its way that ends when it is not wanted here any more.
struct WhileWanted {
    guests: Guests,
    server: Uuid,
    sink: Box<dyn Sink>,
}

#[async_trait]
impl Sink for WhileWanted {
    async fn kept_bytes(&mut self) -> Result<u64, SinkError> {
        self.sink.kept_bytes().await
    }

    async fn read_kept(
        &mut self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> Result<Bytes, SinkError> {
        self.sink.read_kept(offset_bytes, length_bytes).await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        if !self.guests.is_wanted(self.server).await {
            return Err(SinkError::Failed("it is not wanted here any more".to_owned()));
        }
        self.sink.write(bytes).await
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        self.sink.finish().await
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        self.sink.discard().await
    }
}
