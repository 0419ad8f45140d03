//! An image's bytes from the image service, piece by piece, with the digest checked at the end.

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha512};
use updraft_protocol::{
    image::{self, CHUNK_MAX_BYTES, ImageLocation, Locate, Read},
    volume::NODE,
};
use updraft_runtime::rpc::{CallError, Cx, FaultKind, Rpc};
use uuid::Uuid;

use super::Caller;
use crate::driver::{DriverError, ImageStream};

/// A stream of an image's bytes.
pub(super) struct Fetch {
    rpc: Rpc,
    cx: Cx,
    location: ImageLocation,
    offset_bytes: u64,
    sha512: Sha512,
}

impl Fetch {
    /// Finds the image; `None` if the image service does not answer now.
    pub(super) async fn begin(
        rpc: &Rpc,
        image: Uuid,
        caller: &Caller,
    ) -> Result<Option<Self>, DriverError> {
        let cx = Cx::new(NODE, caller.trace).with_context(caller.context.clone());
        match rpc.client::<image::Api>().call(&Locate { image }, &cx).await {
            Ok(location) => Ok(Some(Self {
                rpc: rpc.clone(),
                cx,
                location,
                offset_bytes: 0,
                sha512: Sha512::new(),
            })),
            Err(error) => match refused(&error) {
                Some(refused) => Err(refused),
                None => {
                    tracing::info!(%image, %error, "the image is asked for again later");
                    Ok(None)
                }
            },
        }
    }

    fn check(&mut self) -> Result<(), DriverError> {
        let found = base16ct::lower::encode_string(&self.sha512.finalize_reset());
        if found == self.location.sha512 {
            return Ok(());
        }
        let words = format!(
            "what arrived of image {} has the digest {found} and should have {}",
            self.location.image, self.location.sha512
        );
        Err(DriverError::Failed(words))
    }
}

/// The image service's own no, if it will not change its mind.
fn refused(error: &CallError) -> Option<DriverError> {
    let fault = error.fault()?;
    match fault.kind {
        FaultKind::Unavailable | FaultKind::Internal | FaultKind::Stale => None,
        _ => Some(DriverError::Impossible(fault.message.clone())),
    }
}

#[async_trait]
impl ImageStream for Fetch {
    fn location(&self) -> &ImageLocation {
        &self.location
    }

    async fn next(&mut self) -> Result<Option<Bytes>, DriverError> {
        if self.offset_bytes >= self.location.size_bytes {
            self.check()?;
            return Ok(None);
        }
        let read = Read {
            image: self.location.image,
            offset_bytes: self.offset_bytes,
            length_bytes: CHUNK_MAX_BYTES,
        };
        let piece =
            self.rpc.client::<image::Api>().call(&read, &self.cx).await.map_err(|error| {
                refused(&error).unwrap_or_else(|| DriverError::Failed(error.to_string()))
            })?;
        if piece.is_empty() {
            let words = format!("image {} ended early", self.location.image);
            return Err(DriverError::Failed(words));
        }
        self.offset_bytes += piece.len() as u64;
        self.sha512.update(&piece);
        Ok(Some(piece))
    }
}
