//! An image's bytes from the image service.

use async_trait::async_trait;
use updraft_protocol::{
    image::{self, ImageLocation, Locate},
    volume::NODE,
};
use updraft_runtime::{
    bulk::{Digest, FetchError, Sink, SinkError},
    rpc::{CallError, Cx, FaultKind, Rpc},
};
use uuid::Uuid;

use super::Caller;
use crate::driver::{DriverError, Image};

/// An image that was found.
pub(super) struct Fetch {
    rpc: Rpc,
    cx: Cx,
    location: ImageLocation,
    digest: Digest,
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
            Ok(location) => {
                let nonsense = || DriverError::Failed(format!("image {image} has no SHA-512"));
                let digest = location.digest().ok_or_else(nonsense)?;
                Ok(Some(Self { rpc: rpc.clone(), cx, location, digest }))
            }
            Err(error) => match refused(&error) {
                Some(refused) => Err(refused),
                None => {
                    tracing::info!(%image, %error, "the image is asked for again later");
                    Ok(None)
                }
            },
        }
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

fn failed(error: &FetchError) -> DriverError {
    match error {
        FetchError::Call(call) => {
            refused(call).unwrap_or_else(|| DriverError::Failed(call.to_string()))
        }
        FetchError::Sink { error: SinkError::Full(_), .. } => DriverError::Full(error.to_string()),
        other => DriverError::Failed(other.to_string()),
    }
}

#[async_trait]
impl Image for Fetch {
    fn location(&self) -> &ImageLocation {
        &self.location
    }

    async fn fetch(&self, into: &mut dyn Sink) -> Result<(), DriverError> {
        let message = image::Fetch { image: self.location.image };
        let fetch = self.rpc.client::<image::Api>().fetch(message, &self.cx);
        let fetched =
            fetch.expecting(self.digest).at_most(self.location.size_bytes).into(into).await;
        fetched.map(|_| ()).map_err(|error| failed(&error))
    }
}
