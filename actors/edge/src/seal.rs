//! The seal of a placement: a control node's word that a server is on a host, at a generation.
//!
//! A host shows it to services that cannot see where servers are placed. Without it a host that has somebody's
//! token could have ports and volumes of servers that were never placed on it. The keys come from those of
//! tokens, which control nodes have and hosts do not, so a seal outlives as many rotations as a token.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use updraft_protocol::{compute::Seal, identity::FernetKeys};
use uuid::Uuid;

/// What a key of tokens is turned into a key of seals with: neither is of use for the other's work.
const PURPOSE: &[u8] = b"updraft: the seal of a placement, 1";

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement<'a> {
    /// The server.
    pub server: Uuid,
    /// The host.
    pub host: &'a str,
    /// The generation of what is wanted of it there.
    pub generation: u64,
}

/// Keys that seal placements.
#[derive(Clone, Default)]
pub(crate) struct SealKeys {
    /// Newest first.
    keys: Vec<Hmac<Sha256>>,
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKeys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl SealKeys {
    pub(crate) fn new(keys: &FernetKeys) -> Self {
        let keys = keys.0.values().rev().filter_map(|key| derived(key.reveal().as_bytes()));
        Self { keys: keys.collect() }
    }

    /// A seal by the newest key in use, the one that seals tokens; none without keys.
    pub(crate) fn seal(&self, placement: &Placement<'_>) -> Option<Seal> {
        let mac = over(self.keys.first()?, placement);
        Some(Seal(mac.finalize().into_bytes().to_vec().into()))
    }

    /// Whether any of the keys made the seal. All are tried, each in constant time, as for tokens.
    pub(crate) fn fits(&self, placement: &Placement<'_>, seal: &Seal) -> bool {
        self.keys.iter().fold(false, |fits, key| {
            let same = over(key, placement).verify_slice(&seal.0).is_ok();
            fits | same
        })
    }
}

fn derived(key: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(PURPOSE);
    Hmac::new_from_slice(&mac.finalize().into_bytes()).ok()
}

/// Fields of a fixed length first, so that no two placements are the same bytes.
fn over(key: &Hmac<Sha256>, placement: &Placement<'_>) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(placement.server.as_bytes());
    mac.update(&placement.generation.to_be_bytes());
    mac.update(placement.host.as_bytes());
    mac
}
