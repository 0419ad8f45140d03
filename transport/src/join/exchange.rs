//! What an applicant and a control node say to one another, as bytes.

use std::{fmt, net::SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Admitted, Applicant, Denial, Entrusted, JoinToken, Secret};
use crate::{
    certificate::Certificate,
    id::{Incarnation, NodeId},
    key::{NodeKey, PublicKey},
};

/// What a joining node signs, before the value that binds it to its connection.
const PROOF_LABEL: &[u8] = b"updraft join proof 1";
/// Bytes of that value.
pub const BINDING_BYTES: usize = 32;

/// Bytes that are no part of a join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of a join makes no sense")]
pub struct Nonsense(#[source] postcard::Error);

/// What an applicant sends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    pub(super) secret: Secret,
    pub(super) node: NodeId,
    pub(super) key: PublicKey,
    pub(super) proof: Vec<u8>,
}

impl Application {
    /// An application over the connection with this binding value.
    #[must_use]
    pub fn new(
        token: &JoinToken,
        node: NodeId,
        key: &NodeKey,
        binding: &[u8; BINDING_BYTES],
    ) -> Self {
        let proof = key.sign(&proof_of(binding));
        Self { secret: token.secret.clone(), node, key: key.public(), proof }
    }

    /// The applicant, if it holds its key and speaks over this connection itself.
    #[must_use]
    pub fn verify(&self, binding: &[u8; BINDING_BYTES], address: SocketAddr) -> Option<Applicant> {
        self.key.verifies(&proof_of(binding), &self.proof).then(|| Applicant {
            node: self.node.clone(),
            key: self.key,
            secret: self.secret.digest(),
            address,
        })
    }

    /// The application as bytes. Secret: it goes to the control node and nowhere else.
    ///
    /// # Errors
    ///
    /// [`Nonsense`] if it cannot be written, which no application leads to.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, Nonsense> {
        postcard::to_stdvec(self).map(Zeroizing::new).map_err(Nonsense)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    ///
    /// [`Nonsense`] if it did not. The caller limits the length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Nonsense> {
        postcard::from_bytes(bytes).map_err(Nonsense)
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("node", &self.node).finish_non_exhaustive()
    }
}

fn proof_of(binding: &[u8; BINDING_BYTES]) -> Vec<u8> {
    [PROOF_LABEL, binding].concat()
}

/// What an applicant is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is a node now.
    Admitted {
        /// Its certificate, in DER.
        certificate: Bytes,
        /// The certificates of the CAs that it shall believe, in DER.
        authorities: Vec<Bytes>,
        /// Behind which incarnation it counts its starts.
        former: Incarnation,
        /// What it is entrusted with.
        entrusted: Entrusted,
    },
    /// Why not.
    Refused(String),
}

impl Answer {
    /// The answer as bytes. Secret, as far as it entrusts anything.
    ///
    /// # Errors
    ///
    /// [`Nonsense`] if it cannot be written, which no answer leads to.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, Nonsense> {
        postcard::to_stdvec(self).map(Zeroizing::new).map_err(Nonsense)
    }

    /// Reads what [`Self::encode`] wrote. Whether its certificates are any is not looked at.
    ///
    /// # Errors
    ///
    /// [`Nonsense`] if it did not. The caller limits the length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Nonsense> {
        postcard::from_bytes(bytes).map_err(Nonsense)
    }
}

impl From<Result<Admitted, Denial>> for Answer {
    fn from(verdict: Result<Admitted, Denial>) -> Self {
        let der = |certificate: &Certificate| Bytes::copy_from_slice(certificate.der());
        match verdict {
            Ok(Admitted { certificate, authorities, former, entrusted }) => Self::Admitted {
                certificate: der(&certificate),
                authorities: authorities.iter().map(der).collect(),
                former,
                entrusted,
            },
            Err(denial) => Self::Refused(denial.words),
        }
    }
}
