//! What is stored of volumes, snapshots and quotas.

mod file;
mod notices;
mod quota;
mod snapshot;
mod volume;

pub(crate) use file::FileState;
pub(crate) use quota::{Limits, QuotaRow, UNLIMITED};
pub(crate) use snapshot::{BY_VOLUME, SnapshotRow, SnapshotStatus};
pub use volume::VolumeRow;
pub(crate) use volume::{Attachment, AttachmentState, BY_ATTACHMENT, Caller, Source, VolumeStatus};

/// Index of rows by project.
pub(crate) const BY_PROJECT: &str = "project";
/// Index of rows by the file that theirs is being copied from.
pub(crate) const BY_COPIED: &str = "copied";
/// Index of rows by the host on which their file is being made.
pub(crate) const BY_PENDING: &str = "pending";
