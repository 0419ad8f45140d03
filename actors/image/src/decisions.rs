//! What this service decides, without the hands that carry it out: the row, its plan, and what becomes of it when bytes
//! come. For whoever explores every order of events.
//!
//! Owns nothing and never decides anything itself: each name here is one that the service itself uses.

use std::collections::BTreeSet;

use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

use crate::rows::{About, Content, Status, Upload, Verdict};

pub use crate::{
    plan::{Effect, Images, Learned},
    rows::ImageRow,
};

impl ImageRow {
    /// An image without bytes, asked for by nobody in particular.
    #[must_use]
    pub fn queued(id: Uuid, now: UnixMicros) -> Self {
        Self::new(id, None, About::default(), now)
    }

    /// Whether it can take in bytes.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.status == Status::Queued && self.deleted_at.is_none()
    }

    /// The image while this upload writes it, for as long as it is heard of until then.
    #[must_use]
    pub fn begun(&self, id: Uuid, expires_at: UnixMicros, now: UnixMicros) -> Self {
        let upload = Upload { id, node: String::new(), expires_at };
        self.claimed(upload, Status::Saving, now)
    }

    /// The upload that writes it.
    #[must_use]
    pub fn writer(&self) -> Option<Uuid> {
        self.upload.as_ref().map(|upload| upload.id)
    }

    /// The image once what its upload wrote is its own; `None` if the upload has lost it.
    #[must_use]
    pub fn ended(&self, upload: Uuid, now: UnixMicros) -> Option<Self> {
        let content = Content {
            upload,
            size_bytes: 1,
            virtual_size_bytes: None,
            md5: String::new(),
            sha512: String::new(),
            verdict: Verdict::Fine,
        };
        self.committed(content, true, now)
    }

    /// The image once this upload has given up.
    #[must_use]
    pub fn abandoned(&self, upload: Uuid, now: UnixMicros) -> Self {
        self.given_back(upload, now)
    }

    /// Whether bytes of this name are its own, or its plan's to remove; all others are removed by a sweep.
    #[must_use]
    pub fn speaks_of(&self, upload: Uuid) -> bool {
        self.claims(upload)
    }

    /// The bytes that it has.
    #[must_use]
    pub fn bytes(&self) -> Option<Uuid> {
        self.content.as_ref().map(|content| content.upload)
    }

    /// The uploads whose leftovers are still to be removed.
    #[must_use]
    pub fn leftovers(&self) -> &BTreeSet<Uuid> {
        &self.garbage
    }

    /// Its user deletes it.
    pub fn delete(&mut self, now: UnixMicros) {
        self.deleted_at = Some(now);
    }

    /// Whether its user has deleted it.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}
