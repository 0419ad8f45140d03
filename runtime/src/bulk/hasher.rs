//! The running digest of a body.

use sha2::{Digest as _, Sha256, Sha512};
use updraft_transport::body::Digest;

/// How a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256: fast where the processor helps, as most do.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// How this digest was made.
    #[must_use]
    pub fn of(digest: &Digest) -> Self {
        match digest {
            Digest::Sha256(_) => Self::Sha256,
            Digest::Sha512(_) => Self::Sha512,
        }
    }
}

/// Makes a digest of bytes as they come.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Of no bytes yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        })
    }

    /// The digest of bytes that are all there.
    #[must_use]
    pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(sha) => sha.update(bytes),
            State::Sha512(sha) => sha.update(bytes),
        }
    }

    /// The digest of all that came.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(sha) => Digest::Sha256(sha.finalize().into()),
            State::Sha512(sha) => Digest::Sha512((*sha).finalize().into()),
        }
    }
}
