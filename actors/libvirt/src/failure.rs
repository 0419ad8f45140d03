//! What went wrong in a call, and what the asker is told.

use std::io;

use updraft_protocol::hypervisor::DriverError;
use uuid::Uuid;
use virt::error::{Error, ErrorDomain, ErrorNumber};

use crate::xml::Unfit;

/// Why a piece of work inside libvirt did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// libvirt said no.
    #[error("{}", .0.message())]
    Libvirt(#[from] Error),
    /// libvirt's account of a guest makes no sense.
    #[error("libvirt describes a guest in a way that cannot be read: {0}")]
    Unreadable(#[from] quick_xml::DeError),
    /// The asker's spec makes no sense.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A file beside libvirt's own.
    #[error("{what}: {source}")]
    File {
        /// Which one.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No such guest.
    #[error("there is no such guest")]
    NoGuest,
    /// A guest of somebody else's.
    #[error("this guest was not made by this driver, and is left alone")]
    Foreign,
    /// It has to stop first.
    #[error("the guest runs with other devices; stop it before it is defined anew")]
    Runs,
}

impl Fault {
    /// Whether the connection, and not the operation, is at fault.
    pub(crate) fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Libvirt(error) if matches!(error.domain(), ErrorDomain::Rpc))
    }

    /// Whether a guest is in another state than the call needs.
    pub(crate) fn is_wrong_state(&self) -> bool {
        matches!(self, Self::Libvirt(error) if matches!(error.code(), ErrorNumber::OperationInvalid))
    }

    /// What the asker is told.
    pub(crate) fn into_driver_error(self, guest: Uuid) -> DriverError {
        match self {
            Self::NoGuest => DriverError::NoGuest(guest),
            other => DriverError::Failed(other.to_string()),
        }
    }
}

/// Whether libvirt knows no such guest.
pub(crate) fn is_no_domain(error: &Error) -> bool {
    matches!(error.code(), ErrorNumber::NoDomain)
}

/// For `map_err`: an error of a file, by the file's part in the work.
pub(crate) fn in_file(what: &'static str) -> impl FnOnce(io::Error) -> Fault {
    move |source| Fault::File { what, source }
}
