//! Tokens that were revoked one by one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::AuditId;
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record, StoreError, Txn},
};

use super::Row;
use crate::ledger::Touched;

/// A token that was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevokedRow {
    pub(crate) audit_id: AuditId,
    /// Whose token it was.
    pub(crate) user_id: String,
    /// When the token was issued.
    pub(crate) issued_at: UnixMicros,
    /// When it was revoked.
    pub(crate) revoked_at: UnixMicros,
    /// From when on no token could pass that this row would stop.
    pub(crate) forget_at: UnixMicros,
}

impl RevokedRow {
    pub(crate) const BY_USER: &'static str = "user";
}

impl Record for RevokedRow {
    const TABLE: &'static str = "identity/revoked";

    fn key(&self) -> String {
        self.audit_id.to_string()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::many(Self::BY_USER, &self.user_id)]
    }
}

impl Row for RevokedRow {
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::from([Touched::AuditId(self.audit_id)]))
    }
}
