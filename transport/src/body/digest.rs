//! What a body is known by.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::BodyError;

/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;
/// Bytes of a SHA-512.
const SHA512_BYTES: usize = 64;
/// What stands in front of a SHA-256.
const SHA256: u8 = 1;
/// What stands in front of a SHA-512.
const SHA512: u8 = 2;

/// The digest of a whole body: two bodies with the same one are the same body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub enum Digest {
    /// SHA-256.
    Sha256([u8; SHA256_BYTES]),
    /// SHA-512.
    Sha512([u8; SHA512_BYTES]),
}

impl Digest {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// The digest alone, as lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The SHA-256 or SHA-512 that these hexadecimal digits are, by their number; `None` if they are neither.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        if !digits.is_ascii() {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        let bytes = bytes.filter(|_| !digits.contains('+'))?;
        let sha256 = || bytes.as_slice().try_into().ok().map(Self::Sha256);
        let sha512 = || bytes.as_slice().try_into().ok().map(Self::Sha512);
        sha256().or_else(sha512)
    }

    /// Which it is in one byte, and the digest.
    pub(super) fn encode(&self) -> Vec<u8> {
        let which = match self {
            Self::Sha256(_) => SHA256,
            Self::Sha512(_) => SHA512,
        };
        [&[which], self.bytes()].concat()
    }

    /// Reads all of what [`encode`](Self::encode) made.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let decoded = match bytes.split_first() {
            Some((&SHA256, digest)) => digest.try_into().ok().map(Self::Sha256),
            Some((&SHA512, digest)) => digest.try_into().ok().map(Self::Sha512),
            _ => None,
        };
        decoded.ok_or(BodyError::Digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        };
        write!(f, "{name}:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for Bytes {
    fn from(digest: Digest) -> Self {
        digest.encode().into()
    }
}

impl TryFrom<Bytes> for Digest {
    type Error = BodyError;

    fn try_from(bytes: Bytes) -> Result<Self, BodyError> {
        Self::decode(&bytes)
    }
}
