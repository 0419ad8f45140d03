//! Whose certificates are no longer believed, as this node knows it.
//!
//! Owns the newest set of their keys. Promises that a set never gives way to an older one, in whichever order they
//! arrive, and that who follows it is told of each newer one. On a control node, whoever keeps the members puts it
//! here; to every other node it comes with the answers to its beats, which control nodes alone give (see
//! [`crate::directory`]). It never refuses anybody itself: who puts a node together gives the keys to its link.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use updraft_transport::key::PublicKey;

/// The most keys in a set: four for each host of the largest cloud, in 32 KiB, which one answer to a beat carries.
pub const KEYS_MAX: usize = 1_024;

/// A set of keys whose certificates are no longer believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Grows with every key that is added, and is the same on every control node; 0 before the first. Who knows a
    /// version is not sent its keys again.
    pub version: u64,
    /// The keys.
    pub keys: BTreeSet<PublicKey>,
}

/// The newest set that a node knows; cheap to clone.
#[derive(Clone, Default)]
pub struct Revocations {
    newest: watch::Sender<Arc<Revoked>>,
}

impl Revocations {
    /// Takes a set in, if it is newer than the one known; says whether it was.
    ///
    /// One of more than [`KEYS_MAX`] keys is left out and logged.
    pub fn take(&self, revoked: Revoked) -> bool {
        if revoked.keys.len() > KEYS_MAX {
            let keys = revoked.keys.len();
            tracing::error!(keys, "a set of revoked keys is over the limit of {KEYS_MAX}");
            return false;
        }
        self.newest.send_if_modified(|known| {
            let newer = revoked.version > known.version;
            if newer {
                *known = Arc::new(revoked);
            }
            newer
        })
    }

    /// The newest set.
    #[must_use]
    pub fn newest(&self) -> Arc<Revoked> {
        self.newest.borrow().clone()
    }

    /// The newest set, unless this version of it or a later one is known already.
    #[must_use]
    pub fn newer_than(&self, version: u64) -> Option<Revoked> {
        let newest = self.newest();
        (newest.version > version).then(|| Revoked::clone(&newest))
    }

    /// Follows the newest set.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Revoked>> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(version: u64, keys: usize) -> Revoked {
        let key = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            PublicKey(bytes)
        };
        Revoked { version, keys: (0..keys).map(key).collect() }
    }

    #[test]
    fn an_older_set_says_nothing() {
        let revocations = Revocations::default();
        assert!(revocations.take(set(2, 2)));
        assert!(!revocations.take(set(1, 1)) && !revocations.take(set(2, 3)));
        assert_eq!(*revocations.newest(), set(2, 2));
    }

    #[test]
    fn who_knows_a_version_is_not_sent_it_again() {
        let revocations = Revocations::default();
        assert_eq!(revocations.newer_than(0), None);
        revocations.take(set(7, 1));
        assert_eq!(revocations.newer_than(6), Some(set(7, 1)));
        assert_eq!((revocations.newer_than(7), revocations.newer_than(8)), (None, None));
    }

    #[test]
    fn a_set_over_the_limit_is_left_out_and_the_largest_fits_into_an_answer() {
        let revocations = Revocations::default();
        assert!(!revocations.take(set(1, KEYS_MAX + 1)));
        assert!(revocations.take(set(1, KEYS_MAX)));
        let bytes = postcard::to_stdvec(&*revocations.newest()).unwrap();
        assert!(bytes.len() < 40 << 10, "{}", bytes.len());
    }
}
