//! A volume.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    env::UnixMicros,
    notify::Notice,
    rpc::TraceContext,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

use super::{BY_PROJECT, FileState};

/// Index of volumes by their attachment.
pub(crate) const BY_ATTACHMENT: &str = "attachment";

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRow {
    pub(crate) id: Uuid,
    pub(crate) project: String,
    pub(crate) user: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) availability_zone: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) bootable: bool,
    /// What the image that it was made from said of itself.
    pub(crate) image_metadata: BTreeMap<String, String>,
    pub(crate) source: Source,
    pub(crate) file: FileState,
    /// The last attempt to make it larger failed.
    pub(crate) extend_failed: bool,
    pub(crate) attachment: Option<Attachment>,
    /// Attachments that are over, and when: a late message must not bring one back.
    pub(crate) released: BTreeMap<Uuid, UnixMicros>,
    /// What an administrator has set the status to.
    pub(crate) reset: Option<VolumeStatus>,
    /// On whose behalf its image is read, until it is made.
    pub(crate) caller: Option<Caller>,
    pub(crate) created_at: UnixMicros,
    pub(crate) updated_at: Option<UnixMicros>,
}

/// What a volume was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    Nothing,
    Snapshot(Uuid),
    Volume(Uuid),
    Image(Uuid),
}

/// Who asked for a volume: what goes along when its image is read. The service trusts its store with the
/// user's token for as long as that takes, and no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    /// The encoded context of the request, in base64.
    pub(crate) context: String,
    pub(crate) trace: TraceContext,
}

/// A server's hold on a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) id: Uuid,
    pub(crate) server: Uuid,
    pub(crate) state: AttachmentState,
    /// The host that reaches it.
    pub(crate) host: Option<String>,
    /// The newest of the server's wants that has asked how to reach it.
    pub(crate) generation: u64,
    pub(crate) device: Option<String>,
    pub(crate) attached_at: Option<UnixMicros>,
}

/// How far an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AttachmentState {
    /// Kept for the server.
    Reserved,
    /// Its host knows how to reach it.
    Attaching,
    /// The guest sees it.
    Attached,
}

impl AttachmentState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Attaching => "attaching",
            Self::Attached => "attached",
        }
    }
}

/// The status of a volume, as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum VolumeStatus {
    Creating,
    Downloading,
    Available,
    Reserved,
    Attaching,
    InUse,
    Detaching,
    Extending,
    Deleting,
    Maintenance,
    Error,
    #[serde(rename = "error_extending")]
    ErrorExtending,
    #[serde(rename = "error_deleting")]
    ErrorDeleting,
}

impl VolumeStatus {
    const ALL: [Self; 13] = [
        Self::Creating,
        Self::Downloading,
        Self::Available,
        Self::Reserved,
        Self::Attaching,
        Self::InUse,
        Self::Detaching,
        Self::Extending,
        Self::Deleting,
        Self::Maintenance,
        Self::Error,
        Self::ErrorExtending,
        Self::ErrorDeleting,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Downloading => "downloading",
            Self::Available => "available",
            Self::Reserved => "reserved",
            Self::Attaching => "attaching",
            Self::InUse => "in-use",
            Self::Detaching => "detaching",
            Self::Extending => "extending",
            Self::Deleting => "deleting",
            Self::Maintenance => "maintenance",
            Self::Error => "error",
            Self::ErrorExtending => "error_extending",
            Self::ErrorDeleting => "error_deleting",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text))
    }
}

impl VolumeRow {
    /// What users see.
    pub(crate) fn status(&self) -> VolumeStatus {
        if !self.file.present {
            return VolumeStatus::Deleting;
        }
        self.reset.unwrap_or_else(|| self.natural_status())
    }

    /// The same without what an administrator has set.
    pub(crate) fn natural_status(&self) -> VolumeStatus {
        let file = &self.file;
        if file.failure.is_some() {
            return VolumeStatus::Error;
        }
        if file.served == 0 {
            let image = matches!(self.source, Source::Image(_));
            let placed = file.host.is_some();
            return if image && placed {
                VolumeStatus::Downloading
            } else {
                VolumeStatus::Creating
            };
        }
        match self.attachment.as_ref().map(|attachment| attachment.state) {
            Some(AttachmentState::Reserved) => VolumeStatus::Reserved,
            Some(AttachmentState::Attaching) => VolumeStatus::Attaching,
            Some(AttachmentState::Attached) => VolumeStatus::InUse,
            // Going back to the old size is nobody's concern but the host's.
            None if self.extend_failed => VolumeStatus::ErrorExtending,
            None if file.served == file.generation => VolumeStatus::Available,
            None if file.size_gib != file.served_gib => VolumeStatus::Extending,
            // It is still served to the host that had it.
            None => VolumeStatus::Detaching,
        }
    }

    /// The size that its user has.
    pub(crate) fn size_gib(&self) -> u64 {
        let file = &self.file;
        if file.served > 0 && file.served < file.generation && file.present {
            file.served_gib
        } else {
            file.size_gib
        }
    }
}

impl Record for VolumeRow {
    const TABLE: &'static str = "volume/volume";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn notices(old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
        super::notices::of(old, new)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let mut entries = self.file.indexes();
        entries.push(IndexEntry::many(BY_PROJECT, &self.project));
        let attachment = self.attachment.as_ref();
        entries
            .extend(attachment.map(|attachment| IndexEntry::unique(BY_ATTACHMENT, &attachment.id)));
        entries
    }
}
