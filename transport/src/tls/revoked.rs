//! Whose certificates are no longer believed, however long they are still valid.
//!
//! Owns the set for one link, and is asked at each handshake. It names public keys and not certificates: a
//! key that was stolen stays stolen when its certificate is renewed.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::RwLock;
use rustls::{CertificateError, Error};

use crate::{certificate, key::PublicKey};

/// The set; clones are handles on the same one.
#[derive(Clone, Default)]
pub(crate) struct Revoked {
    keys: Arc<RwLock<BTreeSet<PublicKey>>>,
}

impl Revoked {
    /// Revokes these keys and no others.
    pub(crate) fn replace(&self, keys: &BTreeSet<PublicKey>) {
        *self.keys.write() = keys.clone();
    }

    pub(crate) fn has(&self, key: &PublicKey) -> bool {
        self.keys.read().contains(key)
    }

    /// Refuses a certificate whose key is revoked.
    pub(super) fn check(&self, certificate: &[u8]) -> Result<(), Error> {
        let key = certificate::public_key_of(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.has(&key) { Err(CertificateError::Revoked.into()) } else { Ok(()) }
    }
}
