//! What came of an inner call, as the client of the outer one hears it.
//!
//! A handler's no keeps its words. What only says that something inside is broken, busy or away is
//! for the log; the client hears that, and whether it may try again.

use axum::http::StatusCode;
use updraft_runtime::{
    rpc::{CallError, Fault, FaultKind},
    store::StoreError,
};

use super::{error::ServiceError, service::Service};

/// When a client may try again after something was busy or away, in seconds.
const RETRY_AFTER_SECS: u32 = 1;

impl Service {
    /// The error of an inner call that a handler answered with a fault.
    #[must_use]
    pub fn fault(self, fault: &Fault) -> ServiceError {
        let (message, code) = (fault.message.as_str(), fault.code.clone());
        match fault.kind {
            FaultKind::NotFound => self.not_found(message).kind(code),
            FaultKind::Invalid => self.bad_request(message).kind(code),
            FaultKind::Conflict | FaultKind::Stale => self.conflict(message).kind(code),
            FaultKind::Forbidden => self.forbidden(message).kind(code),
            FaultKind::Unauthenticated => self.unauthorized(),
            FaultKind::OverLimit => self.over_quota(message),
            FaultKind::Unavailable => {
                tracing::warn!(code, message, "an inner call cannot be served now");
                self.try_again()
            }
            FaultKind::Internal => {
                tracing::error!(code, message, "an inner call failed");
                self.internal()
            }
        }
    }

    /// The error of an inner call that ended in anything but a reply.
    #[must_use]
    pub fn call_error(self, error: &CallError) -> ServiceError {
        match error {
            CallError::Rejected(fault) => self.fault(fault),
            CallError::Refused { .. } => {
                tracing::warn!(%error, "an inner call was not taken");
                self.try_again()
            }
            CallError::Unknown { .. } => {
                tracing::warn!(%error, "an inner call's outcome is unknown");
                self.error(
                    StatusCode::GATEWAY_TIMEOUT,
                    "It is not known whether the request was carried out. Look before you repeat it.",
                )
            }
        }
    }

    /// The error of a request that the store did not serve. What is damaged is for the log alone.
    #[must_use]
    pub fn store_error(self, error: &StoreError) -> ServiceError {
        match error {
            StoreError::Unknown => {
                tracing::warn!(%error, "a commit's outcome is unknown");
                self.unavailable(
                    "It is not known whether the request was carried out. Look before you repeat it.",
                )
            }
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "the store did not serve a request");
                self.unavailable(
                    "The cloud's database does not answer, and nothing was changed. Please try again.",
                )
                .retry_after_secs(RETRY_AFTER_SECS)
            }
            StoreError::Conflict | StoreError::Closed => {
                tracing::warn!(%error, "the store did not serve a request");
                self.try_again()
            }
            StoreError::NoSpace(_) => {
                tracing::warn!(%error, "the store did not serve a request");
                self.error(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "The cloud's disk is full: nothing was changed. Its operator has to free space; it serves \
                     again then.",
                )
            }
            StoreError::TooLarge { .. } => self.error(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("This is too much for one request: {error}."),
            ),
            _ => {
                tracing::error!(%error, "the store failed a request");
                self.internal()
            }
        }
    }

    fn try_again(self) -> ServiceError {
        self.unavailable("The service is temporarily unavailable. Please try again.")
            .retry_after_secs(RETRY_AFTER_SECS)
    }
}

#[cfg(test)]
mod tests {
    use updraft_runtime::rpc::Refusal;

    use super::*;

    #[test]
    fn a_handlers_no_keeps_its_words() {
        let table = [
            (FaultKind::NotFound, 404),
            (FaultKind::Invalid, 400),
            (FaultKind::Conflict, 409),
            (FaultKind::Stale, 409),
            (FaultKind::Forbidden, 403),
            (FaultKind::OverLimit, 409),
        ];
        for (kind, status) in table {
            let error = Service::Network.fault(&Fault::new(kind, "PortInUse", "Port p is in use."));
            assert_eq!((error.status().as_u16(), error.message()), (status, "Port p is in use."));
        }
    }

    #[test]
    fn what_is_broken_inside_is_not_told() {
        for kind in [FaultKind::Unauthenticated, FaultKind::Unavailable, FaultKind::Internal] {
            let error = Service::Compute.fault(&Fault::new(kind, "Store", "disk /dev/sdb1: EIO"));
            assert!(!error.message().contains("sdb1"), "{error}");
            assert!([401, 503, 500].contains(&error.status().as_u16()), "{error}");
        }
    }

    #[test]
    fn a_store_that_fails_is_told_without_its_inside() {
        let corrupt = StoreError::Corrupt { key: "volume/x".to_owned(), reason: "bits".to_owned() };
        let table = [
            (StoreError::Conflict, 503),
            (StoreError::Unknown, 503),
            (StoreError::Unavailable("EIO on sdb1".to_owned()), 503),
            (StoreError::NoSpace("sdb1 is full".to_owned()), 507),
            (StoreError::Closed, 503),
            (StoreError::TooLarge { what: "the value".to_owned(), size: 9, limit: 8 }, 413),
            (corrupt, 500),
        ];
        for (error, status) in table {
            let told = Service::Volume.store_error(&error);
            assert_eq!(told.status().as_u16(), status, "{error}");
            assert!(!told.message().contains("sdb1") && !told.message().contains("bits"), "{told}");
        }
    }

    #[test]
    fn a_call_that_was_not_taken_may_be_repeated_and_an_unknown_one_is_said_to_be() {
        let refusal = Refusal::Busy("network".to_owned());
        let refused = CallError::Refused { method: "network.create_port", refusal };
        assert_eq!(Service::Compute.call_error(&refused).status(), StatusCode::SERVICE_UNAVAILABLE);
        let reason = "the connection broke".to_owned();
        let unknown = CallError::Unknown { method: "network.create_port", reason };
        let error = Service::Compute.call_error(&unknown);
        assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
        assert!(error.message().contains("not known"), "{error}");
    }
}
