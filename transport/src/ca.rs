//! The cloud's certificate authority.
//!
//! Owns the CA's key while it is in memory, and decides what a certificate may say. It never reads a
//! clock and draws no entropy: the caller says when a certificate is valid, and the same call makes
//! the same certificate.

use std::{fmt, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::digest;
use time::OffsetDateTime;

use crate::{
    certificate::{Certificate, CertificateError, NODE_URI, ROLE_URI, ROLES_MAX, check_role},
    id::PeerIdentity,
    key::{KeyError, NodeKey, PublicKey},
};

/// How far back a certificate's validity reaches, for nodes whose clocks lag behind the CA's.
const CLOCK_LAG: Duration = Duration::from_secs(300);
/// Bytes of a serial number: RFC 5280 allows 20, collisions need far fewer.
const SERIAL_BYTES: usize = 16;

/// Why the CA could not be set up, or did not issue.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate, or what one should say, cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The times cannot stand in a certificate.
    #[error("{0} seconds since 1970 cannot stand in a certificate")]
    Time(u64),
    /// The certificate could not be made.
    #[error("the certificate could not be made")]
    Make(#[source] rcgen::Error),
    /// The key is not the one the CA's certificate names.
    #[error("the CA's key does not belong to its certificate")]
    KeyMismatch,
}

/// When a certificate is valid, in seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from_unix_secs: u64,
    /// The last second.
    pub until_unix_secs: u64,
}

impl Validity {
    /// From now, less what a peer's clock may lag, for as long as given.
    #[must_use]
    pub fn starting(now_unix_secs: u64, lasting: Duration) -> Self {
        Self {
            from_unix_secs: now_unix_secs.saturating_sub(CLOCK_LAG.as_secs()),
            until_unix_secs: now_unix_secs.saturating_add(lasting.as_secs()),
        }
    }
}

/// The CA: its certificate and its key.
pub struct CloudCa {
    certificate: Certificate,
    issuer: Issuer<'static, NodeKey>,
}

impl CloudCa {
    /// A new CA for the named cloud.
    pub fn create(cloud: &str, key: NodeKey, validity: Validity) -> Result<Self, CaError> {
        let params = ca_params(cloud, &key, validity)?;
        let made = params.self_signed(&key).map_err(CaError::Make)?;
        let certificate = Certificate::from_der(made.der().to_vec())?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The CA whose files these are.
    pub fn load(certificate: Certificate, key: NodeKey) -> Result<Self, CaError> {
        if certificate.public_key()? != key.public() {
            return Err(CaError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(certificate.der(), key).map_err(CaError::Make)?;
        Ok(Self { certificate, issuer })
    }

    /// What nodes trust.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The CA's key, to be written to its file.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        self.issuer.key()
    }

    /// A certificate that lets the key's owner be this node with these roles.
    pub fn issue(
        &self,
        identity: &PeerIdentity,
        key: &PublicKey,
        validity: Validity,
    ) -> Result<Certificate, CaError> {
        let params = node_params(identity, key, validity)?;
        let made = params.signed_by(key, &self.issuer).map_err(CaError::Make)?;
        Ok(Certificate::from_der(made.der().to_vec())?)
    }
}

impl fmt::Debug for CloudCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudCa").field("key", self.key()).finish_non_exhaustive()
    }
}

fn ca_params(cloud: &str, key: &NodeKey, validity: Validity) -> Result<CertificateParams, CaError> {
    // The key stands in the name, so that a certificate of another CA of the same cloud name is told
    // apart by its issuer instead of by a signature that does not fit.
    let [a, b, c, d, ..] = key.public().0;
    let name = format!("Updraft CA of {cloud}, key {a:02x}{b:02x}{c:02x}{d:02x}");
    let mut params = params_of(&name, validity)?;
    params.serial_number = Some(serial(&[cloud.as_bytes(), &key.public().0], validity));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn node_params(
    identity: &PeerIdentity,
    key: &PublicKey,
    validity: Validity,
) -> Result<CertificateParams, CaError> {
    if identity.roles.len() > ROLES_MAX {
        return Err(CertificateError::RoleCount(identity.roles.len()).into());
    }
    let node = identity.node.as_str();
    let mut params = params_of(node, validity)?;
    params.subject_alt_names.push(uri(format!("{NODE_URI}{node}"))?);
    for role in identity.roles.iter() {
        check_role(&role.0)?;
        params.subject_alt_names.push(uri(format!("{ROLE_URI}{}", role.0))?);
    }
    params.serial_number = Some(serial(&[node.as_bytes(), &key.0], validity));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params_of(common_name: &str, validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date(validity.from_unix_secs)?;
    params.not_after = date(validity.until_unix_secs)?;
    Ok(params)
}

fn date(unix_secs: u64) -> Result<OffsetDateTime, CaError> {
    i64::try_from(unix_secs)
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .ok_or(CaError::Time(unix_secs))
}

fn uri(text: String) -> Result<SanType, CaError> {
    text.try_into().map(SanType::URI).map_err(CaError::Make)
}

/// A serial number that differs wherever two certificates do, without drawing entropy.
fn serial(of: &[&[u8]], validity: Validity) -> SerialNumber {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in of {
        context.update(part);
    }
    context.update(&validity.from_unix_secs.to_be_bytes());
    context.update(&validity.until_unix_secs.to_be_bytes());
    let mut serial = [0; SERIAL_BYTES];
    serial.copy_from_slice(&context.finish().as_ref()[..SERIAL_BYTES]);
    // RFC 5280 wants a positive number.
    serial[0] &= 0x7f;
    SerialNumber::from_slice(&serial)
}
