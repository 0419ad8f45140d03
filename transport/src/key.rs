//! Ed25519 keys of nodes and of the cloud's CA.
//!
//! Owns the private bytes: they are wiped when the last handle goes, and never shown by `Debug`.

use std::{fmt, sync::Arc};

use ring::{
    hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use zeroize::Zeroizing;

/// Bytes of an Ed25519 seed, and of a public key.
const KEY_BYTES: usize = 32;
/// The PEM label of an unencrypted PKCS#8 key.
const PEM_TAG: &str = "PRIVATE KEY";
/// PKCS#8 version 1 up to the seed (RFC 8410, section 7): everything before it is fixed.
const PKCS8_BEFORE_SEED: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A private key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no PEM.
    #[error("the key file is not PEM")]
    Pem(#[source] pem::PemError),
    /// The PEM holds something else.
    #[error("the key file holds a {0:?} and not a \"PRIVATE KEY\"")]
    OtherContent(String),
    /// The key is not an Ed25519 key in PKCS#8.
    #[error("the key is not an Ed25519 key in PKCS#8: {0}")]
    Rejected(ring::error::KeyRejected),
}

/// A private key; clones are handles on the same one.
#[derive(Clone)]
pub struct NodeKey(Arc<Secret>);

struct Secret {
    pair: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl NodeKey {
    /// The key that follows from 32 secret bytes of entropy, such as [`Host::seed`](crate::host::Host::seed) draws on a
    /// machine.
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        let mut pkcs8 = Zeroizing::new(Vec::with_capacity(PKCS8_BEFORE_SEED.len() + KEY_BYTES));
        pkcs8.extend_from_slice(&PKCS8_BEFORE_SEED);
        pkcs8.extend_from_slice(seed);
        Self::from_pkcs8(pkcs8)
    }

    /// Reads a PEM file's content.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let pem = pem::parse(text).map_err(KeyError::Pem)?;
        if pem.tag() != PEM_TAG {
            return Err(KeyError::OtherContent(pem.tag().to_owned()));
        }
        Self::from_pkcs8(Zeroizing::new(pem.into_contents()))
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).map_err(KeyError::Rejected)?;
        Ok(Self(Arc::new(Secret { pair, pkcs8 })))
    }

    /// A PEM file's content. Secret: write it with [`crate::files::write_private`].
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode(&pem::Pem::new(PEM_TAG, self.0.pkcs8.to_vec())))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut public = [0; KEY_BYTES];
        public.copy_from_slice(self.0.pair.public_key().as_ref());
        PublicKey(public)
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.pair.sign(message).as_ref().to_vec()
    }

    /// The key in PKCS#8, for rustls.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.0.pkcs8
    }

    /// A further secret of this node that stays the same over restarts, different for each label.
    pub(crate) fn derive(&self, label: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0.pkcs8), label)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl rcgen::PublicKeyData for NodeKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for NodeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::sign(self, message))
    }
}

/// The public half of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct PublicKey(pub [u8; KEY_BYTES]);

impl PublicKey {
    /// Whether the key's owner signed this message.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ed25519:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl rcgen::PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}
