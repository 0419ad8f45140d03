//! Brings what a guest boots from to this host.

use bytes::Bytes;
use updraft_protocol::{
    compute::{BuildFault, GuestWant},
    image::{self, CHUNK_MAX_BYTES, ImageLocation, Read},
};
use updraft_runtime::rpc::{CallError, TraceContext};

use super::{Guests, refused};
use crate::{
    disks::DiskError,
    node::{
        guest::{BootFiles, GuestRow},
        plan::Learned,
    },
};

impl Guests {
    pub(super) async fn prepare_boot(&self, row: &GuestRow, want: &GuestWant) -> Option<Learned> {
        match self.boot_files(row, want).await {
            Ok(boot) => Some(Learned::Boot(boot)),
            Err(Unready::Disk(error)) => Some(Learned::Fault(
                want.generation,
                BuildFault { message: error.to_string(), elsewhere: error.may_succeed_elsewhere() },
            )),
            Err(Unready::Call(error)) => refused(row, want, &error),
        }
    }

    async fn boot_files(&self, row: &GuestRow, want: &GuestWant) -> Result<BootFiles, Unready> {
        let mut boot =
            BootFiles { disk: None, kernel: None, ramdisk: None, command_line: String::new() };
        let Some((root, parts)) = row.images.as_ref().and_then(|images| images.split_first())
        else {
            return Ok(boot);
        };
        self.bring(row, root).await?;
        boot.disk = Some(self.disks.make_root(row.server, root, want.flavor.disk_gib).await?);
        for part in parts {
            self.bring(row, part).await?;
            let file = Some(self.disks.make_boot_file(row.server, part).await?);
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

    /// Brings an image to this host, unless it is here. Once: of many servers that want it at the same time, one
    /// fetches it and the others find it.
    async fn bring(&self, row: &GuestRow, image: &ImageLocation) -> Result<(), Unready> {
        let _turn = self.fetching.take(image.sha512.clone()).await;
        if self.disks.cached(image).await? {
            return Ok(());
        }
        let mut incoming = self.disks.receive(image).await?;
        let mut offset_bytes = 0;
        let mut cx = self.cx(row);
        while offset_bytes < image.size_bytes {
            let message = Read { image: image.image, offset_bytes, length_bytes: CHUNK_MAX_BYTES };
            let piece: Bytes = self.rpc.client::<image::Api>().call(&message, &cx).await?;
            // One piece is a step of the flow; the thousand others would hide the rest of it.
            cx.trace = TraceContext::default();
            if piece.is_empty() {
                break;
            }
            offset_bytes += piece.len() as u64;
            incoming.write(piece).await?;
        }
        Ok(incoming.finish().await?)
    }
}

enum Unready {
    Disk(DiskError),
    Call(CallError),
}

impl From<DiskError> for Unready {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<CallError> for Unready {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
