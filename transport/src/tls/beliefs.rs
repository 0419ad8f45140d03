//! Whose certificates are believed beside what the CA says of them.
//!
//! Owns the set of revoked keys of one link, and is asked at each handshake; counts what the handshake refuses.
//! The set names public keys and not certificates: a key that was stolen stays stolen when its certificate is
//! renewed.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::RwLock;
use rustls::{CertificateError, Error};

use crate::{
    certificate,
    counts::{Refused, Tally},
    key::PublicKey,
    planted::{Bug, is_planted},
};

/// One link's beliefs; clones are handles on the same ones.
#[derive(Clone)]
pub(crate) struct Beliefs {
    revoked: Arc<RwLock<BTreeSet<PublicKey>>>,
    tally: Arc<Tally>,
}

impl Beliefs {
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { revoked: Arc::default(), tally }
    }

    /// Revokes these keys and no others.
    pub(crate) fn revoke(&self, keys: &BTreeSet<PublicKey>) {
        *self.revoked.write() = keys.clone();
    }

    pub(crate) fn has_revoked(&self, key: &PublicKey) -> bool {
        self.revoked.read().contains(key) && !is_planted(Bug::RevokedNodeHeard)
    }

    /// Refuses a certificate that names no node, or whose key is revoked.
    pub(super) fn check(&self, certificate: &[u8]) -> Result<(), Error> {
        super::verify::names_a_node(certificate)?;
        let key = certificate::public_key_of(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.has_revoked(&key) { Err(CertificateError::Revoked.into()) } else { Ok(()) }
    }

    /// Counts a verification that failed.
    pub(super) fn counted<T>(&self, verified: Result<T, Error>) -> Result<T, Error> {
        verified.inspect_err(|error| self.tally.refused(reason(error)))
    }
}

/// What a certificate is refused for.
fn reason(error: &Error) -> Refused {
    let Error::InvalidCertificate(error) = error else { return Refused::BadCertificate };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refused::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Refused::NotYetValid
        }
        CertificateError::Revoked => Refused::Revoked,
        CertificateError::UnknownIssuer => Refused::OtherAuthority,
        _ => Refused::BadCertificate,
    }
}
