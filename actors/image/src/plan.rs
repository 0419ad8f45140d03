//! How an image's row converges: dead uploads are given up, leftovers are removed, and a deleted image goes
//! when its bytes are confirmed gone.
//!
//! Becoming active is not planned: whoever receives the bytes commits that, since it alone knows them.

use std::{collections::BTreeSet, time::Duration};

use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rows::{Kind, Plan},
    store::{StoreError, Txn},
};
use uuid::Uuid;

use crate::{
    blobs::Blobs,
    rows::{ImageRow, Status},
};

/// How long the removal of bytes may take: a store of objects that is down is back within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(600);

/// Images as rows that converge.
pub struct Images {
    pub(crate) blobs: Blobs,
}

/// What a plan asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Remove what these uploads left behind.
    Collect(BTreeSet<Uuid>),
    /// Remove every byte of the image.
    Erase,
}

/// What an effect brings back.
#[derive(Clone, Debug)]
pub enum Learned {
    /// Nothing is left of these uploads.
    Collected(BTreeSet<Uuid>),
    /// Nothing is left of the image.
    Erased,
}

impl Kind for Images {
    type Row = ImageRow;
    type Facts = ();
    type Effect = Effect;
    type Learned = Learned;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, _txn: &Txn, _row: &ImageRow) -> Result<(), StoreError> {
        Ok(())
    }

    fn plan(row: &ImageRow, _facts: &(), now: UnixMicros) -> Plan<Self> {
        let writer = row.upload.as_ref().map(|upload| upload.expires_at);
        match writer {
            Some(expires_at) if now < expires_at => waiting(row),
            Some(_) => {
                let mut row = row.clone();
                row.requeue();
                row.updated_at = now;
                Plan::write(row)
            }
            None if row.deleted_at.is_none() => waiting(row),
            None if row.erased => Plan::delete(),
            None => Plan::act(vec![Effect::Erase]),
        }
    }

    fn deadline(row: &ImageRow) -> Option<UnixMicros> {
        row.upload.as_ref().map(|upload| upload.expires_at)
    }

    fn learn(row: &mut ImageRow, learned: Learned, _now: UnixMicros) -> bool {
        match learned {
            Learned::Collected(uploads) => {
                let before = row.garbage.len();
                row.garbage.retain(|upload| !uploads.contains(upload));
                row.garbage.len() != before
            }
            Learned::Erased => {
                let news = row.deleted_at.is_some() && row.upload.is_none() && !row.erased;
                row.erased |= news;
                news
            }
        }
    }

    fn perform(&self, row: ImageRow, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        let blobs = self.blobs.clone();
        Box::pin(async move {
            let gone = match &effect {
                Effect::Collect(uploads) => {
                    blobs.remove(row.id, |upload| uploads.contains(&upload)).await
                }
                Effect::Erase => blobs.remove(row.id, |_| true).await,
            };
            match (gone, effect) {
                (Ok(_), Effect::Collect(uploads)) => Some(Learned::Collected(uploads)),
                (Ok(_), Effect::Erase) => Some(Learned::Erased),
                (Err(error), _) => {
                    tracing::warn!(image = %row.id, %error, "bytes not removed yet");
                    None
                }
            }
        })
    }
}

/// Nothing to do but to clean up.
fn waiting(row: &ImageRow) -> Plan<Images> {
    if row.garbage.is_empty() {
        Plan::settled()
    } else {
        Plan::act(vec![Effect::Collect(row.garbage.clone())])
    }
}

/// Whether the row rests: nothing is on its way, and nothing is left to remove.
pub(crate) fn is_settled(row: &ImageRow) -> bool {
    row.deleted_at.is_none()
        && row.upload.is_none()
        && row.garbage.is_empty()
        && row.content.is_some() == (row.status != Status::Queued)
}

#[cfg(test)]
mod tests {
    use updraft_runtime::rows::Change;

    use super::*;
    use crate::rows::{About, Content, Upload, Verdict};

    const LEASE_ENDS: UnixMicros = UnixMicros(100);
    const UPLOAD: Uuid = Uuid::from_u128(7);

    fn queued() -> ImageRow {
        ImageRow::new(Uuid::from_u128(1), None, About::default(), UnixMicros(0))
    }

    fn saving() -> ImageRow {
        let upload = Upload { id: UPLOAD, node: "a".to_owned(), expires_at: LEASE_ENDS };
        ImageRow { status: Status::Saving, upload: Some(upload), ..queued() }
    }

    fn active() -> ImageRow {
        let content = Content {
            upload: UPLOAD,
            size_bytes: 1,
            virtual_size_bytes: None,
            md5: String::new(),
            sha512: String::new(),
            verdict: Verdict::Fine,
        };
        ImageRow { status: Status::Active, content: Some(content), ..queued() }
    }

    fn deleted(row: ImageRow) -> ImageRow {
        ImageRow { deleted_at: Some(UnixMicros(1)), ..row }
    }

    fn plan(row: &ImageRow, now: UnixMicros) -> Plan<Images> {
        Images::plan(row, &(), now)
    }

    #[test]
    fn nothing_happens_to_an_image_at_rest() {
        for row in [queued(), active()] {
            let plan = plan(&row, UnixMicros(1_000));
            assert!(matches!(plan.change, Change::Keep) && plan.effects.is_empty());
            assert!(plan.wake_at.is_none() && is_settled(&row));
        }
    }

    #[test]
    fn a_living_upload_is_left_alone_until_its_lease_ends() {
        let plan = plan(&saving(), UnixMicros(99));
        assert!(matches!(plan.change, Change::Keep) && plan.effects.is_empty());
        assert_eq!(Images::deadline(&saving()), Some(LEASE_ENDS));
    }

    #[test]
    fn a_dead_upload_is_given_up_and_its_leftovers_are_removed() {
        let Change::Write(row) = plan(&saving(), LEASE_ENDS).change else { panic!("not given up") };
        assert_eq!(row.status, Status::Queued);
        let leftovers = BTreeSet::from([UPLOAD]);
        assert_eq!(plan(&row, LEASE_ENDS).effects, [Effect::Collect(leftovers.clone())]);

        let mut row = row;
        assert!(Images::learn(&mut row, Learned::Collected(leftovers), LEASE_ENDS));
        assert!(is_settled(&row));
    }

    #[test]
    fn a_deleted_image_loses_its_bytes_first_and_its_row_then() {
        let mut row = deleted(active());
        assert_eq!(plan(&row, UnixMicros(2)).effects, [Effect::Erase]);
        assert!(Images::learn(&mut row, Learned::Erased, UnixMicros(2)));
        assert!(matches!(plan(&row, UnixMicros(2)).change, Change::Delete));
    }

    #[test]
    fn a_deleted_image_waits_for_whoever_still_writes_it() {
        let mut row = deleted(saving());
        assert!(plan(&row, UnixMicros(2)).effects.is_empty());
        assert!(!Images::learn(&mut row, Learned::Erased, UnixMicros(2)), "erased too early");
    }

    #[test]
    fn what_is_learnt_twice_changes_nothing() {
        let mut row = queued();
        let nothing = Learned::Collected(BTreeSet::from([UPLOAD]));
        assert!(!Images::learn(&mut row, nothing, UnixMicros(0)));
        assert!(!Images::learn(&mut row, Learned::Erased, UnixMicros(0)));
    }
}
