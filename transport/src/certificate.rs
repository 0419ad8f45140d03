//! Certificates, and the identity that one names.
//!
//! A node's id and roles stand as URIs in the subject's alternative names: `updraft:node:NAME` once and
//! `updraft:role:ROLE` for each role. Reading an identity does not verify anything: that is `tls`'s work.

use std::{collections::BTreeSet, fmt, sync::Arc};

use ring::digest;
use rustls::pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::{
    id::{InvalidNodeId, NodeId, PeerIdentity, Role},
    key::PublicKey,
};

/// In front of the node's id in a certificate.
pub(crate) const NODE_URI: &str = "updraft:node:";
/// In front of each role in a certificate.
pub(crate) const ROLE_URI: &str = "updraft:role:";
/// Roles in one certificate: far more than any node has.
pub(crate) const ROLES_MAX: usize = 32;
/// Longest role, in bytes.
const ROLE_MAX_BYTES: usize = 63;
/// The PEM label of a certificate.
const PEM_TAG: &str = "CERTIFICATE";

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The text is no PEM.
    #[error("the certificate file is not PEM")]
    Pem(#[source] pem::PemError),
    /// The PEM holds something else.
    #[error("the certificate file holds a {0:?}")]
    OtherContent(String),
    /// The bytes are no X.509 certificate.
    #[error("the certificate is not X.509: {0}")]
    Malformed(String),
    /// The certificate names no node, or several.
    #[error("the certificate names {0} nodes where it has to name one")]
    NodeCount(usize),
    /// The name in it cannot name a node.
    #[error("the certificate names what is no node")]
    BadNode(#[source] InvalidNodeId),
    /// A role in it is malformed.
    #[error("{0:?} is not a role: 1 to 63 of a-z 0-9 - _")]
    BadRole(String),
    /// It has more roles than allowed.
    #[error("the certificate names {0} roles, and {ROLES_MAX} are allowed")]
    RoleCount(usize),
}

/// An X.509 certificate, of a node or of the cloud's CA.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Wraps DER after checking that it is a certificate.
    pub fn from_der(der: Vec<u8>) -> Result<Self, CertificateError> {
        let certificate = Self { der: der.into() };
        parse(&certificate.der)?;
        Ok(certificate)
    }

    /// Reads a PEM file's content.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        Self::from_part(pem::parse(text).map_err(CertificateError::Pem)?)
    }

    /// Reads a PEM file that holds several, one after the other.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, CertificateError> {
        let parts = pem::parse_many(text).map_err(CertificateError::Pem)?;
        parts.into_iter().map(Self::from_part).collect()
    }

    fn from_part(part: pem::Pem) -> Result<Self, CertificateError> {
        if part.tag() != PEM_TAG {
            return Err(CertificateError::OtherContent(part.tag().to_owned()));
        }
        Self::from_der(part.into_contents())
    }

    /// A PEM file's content.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(&pem::Pem::new(PEM_TAG, self.der.to_vec()))
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &self.der).as_ref());
        fingerprint
    }

    /// The Ed25519 key that it belongs to.
    pub fn public_key(&self) -> Result<PublicKey, CertificateError> {
        public_key_of(&self.der)
    }

    /// The node and roles that it names.
    pub fn identity(&self) -> Result<PeerIdentity, CertificateError> {
        identity_of(&self.der)
    }

    /// The first second, since 1970-01-01 UTC, at which it is no longer valid.
    pub fn valid_until_unix_secs(&self) -> Result<u64, CertificateError> {
        valid_until_of(&self.der)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.identity() {
            Ok(identity) => write!(f, "Certificate({identity:?})"),
            Err(_) => write!(f, "Certificate({} bytes)", self.der.len()),
        }
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateError::Malformed("bytes after its end".to_owned())),
        Err(error) => Err(CertificateError::Malformed(error.to_string())),
    }
}

/// The node and roles that a certificate names.
pub(crate) fn identity_of(der: &[u8]) -> Result<PeerIdentity, CertificateError> {
    let certificate = parse(der)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| CertificateError::Malformed(error.to_string()))?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let nodes: Vec<&str> = uris.iter().filter_map(|uri| uri.strip_prefix(NODE_URI)).collect();
    let [node] = nodes[..] else { return Err(CertificateError::NodeCount(nodes.len())) };
    let node = NodeId::new(node).map_err(CertificateError::BadNode)?;
    let roles: Vec<&str> = uris.iter().filter_map(|uri| uri.strip_prefix(ROLE_URI)).collect();
    if roles.len() > ROLES_MAX {
        return Err(CertificateError::RoleCount(roles.len()));
    }
    let roles = roles.into_iter().map(check_role).collect::<Result<BTreeSet<_>, _>>()?;
    Ok(PeerIdentity { node, roles: Arc::new(roles) })
}

/// The Ed25519 key that a certificate belongs to.
pub(crate) fn public_key_of(der: &[u8]) -> Result<PublicKey, CertificateError> {
    let parsed = parse(der)?;
    let key = <[u8; 32]>::try_from(&*parsed.public_key().subject_public_key.data);
    key.map(PublicKey).map_err(|_| CertificateError::Malformed("no Ed25519 key".to_owned()))
}

/// The first second, since 1970-01-01 UTC, at which a certificate is no longer valid.
pub(crate) fn valid_until_of(der: &[u8]) -> Result<u64, CertificateError> {
    let not_after = parse(der)?.validity().not_after.timestamp();
    Ok(u64::try_from(not_after).unwrap_or(0).saturating_add(1))
}

/// A role that may stand in a certificate.
pub(crate) fn check_role(name: &str) -> Result<Role, CertificateError> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if !name.is_empty() && name.len() <= ROLE_MAX_BYTES && name.bytes().all(legal) {
        Ok(Role::new(name))
    } else {
        Err(CertificateError::BadRole(name.chars().take(ROLE_MAX_BYTES).collect()))
    }
}
