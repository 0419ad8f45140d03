//! TLS while a node joins: the control node shows its CA too, and the new node checks it by fingerprint.

use std::{fmt, sync::Arc};

use ring::digest;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::verify_tls13_signature,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};

use super::{Crypto, TlsError, provider::ALGORITHMS, verify};
use crate::{
    certificate,
    join::{CONTROL_ROLE, JoinToken},
};

/// What a node without a certificate speaks. Its number grows with every change to a token or to what is said in a join,
/// so that two programs that would misread one another do not come to show a token.
pub(crate) const ALPN_JOIN: &[u8] = b"updraft-join/2";

/// How a machine dials that wants to join.
pub(crate) fn client_config(crypto: &Crypto, token: &JoinToken) -> Result<ClientConfig, TlsError> {
    let verifier = PinnedVerifier { token: token.clone() };
    let mut config = ClientConfig::builder_with_details(crypto.provider(), crypto.time_provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// Accepts the one control node that the token names, under the one CA that it pins, and as nothing but a control node.
struct PinnedVerifier {
    token: JoinToken,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = |der: &&CertificateDer<'_>| {
            digest::digest(&digest::SHA256, der).as_ref() == self.token.authority
        };
        let authority = intermediates.iter().find(pinned).ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        verify::chain(end_entity, &[], &roots, now)?;
        let shown = certificate::identity_of(end_entity).ok();
        let named = shown.filter(|identity| identity.node == self.token.control);
        let named = named.ok_or(CertificateError::NotValidForName)?;
        // A host can have the name of a control node that was removed: its key is not to see a secret.
        if !named.has_role(CONTROL_ROLE) {
            return Err(CertificateError::InvalidPurpose.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

impl fmt::Debug for PinnedVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedVerifier({:?})", self.token)
    }
}

/// Shows the CA beside the node's certificate to whoever wants to join, and to nobody else.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) node: Arc<CertifiedKey>,
    pub(super) with_authority: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let joins = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == ALPN_JOIN));
        Some(Arc::clone(if joins { &self.with_authority } else { &self.node }))
    }
}
