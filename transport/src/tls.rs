//! Mutual TLS between nodes of one cloud.
//!
//! Owns what a node presents and whom it trusts, and the one suite that nodes speak: TLS 1.3 with
//! Ed25519 certificates, X25519 and AES-128-GCM. A peer is accepted only if its certificate chains to
//! the cloud's CA, is valid now, is not
//! revoked, is meant for the side it is on and names one node. There is no
//! resumption: each connection verifies the peer anew. All entropy and time come from the [`crate::host::Host`].

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
    version::TLS13,
};

use crate::{
    certificate::{Certificate, CertificateError},
    id::PeerIdentity,
    key::NodeKey,
};

mod beliefs;
pub(crate) mod join;
mod provider;
mod verify;

pub(crate) use beliefs::Beliefs;
pub(crate) use provider::Crypto;

/// What nodes speak to one another inside TLS.
pub const ALPN_NODE: &[u8] = b"updraft/1";

/// Credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate is malformed.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The key is not the one the certificate names.
    #[error("the node's key does not belong to its certificate")]
    KeyMismatch,
    /// There is no CA to trust.
    #[error("no CA certificate is given, so no peer could be trusted")]
    NoAuthority,
    /// TLS does not take the configuration.
    #[error("TLS does not take the node's credentials")]
    Config(#[from] rustls::Error),
    /// The CA's certificate does not let clients be verified.
    #[error("TLS does not take the CA's certificate")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// QUIC's initial suite is missing from the provider.
    #[error("the cipher suite that QUIC needs is missing")]
    Suite(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// What a node presents to its peers, and which CAs it believes.
#[derive(Clone)]
pub struct Credentials {
    certificate: Certificate,
    key: NodeKey,
    authorities: Vec<Certificate>,
    identity: PeerIdentity,
}

impl Credentials {
    /// A node's credentials. Several authorities are for the time in which a CA is replaced.
    pub fn new(
        certificate: Certificate,
        key: NodeKey,
        authorities: Vec<Certificate>,
    ) -> Result<Self, TlsError> {
        if certificate.public_key()? != key.public() {
            return Err(TlsError::KeyMismatch);
        }
        if authorities.is_empty() {
            return Err(TlsError::NoAuthority);
        }
        let identity = certificate.identity()?;
        Ok(Self { certificate, key, authorities, identity })
    }

    /// The node and roles that the certificate names.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// The node's certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The node's key.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// The CAs that the node believes.
    #[must_use]
    pub fn authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.der().clone())?;
        }
        Ok(roots)
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.pkcs8().to_vec()).into()
    }

    /// How this node dials.
    pub(crate) fn client_config(
        &self,
        crypto: &Crypto,
        beliefs: &Beliefs,
    ) -> Result<ClientConfig, TlsError> {
        let verifier = verify::ServerVerifier::new(self.roots()?, beliefs.clone());
        let mut config =
            ClientConfig::builder_with_details(crypto.provider(), crypto.time_provider())
                .with_protocol_versions(&[&TLS13])?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_client_auth_cert(vec![self.certificate.der().clone()], self.private_key())?;
        config.alpn_protocols = vec![ALPN_NODE.to_vec()];
        config.resumption = Resumption::disabled();
        // The certificate names the node; a server name would only tell onlookers.
        config.enable_sni = false;
        Ok(config)
    }

    /// How this node is dialled; by machines that want to join, too, if they may.
    pub(crate) fn server_config(
        &self,
        crypto: &Crypto,
        beliefs: &Beliefs,
        joins: bool,
    ) -> Result<ServerConfig, TlsError> {
        let (roots, beliefs) = (self.roots()?, beliefs.clone());
        let verifier = verify::ClientVerifier::new(roots, crypto.provider(), beliefs, joins)?;
        let leaf = vec![self.certificate.der().clone()];
        let authorities = self.authorities.iter().map(|authority| authority.der().clone());
        let with_authority = leaf.iter().cloned().chain(authorities).collect();
        let certified = |chain| {
            let key = self.private_key();
            CertifiedKey::from_der(chain, key, &crypto.provider()).map(Arc::new)
        };
        let resolver =
            join::Resolver { node: certified(leaf)?, with_authority: certified(with_authority)? };
        let mut config =
            ServerConfig::builder_with_details(crypto.provider(), crypto.time_provider())
                .with_protocol_versions(&[&TLS13])?
                .with_client_cert_verifier(Arc::new(verifier))
                .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![ALPN_NODE.to_vec()];
        if joins {
            config.alpn_protocols.push(join::ALPN_JOIN.to_vec());
        }
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("identity", &self.identity).finish_non_exhaustive()
    }
}
