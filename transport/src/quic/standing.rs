//! A connection that stands, as others than its keeper see it.

use std::sync::atomic::{AtomicBool, Ordering};

use quinn::Connection;

use super::{
    meet::Opened,
    words::{Close, REVOKED},
};
use crate::{key::PublicKey, wire::WireVersion};

/// Lets anybody end a connection whose peer is no longer believed.
pub(super) struct Standing {
    connection: Connection,
    /// The key of the certificate that opened it.
    key: PublicKey,
    version: WireVersion,
    struck: AtomicBool,
}

impl Standing {
    pub(super) fn of(opened: &Opened) -> Self {
        let connection = opened.connection.clone();
        let (key, version) = (opened.certified.key, opened.version);
        Self { connection, key, version, struck: AtomicBool::new(false) }
    }

    /// The wire version that it speaks.
    pub(super) fn version(&self) -> WireVersion {
        self.version
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Closes the connection because its certificate was revoked; whether it was not closed so before.
    pub(super) fn strike(&self) -> bool {
        let first = !self.struck.swap(true, Ordering::AcqRel);
        if first {
            self.connection.close(Close::Refused.code(), REVOKED.as_bytes());
        }
        first
    }

    /// Whether nothing more of the peer may be handed up.
    pub(super) fn is_struck(&self) -> bool {
        self.struck.load(Ordering::Acquire)
    }
}
