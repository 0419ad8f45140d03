//! A snapshot: a copy of a volume's file as it was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    env::UnixMicros,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

use super::{BY_PROJECT, FileState};

/// Index of snapshots by volume.
pub(crate) const BY_VOLUME: &str = "volume";

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRow {
    pub(crate) id: Uuid,
    pub(crate) volume: Uuid,
    pub(crate) project: String,
    pub(crate) user: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Whether a server can boot from what is made from it.
    pub(crate) bootable: bool,
    pub(crate) file: FileState,
    /// What an administrator has set the status to.
    pub(crate) reset: Option<SnapshotStatus>,
    pub(crate) created_at: UnixMicros,
    pub(crate) updated_at: Option<UnixMicros>,
}

/// The status of a snapshot, as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SnapshotStatus {
    Creating,
    Available,
    Deleting,
    Error,
    ErrorDeleting,
}

impl SnapshotStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Available => "available",
            Self::Deleting => "deleting",
            Self::Error => "error",
            Self::ErrorDeleting => "error_deleting",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Creating, Self::Available, Self::Deleting, Self::Error, Self::ErrorDeleting]
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
    }
}

impl SnapshotRow {
    /// What users see.
    pub(crate) fn status(&self) -> SnapshotStatus {
        if !self.file.present {
            return SnapshotStatus::Deleting;
        }
        self.reset.unwrap_or_else(|| self.natural_status())
    }

    /// The same without what an administrator has set.
    pub(crate) fn natural_status(&self) -> SnapshotStatus {
        if self.file.failure.is_some() {
            SnapshotStatus::Error
        } else if self.file.served == 0 {
            SnapshotStatus::Creating
        } else {
            SnapshotStatus::Available
        }
    }
}

impl Record for SnapshotRow {
    const TABLE: &'static str = "volume/snapshot";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let mut entries = self.file.indexes();
        entries.push(IndexEntry::many(BY_PROJECT, &self.project));
        entries.push(IndexEntry::many(BY_VOLUME, &self.volume));
        entries
    }
}
