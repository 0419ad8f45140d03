//! How a new machine becomes a node: a one-time token for a certificate.
//!
//! Owns the token and what the two sides say to one another. The new node trusts nobody yet, so the token
//! pins the cloud's CA and names the control node to talk to; the control node does not know the new one,
//! so the token carries a secret that is good once. `quic::join` carries the exchange; whether a secret is
//! good, and which roles it gives, is the [`Admission`]'s to decide.

use std::{fmt, future::Future, net::SocketAddr, pin::Pin, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    certificate::Certificate,
    id::{Incarnation, NodeId},
    key::PublicKey,
};

mod exchange;

pub use exchange::{Answer, Application, BINDING_BYTES, Nonsense};

/// In front of every token, so that people and leak scanners recognise one.
const PREFIX: &str = "updraft-join-";
/// The role of the nodes that give certificates. No other is shown a secret.
pub const CONTROL_ROLE: &str = "control";
/// Bytes of the secret: it cannot be guessed in the life of a universe.
pub const SECRET_BYTES: usize = 16;
/// Bytes of the checksum behind the token's content: finds slips in copying.
const CHECKSUM_BYTES: usize = 4;
/// Longest token as text; an honest one is below 250 characters.
const TEXT_MAX_BYTES: usize = 512;

/// Why a text is no token, or a token is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text does not start like a token.
    #[error("a join token starts with {PREFIX:?}")]
    Prefix,
    /// Characters are missing or wrong.
    #[error("the join token is damaged: it was not copied whole")]
    Damaged,
    /// The token's time has passed.
    #[error("the join token has expired")]
    Expired,
}

/// Lets one machine join, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    secret: Secret,
    /// The SHA-256 of the cloud's CA certificate.
    pub authority: [u8; 32],
    /// The control node that gives the certificate.
    pub control: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
    /// The first second, since 1970-01-01 UTC, at which the token is no longer good.
    pub expires_unix_secs: u64,
    /// Whether it makes a control node of the machine, so that somebody who holds the wrong token is told before it is
    /// used up. What it gives is decided by the control node, whatever stands here.
    pub for_control: bool,
}

/// Bytes that are wiped and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Secret([u8; SECRET_BYTES]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl JoinToken {
    /// A token with this secret, which has to be fresh entropy.
    #[must_use]
    pub fn new(
        secret: [u8; SECRET_BYTES],
        authority: &Certificate,
        control: NodeId,
        address: SocketAddr,
        expires_unix_secs: u64,
    ) -> Self {
        let authority = authority.fingerprint();
        let for_control = false;
        Self { secret: Secret(secret), authority, control, address, expires_unix_secs, for_control }
    }

    /// The same for a machine that becomes a control node.
    #[must_use]
    pub fn for_control(mut self) -> Self {
        self.for_control = true;
        self
    }

    /// What the control node keeps of the token: it recognises the secret and does not reveal it.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        self.secret.digest()
    }

    /// The token as one line. Secret: it is shown to one person, once.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // Serialising into a vector cannot fail.
        let mut content = Zeroizing::new(postcard::to_stdvec(self).unwrap_or_default());
        let checksum = checksum(&content);
        content.extend_from_slice(&checksum);
        Zeroizing::new(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(&*content)))
    }

    /// Refuses a token whose time has passed.
    pub fn check(&self, now_unix_secs: u64) -> Result<(), TokenError> {
        if now_unix_secs < self.expires_unix_secs { Ok(()) } else { Err(TokenError::Expired) }
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        if encoded.len() > TEXT_MAX_BYTES {
            return Err(TokenError::Damaged);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Damaged)?;
        let bytes = Zeroizing::new(bytes);
        let (content, found) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TokenError::Damaged)?;
        if checksum(content) != *found {
            return Err(TokenError::Damaged);
        }
        postcard::from_bytes(content).map_err(|_| TokenError::Damaged)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("control", &self.control)
            .field("address", &self.address)
            .field("expires_unix_secs", &self.expires_unix_secs)
            .field("for_control", &self.for_control)
            .finish_non_exhaustive()
    }
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = [0; CHECKSUM_BYTES];
    let whole = digest::digest(&digest::SHA256, content);
    checksum.copy_from_slice(&whole.as_ref()[..CHECKSUM_BYTES]);
    checksum
}

impl Secret {
    fn digest(&self) -> SecretDigest {
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        SecretDigest(digest)
    }
}

/// The SHA-256 of a token's secret. Safe to store: nobody can join with it.
#[derive(Clone, Copy, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretDigest(pub [u8; 32]);

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretDigest {}

/// A machine that asks to join. It has proven that it holds the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// The id it wants to have.
    pub node: NodeId,
    /// Its key.
    pub key: PublicKey,
    /// The digest of the secret that it has shown.
    pub secret: SecretDigest,
    /// Where it calls from.
    pub address: SocketAddr,
}

/// What a machine is entrusted with beside its certificate, in bytes that mean nothing to this crate. They are wiped
/// and never shown; nothing is entrusted to most.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entrusted(Vec<u8>);

impl Entrusted {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, which are a secret.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Entrusted {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Entrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entrusted({} bytes)", self.0.len())
    }
}

/// What a machine that was admitted receives.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Its certificate.
    pub certificate: Certificate,
    /// The CAs that nodes of this cloud believe.
    pub authorities: Vec<Certificate>,
    /// Behind which incarnation the machine counts its starts. Others remember what they have heard of a name: where
    /// another key had it before, this is above all of that one's starts, and zero otherwise.
    pub former: Incarnation,
    /// What it is entrusted with.
    pub entrusted: Entrusted,
}

/// What an applicant is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nobody knows its token.
    TokenUnknown,
    /// Its token was used.
    TokenUsed,
    /// Its token's time has passed.
    TokenExpired,
    /// Anything else, such as a name that another node has.
    Other,
}

/// Why an applicant does not become a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The kind of reason, for the counts.
    pub why: Denied,
    /// The reason in words that the applicant is told.
    pub words: String,
}

/// The outcome for an applicant: admitted, or why not.
pub type Verdict = Pin<Box<dyn Future<Output = Result<Admitted, Denial>> + Send>>;

/// Decides who may join. It has to use up the secret durably before it admits.
pub trait Admission: Send + Sync {
    /// The verdict about this applicant.
    fn judge(&self, applicant: Applicant) -> Verdict;
}

#[cfg(test)]
mod tests;
