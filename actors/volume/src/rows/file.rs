//! A file on some host: what is wanted of it, where, and what is known of it. Volumes and snapshots have one.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{Export, ExportWant, FileSource, FileWant, Room},
};
use updraft_runtime::{env::UnixMicros, store::IndexEntry};
use uuid::Uuid;

use super::{BY_COPIED, BY_PENDING};

/// A file, as the control nodes know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileState {
    /// Grows whenever what is wanted changes.
    pub(crate) generation: u64,
    /// Whether it shall be.
    pub(crate) present: bool,
    pub(crate) size_gib: u64,
    pub(crate) format: DiskFormat,
    pub(crate) source: FileSource,
    /// Where it is or will be. Never changes: a second copy is never made.
    pub(crate) host: Option<String>,
    /// The room that the hosts said they have, until one is chosen.
    pub(crate) rooms: BTreeMap<String, Room>,
    /// The generation that its host has met; 0 before the first.
    pub(crate) served: u64,
    /// Its size when that was met.
    pub(crate) served_gib: u64,
    pub(crate) path: Option<PathBuf>,
    /// Whom it shall be served to.
    #[serde(default)]
    pub(crate) export: Option<ExportWant>,
    /// Where it is served, once it is.
    #[serde(default)]
    pub(crate) exported: Option<Export>,
    /// Why it cannot be made.
    pub(crate) failure: Option<String>,
    /// When it was asked for, or its host last said that it works on it.
    pub(crate) heard_at: UnixMicros,
}

impl FileState {
    /// A file to be made.
    pub(crate) fn wanted(
        size_gib: u64,
        format: DiskFormat,
        source: FileSource,
        now: UnixMicros,
    ) -> Self {
        Self {
            generation: 1,
            present: true,
            size_gib,
            format,
            source,
            host: None,
            rooms: BTreeMap::new(),
            served: 0,
            served_gib: 0,
            path: None,
            export: None,
            exported: None,
            failure: None,
            heard_at: now,
        }
    }

    /// What its host is told.
    pub(crate) fn want(&self, id: Uuid) -> FileWant {
        FileWant {
            id,
            generation: self.generation,
            present: self.present,
            size_gib: self.size_gib,
            format: self.format,
            source: self.source.clone(),
            export: self.export.clone(),
        }
    }

    /// It shall be gone.
    pub(crate) fn unwant(&mut self) {
        if self.present {
            self.present = false;
            self.generation += 1;
            (self.export, self.exported) = (None, None);
        }
    }

    /// It shall be served to this one, and to no other; whom it was served to before can write no more once this generation
    /// is met.
    pub(crate) fn serve(&mut self, export: Option<ExportWant>) {
        if self.export != export {
            self.export = export;
            self.exported = None;
            self.generation += 1;
        }
    }

    /// It shall be larger.
    pub(crate) fn grow(&mut self, size_gib: u64) {
        self.size_gib = size_gib;
        self.generation += 1;
    }

    /// Whether it has never been there yet, and may still come to be.
    pub(crate) fn is_being_made(&self) -> bool {
        self.present && self.served == 0 && self.failure.is_none()
    }

    /// Whether it is there, as it is wanted.
    pub(crate) fn is_ready(&self) -> bool {
        self.present && self.served > 0 && self.served == self.generation
    }

    /// The entries that rows with a file have in common.
    pub(crate) fn indexes(&self) -> Vec<IndexEntry> {
        let mut entries = Vec::new();
        if self.is_being_made() {
            if let FileSource::File(source) = &self.source {
                entries.push(IndexEntry::many(BY_COPIED, source));
            }
            entries.extend(self.host.as_deref().map(|host| IndexEntry::many(BY_PENDING, host)));
        }
        entries
    }
}
