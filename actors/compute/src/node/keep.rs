//! What this host keeps of servers that are elsewhere: says what it is, and sends it, to the one host that is to copy it.
//!
//! A host that asks is believed nothing: a conductor says whether it may have the disk.

use std::sync::Arc;

use updraft_protocol::compute::{
    self, Conductor, CopyDisk, DescribeDisk, DiskFile, KeptDisk, MayCopyDisk, RootDisk,
};
use updraft_runtime::{
    bulk::{Digest, Source},
    rpc::{Ctx, Cx, Fault, FaultKind},
};
use uuid::Uuid;

use super::{
    actor::ComputeNode,
    guest::{GuestRow, Parked},
};

impl ComputeNode {
    pub(super) async fn describe_disk(
        &self,
        ctx: &Ctx,
        message: &DescribeDisk,
    ) -> Result<KeptDisk, Fault> {
        let (row, _) = self.parked(ctx, message.server, message.generation).await?;
        Ok(KeptDisk { images: row.images.unwrap_or_default() })
    }

    pub(super) async fn copy_disk(
        &self,
        ctx: &Ctx,
        message: &CopyDisk,
    ) -> Result<Arc<dyn Source>, Fault> {
        let (row, parked) = self.parked(ctx, message.server, message.generation).await?;
        match message.file {
            DiskFile::Root => {
                let digest = parked.digest.as_deref().and_then(Digest::from_hex);
                let digest = digest.ok_or_else(|| none_such(message))?;
                self.disks.offer_root(message.server, digest).await
            }
            DiskFile::Image(id) => {
                let images = row.images.unwrap_or_default();
                let image = images.iter().find(|image| image.image == id);
                let image = image.ok_or_else(|| none_such(message))?;
                self.disks.offer_image(message.server, image).await
            }
        }
    }

    /// What is parked of a server at this generation, if the host that asks may have it.
    async fn parked(
        &self,
        ctx: &Ctx,
        server: Uuid,
        generation: u64,
    ) -> Result<(GuestRow, Parked), Fault> {
        let row = self.store.read(|txn| txn.get::<GuestRow>(&server.to_string())).await?;
        let row = row.filter(|row| {
            let want = row.want.as_ref();
            row.gone
                && want.is_some_and(|want| {
                    want.generation == generation && want.disk == RootDisk::Parked
                })
        });
        let not_parked = || {
            let words = format!("nothing of server {server} is parked at generation {generation}");
            Fault::new(FaultKind::Unavailable, "NotParked", words)
        };
        let row = row.ok_or_else(not_parked)?;
        let parked = row.parked.clone().ok_or_else(not_parked)?;
        self.check(ctx, server, generation).await?;
        Ok((row, parked))
    }

    async fn check(&self, ctx: &Ctx, server: Uuid, generation: u64) -> Result<(), Fault> {
        let host = ctx.peer.node.to_string();
        let message = MayCopyDisk { server, host: host.clone(), generation };
        let cx = Cx::new(compute::NODE, ctx.trace);
        let unheard = |error| {
            let words = format!("nobody says whether host {host} may have it: {error}");
            Fault::new(FaultKind::Unavailable, "NotHeard", words)
        };
        let may = self.rpc.client::<Conductor>().call(&message, &cx).await.map_err(unheard)?;
        if may {
            return Ok(());
        }
        let words = format!("the disk of server {server} is not for host {host}");
        Err(Fault::new(FaultKind::Forbidden, "NotYours", words))
    }
}

fn none_such(message: &CopyDisk) -> Fault {
    let words = format!("server {} has no such file", message.server);
    Fault::new(FaultKind::NotFound, "NoSuchFile", words)
}
