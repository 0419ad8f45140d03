//! What this service decides, without the hands that carry it out: rows, their plans, and what becomes of a row when a
//! message comes. For whoever explores every order of events.
//!
//! Owns nothing and never decides anything itself: each name here is one that the service itself uses.

use std::collections::BTreeMap;

use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{Attached, Connect, Connection, FileSource, FileWant, Release, Reserve},
};
use updraft_runtime::{env::UnixMicros, rpc::Fault};
use uuid::Uuid;

use crate::{
    actor,
    rows::{FileState, Source},
};

pub use crate::{
    node::{
        Effect as NodeEffect, FileRow, Files, Learned as NodeLearned, Next, Progress, Refusal,
        answer, next,
    },
    plan::{Effect, Facts, Learned, SourceHost, Volumes, refusal},
    rows::VolumeRow,
};

impl VolumeRow {
    /// A volume of zeros that is asked for now, by nobody in particular.
    #[must_use]
    pub fn wanted(id: Uuid, size_gib: u64, now: UnixMicros) -> Self {
        Self {
            id,
            project: String::new(),
            user: String::new(),
            name: None,
            description: None,
            availability_zone: String::new(),
            metadata: BTreeMap::new(),
            bootable: false,
            image_metadata: BTreeMap::new(),
            source: Source::Nothing,
            file: FileState::wanted(size_gib, DiskFormat::Qcow2, FileSource::Empty, now),
            extend_failed: false,
            attachment: None,
            released: BTreeMap::new(),
            reset: None,
            caller: None,
            created_at: now,
            updated_at: None,
        }
    }

    /// A volume that is asked for now as a copy of another one.
    #[must_use]
    pub fn copied(id: Uuid, source: Uuid, size_gib: u64, now: UnixMicros) -> Self {
        let format = DiskFormat::Qcow2;
        let file = FileState::wanted(size_gib, format, FileSource::File(source), now);
        Self { source: Source::Volume(source), file, ..Self::wanted(id, size_gib, now) }
    }

    /// Whether it has never been there yet, and may still come to be.
    #[must_use]
    pub fn is_being_made(&self) -> bool {
        self.file.is_being_made()
    }

    /// Whether it shall be.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.file.present
    }

    /// It shall be gone.
    pub fn unwant(&mut self) {
        self.file.unwant();
    }

    /// It shall be larger.
    pub fn grow(&mut self, size_gib: u64) {
        self.file.grow(size_gib);
    }

    /// The host that has its file, or is to have it.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.file.host.as_deref()
    }

    /// What that host is told.
    #[must_use]
    pub fn want(&self) -> FileWant {
        self.file.want(self.id)
    }

    /// Whether its file is there, as wanted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.file.is_ready()
    }

    /// Why it cannot be made.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.file.failure.as_deref()
    }

    /// The attachment that holds it, and its server.
    #[must_use]
    pub fn held_by(&self) -> Option<(Uuid, Uuid)> {
        self.attachment.as_ref().map(|held| (held.id, held.server))
    }

    /// The volume once it is kept for a server; `None` if that is refused.
    #[must_use]
    pub fn reserved(&self, message: &Reserve) -> Option<Self> {
        actor::reserved(self, message).ok()
    }

    /// The volume once a host asked how to reach it, and what the host hears; `Err` if nothing changes.
    pub fn connected(&self, message: &Connect) -> Result<(Self, Result<Connection, Fault>), Fault> {
        let row = actor::connected(self, message)?;
        let connection = actor::connection(&row, &message.host).map_err(Fault::from);
        Ok((row, connection))
    }

    /// The volume once its guest sees it; `None` if that is refused.
    #[must_use]
    pub fn attached(&self, message: &Attached, now: UnixMicros) -> Option<Self> {
        actor::attached(self, message, now).ok()
    }

    /// The volume once an attachment is over.
    #[must_use]
    pub fn released(&self, message: &Release, now: UnixMicros) -> Self {
        actor::released(self, message, now)
    }
}
