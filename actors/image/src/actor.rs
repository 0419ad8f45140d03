//! What other services ask of images: where one is and what it is, and its bytes.
//!
//! The caller's token is verified anew, locally. Only what the user may see and use is told.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use updraft_protocol::image::{Api, Fetch, ImageLocation, Locate};
use updraft_runtime::{
    bulk::{Digest, Source},
    rpc::{Ctx, Fault, Service},
};
use uuid::Uuid;

use crate::{
    Shared,
    asker::Asker,
    blobs::Blobs,
    error::Error,
    rows::{Content, ImageRow, Status},
};

/// The handlers of `image.api`.
pub(crate) fn service(shared: &Arc<Shared>) -> Service {
    let (locating, giving) = (shared.clone(), shared.clone());
    Service::of::<Api>()
        .call(move |ctx, Locate { image }: Locate| {
            let shared = locating.clone();
            async move { shared.locate(&ctx, image).await }
        })
        .body(&shared.context.rpc, move |ctx, Fetch { image }: Fetch| {
            let shared = giving.clone();
            async move { shared.stored(&ctx, image).await }
        })
        .into()
}

impl Shared {
    async fn locate(&self, ctx: &Ctx, image: Uuid) -> Result<ImageLocation, Fault> {
        let (row, content) = self.usable(ctx, image, "get_image").await?;
        Ok(location(row, content))
    }

    async fn stored(&self, ctx: &Ctx, image: Uuid) -> Result<Stored, Fault> {
        let (_, content) = self.usable(ctx, image, "download_image").await?;
        let digest = Digest::from_hex(&content.sha512).ok_or_else(|| {
            Fault::internal(format!("{} of image {image} is no SHA-512", content.sha512))
        })?;
        Ok(Stored { blobs: self.blobs.clone(), image, content, digest })
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

/// The bytes of an image: one upload, which never changes.
struct Stored {
    blobs: Blobs,
    image: Uuid,
    content: Content,
    digest: Digest,
}

#[async_trait]
impl Source for Stored {
    fn size_bytes(&self) -> u64 {
        self.content.size_bytes
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    async fn read(&self, offset_bytes: u64, length_bytes: usize) -> Result<Bytes, Fault> {
        let range = offset_bytes..offset_bytes.saturating_add(length_bytes as u64);
        let read = self.blobs.read(self.image, self.content.upload, range).await;
        Ok(read.map_err(Error::from)?)
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
