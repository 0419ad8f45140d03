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

/// What a fetch that did not end well says. That nobody could be asked says nothing: what has come stays, and is gone on
/// with.
fn failed(error: &FetchError) -> DriverError {
    match error {
        FetchError::Call(call) => {
            refused(call).unwrap_or_else(|| DriverError::Later(call.to_string()))
        }
        FetchError::Stalled { .. } | FetchError::Cancelled { .. } => {
            DriverError::Later(error.to_string())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use updraft_runtime::rpc::{Fault, Refusal};

    use super::*;

    fn rejected(kind: FaultKind) -> FetchError {
        FetchError::Call(CallError::Rejected(Fault::new(kind, "Code", "no")))
    }

    #[test]
    fn an_image_service_that_is_away_says_nothing_about_the_file() {
        let (method, last) = ("image/fetch", String::new());
        let stalled =
            FetchError::Stalled { method, done_bytes: 7, waited: Duration::from_secs(60), last };
        let refusal = Refusal::Busy("control-1".to_owned());
        let refused = FetchError::Call(CallError::Refused { method, refusal });
        let away = [stalled, FetchError::Cancelled { method }, refused];
        for error in away.into_iter().chain([rejected(FaultKind::Unavailable)]) {
            assert!(matches!(failed(&error), DriverError::Later(_)), "{error}");
        }
    }

    #[test]
    fn a_no_of_the_image_service_is_final() {
        let no = failed(&rejected(FaultKind::NotFound));
        assert_eq!(no, DriverError::Impossible("no".to_owned()));
    }
}
