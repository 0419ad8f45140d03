//! The keys of tokens.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::{FernetKeys, Rotated};
use updraft_runtime::{
    env::UnixMicros,
    store::{Record, StoreError, Txn},
};

use super::Row;
use crate::ledger::Touched;

/// All keys; there is one such row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeysRow {
    /// By number: 0 is staged, the highest is the primary.
    pub(crate) keys: FernetKeys,
    /// When the staged key and the primary took their places.
    pub(crate) rotated_at: UnixMicros,
    /// When each key that is neither ceased to be the primary.
    pub(crate) retired_at: BTreeMap<u32, UnixMicros>,
}

impl KeysRow {
    pub(crate) const KEY: &'static str = "fernet";

    /// What whoever asked for a rotation is told.
    pub(crate) fn rotated(&self) -> Rotated {
        let primary = self.keys.0.keys().last().copied().unwrap_or_default();
        Rotated { primary, keys: self.keys.0.len() }
    }
}

impl Record for KeysRow {
    const TABLE: &'static str = "identity/keys";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

impl Row for KeysRow {
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::from([Touched::Keys]))
    }
}
