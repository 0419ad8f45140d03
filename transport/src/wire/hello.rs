//! The hello: the first bytes each side sends on a new connection.
//!
//! Its layout never changes, because it is read before a version is agreed: `u32` big-endian
//! length, the magic, the lowest and highest wire version as `u16` big-endian, then the sender's node
//! id and incarnation in postcard. Bytes after those are ignored, so that a later release may add.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LENGTH_BYTES, WireError};
use crate::id::{Incarnation, NodeId};

/// How every hello starts.
const MAGIC: [u8; 8] = *b"UPDRAFT\0";
/// Bytes of the two versions.
const VERSIONS_BYTES: usize = 4;
/// Longest hello: today's is below 100 bytes, the rest is room for later releases.
const HELLO_MAX_BYTES: usize = 1024;

/// A version of the frame format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireVersion(pub u16);

impl WireVersion {
    /// The first.
    pub const ONE: Self = Self(1);
    /// Its headers carry trace flags.
    pub const TWO: Self = Self(2);
    /// Large bodies have streams of their own; frames are as in version 2.
    pub const THREE: Self = Self(3);
    /// The latest that this release knows.
    pub const NEWEST: Self = Self::THREE;
}

/// The versions a node speaks: all from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireVersions {
    /// The oldest.
    pub min: WireVersion,
    /// The newest.
    pub max: WireVersion,
}

impl WireVersions {
    /// What this release speaks: the latest, and those before, so that a cloud is upgraded node by node.
    pub const SUPPORTED: Self = Self { min: WireVersion::ONE, max: WireVersion::NEWEST };

    /// The highest version that both sides speak.
    pub fn agree(self, theirs: Self) -> Result<WireVersion, WireError> {
        let highest = self.max.min(theirs.max);
        if highest >= self.min && highest >= theirs.min {
            Ok(highest)
        } else {
            Err(WireError::NoCommonVersion { ours: self, theirs })
        }
    }
}

impl fmt::Display for WireVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min.0, self.max.0)
    }
}

/// What a node says of itself when a connection opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The wire versions it speaks.
    pub versions: WireVersions,
    /// Its id; has to be the one its certificate names.
    pub node: NodeId,
    /// How often it has started.
    pub incarnation: Incarnation,
}

/// The part of a hello that is in postcard.
#[derive(Serialize, Deserialize)]
struct Fields {
    node: NodeId,
    incarnation: Incarnation,
}

impl Hello {
    /// The hello as bytes, its length in front.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = vec![0; LENGTH_BYTES];
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.versions.min.0.to_be_bytes());
        out.extend_from_slice(&self.versions.max.0.to_be_bytes());
        let fields = Fields { node: self.node.clone(), incarnation: self.incarnation };
        let mut out = postcard::to_extend(&fields, out).map_err(WireError::Hello)?;
        let length = u32::try_from(out.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
        out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(out)
    }

    /// How many bytes follow the length of a hello, if that many are allowed.
    pub fn length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, WireError> {
        let length = u32::from_be_bytes(prefix) as usize;
        if (MAGIC.len() + VERSIONS_BYTES..=HELLO_MAX_BYTES).contains(&length) {
            Ok(length)
        } else {
            Err(WireError::HelloLength(length))
        }
    }

    /// Reads what follows the length.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let rest = payload.strip_prefix(&MAGIC).ok_or(WireError::NotAHello)?;
        let (versions, rest) =
            rest.split_first_chunk::<VERSIONS_BYTES>().ok_or(WireError::NotAHello)?;
        let [min_high, min_low, max_high, max_low] = *versions;
        let versions = WireVersions {
            min: WireVersion(u16::from_be_bytes([min_high, min_low])),
            max: WireVersion(u16::from_be_bytes([max_high, max_low])),
        };
        let (fields, _later) =
            postcard::take_from_bytes::<Fields>(rest).map_err(WireError::Hello)?;
        Ok(Self { versions, node: fields.node, incarnation: fields.incarnation })
    }
}
