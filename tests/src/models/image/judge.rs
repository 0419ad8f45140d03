//! What must never be, when it rests, and which situations are worth having been in.

use std::collections::BTreeSet;

use updraft_image::decisions::ImageRow;
use uuid::Uuid;

use super::{State, claims};
use crate::models::so;

impl State {
    pub(super) fn check(&self) -> Result<(), String> {
        let bytes = self.image.as_ref().and_then(ImageRow::bytes);
        if bytes.is_some_and(|bytes| !self.bytes.contains(&bytes))
            && !self.image.as_ref().is_some_and(ImageRow::is_deleted)
        {
            return Err("kill-live: the image is active and its bytes are gone".to_owned());
        }
        let left = |upload: &Uuid| self.owned.contains(upload) && Some(*upload) != bytes;
        let forgotten = |upload: &Uuid| left(upload) && !claims(self.image.as_ref(), *upload);
        if self.bytes.iter().any(forgotten) {
            return Err("leak: bytes that were an image's own have outlived it".to_owned());
        }
        Ok(())
    }

    pub(super) fn is_settled(&self) -> bool {
        let row = self.image.as_ref();
        let named: BTreeSet<Uuid> = row.and_then(ImageRow::bytes).into_iter().collect();
        let rests = |row: &ImageRow| !row.is_deleted() && row.leftovers().is_empty();
        self.uploads.is_empty()
            && self.bytes == named
            && row.is_none_or(|row| rests(row) && row.writer().is_none())
    }

    pub(super) fn marks(&self) -> Vec<&'static str> {
        let row = self.image.as_ref();
        let writer = row.and_then(ImageRow::writer).map(|upload| upload.as_u128());
        let lost = |(upload, written): (&u128, &bool)| *written && Some(*upload) != writer;
        let unnamed = |upload: &Uuid| !claims(row, *upload);
        so([
            ("active", row.is_some_and(|row| row.bytes().is_some())),
            (
                "active by the second upload",
                row.and_then(ImageRow::bytes) == Some(Uuid::from_u128(2)),
            ),
            ("deleted while it is written", {
                row.is_some_and(ImageRow::is_deleted) && writer.is_some()
            }),
            ("deleted while active", {
                row.is_some_and(|row| row.is_deleted() && row.bytes().is_some())
            }),
            ("gone", row.is_none()),
            ("an upload is about to be refused", self.uploads.iter().any(lost)),
            ("leftovers in the row", row.is_some_and(|row| !row.leftovers().is_empty())),
            ("bytes that no row speaks of", self.bytes.iter().any(unnamed)),
        ])
    }
}

/// Every situation that an exploration is to have met.
pub const MARKS: [&str; 8] = [
    "active",
    "active by the second upload",
    "deleted while it is written",
    "deleted while active",
    "gone",
    "an upload is about to be refused",
    "leftovers in the row",
    "bytes that no row speaks of",
];
