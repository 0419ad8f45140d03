//! What other services ask of images: where one is and what it is, and pieces of its bytes.
//!
//! The caller's token is verified anew, locally. Only what the user may see and use is told.

use std::sync::Arc;

use bytes::Bytes;
use updraft_protocol::image::{Api, CHUNK_MAX_BYTES, ImageLocation, Locate, Read};
use updraft_runtime::rpc::{Ctx, Fault, Service};
use uuid::Uuid;

use crate::{
    Shared,
    asker::Asker,
    error::Error,
    rows::{Content, ImageRow, Status},
};

/// The handlers of `image.api`.
pub(crate) fn service(shared: &Arc<Shared>) -> Service {
    let (locating, reading) = (shared.clone(), shared.clone());
    Service::of::<Api>()
        .call(move |ctx, Locate { image }: Locate| {
            let shared = locating.clone();
            async move { shared.locate(&ctx, image).await }
        })
        .call(move |ctx, read: Read| {
            let shared = reading.clone();
            async move { shared.read(&ctx, read).await }
        })
        .into()
}

impl Shared {
    async fn locate(&self, ctx: &Ctx, image: Uuid) -> Result<ImageLocation, Fault> {
        let (row, content) = self.usable(ctx, image, "get_image").await?;
        Ok(location(row, content))
    }

    async fn read(&self, ctx: &Ctx, read: Read) -> Result<Bytes, Fault> {
        if read.length_bytes > CHUNK_MAX_BYTES {
            return Err(Error::invalid(format!(
                "{} bytes were asked for at once, at most {CHUNK_MAX_BYTES} are given",
                read.length_bytes
            ))
            .into());
        }
        let (_, content) = self.usable(ctx, read.image, "download_image").await?;
        let end = read.offset_bytes.saturating_add(u64::from(read.length_bytes));
        let range = read.offset_bytes..end.min(content.size_bytes);
        Ok(self.blobs.read(read.image, content.upload, range).await.map_err(Error::from)?)
    }

    /// The image, if the caller may do this with it and it has bytes to use.
    async fn usable(
        &self,
        ctx: &Ctx,
        image: Uuid,
        rule: &str,
    ) -> Result<(ImageRow, Content), Fault> {
        let asker = self.asker(ctx)?;
        let row = self.repository.get(image).await?.ok_or_else(|| Error::not_found(image))?;
        asker.may_on(&self.policy, rule, &row)?;
        match (row.status, row.content.clone()) {
            (Status::Active, Some(content)) => Ok((row, content)),
            (Status::Deactivated, Some(content)) if asker.is_admin() => Ok((row, content)),
            (Status::Deactivated, _) => Err(Error::forbidden(DEACTIVATED).into()),
            _ => Err(Error::conflict(format!("Image {image} is not active.")).into()),
        }
    }

    /// Who the caller acts for, by the token that it brought.
    fn asker(&self, ctx: &Ctx) -> Result<Asker, Fault> {
        let (_, principal) = self.context.principal(ctx)?;
        Ok(Asker::new(&principal, None, &self.policy))
    }
}

/// What whoever wants the bytes of a deactivated image hears.
pub(crate) const DEACTIVATED: &str =
    "The requested image has been deactivated. Image data download is forbidden.";

fn location(row: ImageRow, content: Content) -> ImageLocation {
    let mut properties = row.about.properties;
    let image_of = |id: Option<&String>| id.and_then(|id| id.parse().ok());
    let kernel = image_of(properties.get("kernel_id"));
    let ramdisk = image_of(properties.get("ramdisk_id"));
    properties.retain(|name, _| name != "kernel_id" && name != "ramdisk_id");
    ImageLocation {
        image: row.id,
        name: row.about.name.unwrap_or_default(),
        uri: format!("updraft+image:///{}", row.id),
        status: row.status.as_str().to_owned(),
        disk_format: row.about.disk_format.unwrap_or_default(),
        container_format: row.about.container_format.unwrap_or_default(),
        size_bytes: content.size_bytes,
        virtual_size_bytes: content.virtual_size_bytes,
        sha512: content.sha512,
        min_disk_gib: row.about.min_disk_gib,
        min_ram_mib: row.about.min_ram_mib,
        kernel,
        ramdisk,
        properties,
    }
}
