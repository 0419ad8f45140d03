//! A key pair of a user; the private half is never kept.

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record},
};

/// A key pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPairRow {
    /// Whose it is.
    pub user_id: String,
    /// Its name, unique for the user.
    pub name: String,
    /// The public key, as OpenSSH writes it.
    pub public_key: String,
    /// MD5 of the public key's bytes, as pairs of digits with colons.
    pub fingerprint: String,
    /// When it was made.
    pub created: UnixMicros,
}

impl KeyPairRow {
    /// The key of a user's key pair of this name.
    #[must_use]
    pub fn key_of(user_id: &str, name: &str) -> String {
        format!("{user_id}:{name}")
    }
}

impl Record for KeyPairRow {
    const TABLE: &'static str = "compute/keypair";
    fn key(&self) -> String {
        Self::key_of(&self.user_id, &self.name)
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::many("user", &self.user_id)]
    }
}
