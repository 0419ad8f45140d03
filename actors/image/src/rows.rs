//! What is stored of an image.
//!
//! One row an image, with its members and tags in it. The bytes are elsewhere, as an object named by the image
//! and the *upload* that wrote it; an object exists only if its upload has stood in the image's row before, and
//! one that no row names any more is garbage for ever. So it is always safe to list objects first, to read the
//! row then, and to delete what it does not name.

mod notices;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    env::UnixMicros,
    notify::Notice,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRow {
    pub(crate) id: Uuid,
    /// The project it belongs to.
    pub(crate) owner: Option<String>,
    pub(crate) created_at: UnixMicros,
    pub(crate) updated_at: UnixMicros,
    /// What users write.
    pub(crate) about: About,
    /// How far it is.
    pub(crate) status: Status,
    /// Who writes its bytes now.
    pub(crate) upload: Option<Upload>,
    /// Its bytes, once all are there.
    pub(crate) content: Option<Content>,
    /// Uploads that were given up; what they left behind is still to be removed.
    pub(crate) garbage: BTreeSet<Uuid>,
    /// Projects it is shared with, by id.
    pub(crate) members: BTreeMap<String, Member>,
    /// Set when it was deleted: nobody sees it any more, and it goes when its bytes are gone.
    pub(crate) deleted_at: Option<UnixMicros>,
    /// Whether its bytes are confirmed gone.
    pub(crate) erased: bool,
}

/// What users write on an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) name: Option<String>,
    pub(crate) visibility: Visibility,
    pub(crate) container_format: Option<String>,
    pub(crate) disk_format: Option<String>,
    pub(crate) min_disk_gib: u64,
    pub(crate) min_ram_mib: u64,
    pub(crate) protected: bool,
    pub(crate) os_hidden: bool,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) properties: BTreeMap<String, String>,
}

/// Who may see an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Visibility {
    /// Everybody, in every list.
    Public,
    /// Everybody who knows it.
    Community,
    /// Its project and its members.
    #[default]
    Shared,
    /// Its project.
    Private,
}

impl Visibility {
    pub(crate) const ALL: [Self; 4] = [Self::Community, Self::Public, Self::Private, Self::Shared];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Community => "community",
            Self::Shared => "shared",
            Self::Private => "private",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|visibility| visibility.as_str() == text)
    }
}

/// How far an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It has no bytes.
    Queued,
    /// Bytes are arriving.
    Saving,
    /// Bytes are arriving, or have arrived, that `import` will make its own.
    Uploading,
    /// It can be used.
    Active,
    /// It has bytes, and only administrators may read them.
    Deactivated,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Saving => "saving",
            Self::Uploading => "uploading",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
        }
    }

    /// Whether the image's bytes are its own.
    pub(crate) fn shows_content(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated)
    }
}

/// Bytes on their way in. Whoever writes them says again and again that it still does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upload {
    /// Names the object.
    pub(crate) id: Uuid,
    /// The node that writes, for people.
    pub(crate) node: String,
    /// When it is taken for dead if nothing was heard.
    pub(crate) expires_at: UnixMicros,
}

/// An image's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// The upload that wrote the object.
    pub(crate) upload: Uuid,
    pub(crate) size_bytes: u64,
    /// What a guest sees, if the format says so.
    pub(crate) virtual_size_bytes: Option<u64>,
    /// Lower-case hexadecimal.
    pub(crate) md5: String,
    /// Lower-case hexadecimal.
    pub(crate) sha512: String,
    /// Whether they look like what a user may say they are; judged when they become the image's own.
    pub(crate) verdict: Verdict,
}

/// What bytes turned out to be, against what was said of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Nothing speaks against them.
    Fine,
    /// They are refused, with these words.
    Refused(String),
}

/// A project that an image is shared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) status: MemberStatus,
    pub(crate) created_at: UnixMicros,
    pub(crate) updated_at: UnixMicros,
}

/// What a member thinks of being one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MemberStatus {
    /// Has not said.
    Pending,
    /// Wants the image in its lists.
    Accepted,
    /// Does not.
    Rejected,
}

impl MemberStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Accepted, Self::Rejected]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

impl ImageRow {
    /// An image without bytes.
    pub(crate) fn new(id: Uuid, owner: Option<String>, about: About, now: UnixMicros) -> Self {
        Self {
            id,
            owner,
            created_at: now,
            updated_at: now,
            about,
            status: Status::Queued,
            upload: None,
            content: None,
            garbage: BTreeSet::new(),
            members: BTreeMap::new(),
            deleted_at: None,
            erased: false,
        }
    }

    /// Whether it has an object of this name, or will have.
    pub(crate) fn names(&self, upload: Uuid) -> bool {
        self.deleted_at.is_none()
            && (self.upload.as_ref().is_some_and(|current| current.id == upload)
                || self.content.as_ref().is_some_and(|content| content.upload == upload))
    }

    /// Whether bytes of this name are its own, or its plan's to remove.
    pub(crate) fn claims(&self, upload: Uuid) -> bool {
        self.names(upload) || self.garbage.contains(&upload)
    }

    /// The image while this upload alone writes its bytes.
    pub(crate) fn claimed(&self, upload: Upload, status: Status, now: UnixMicros) -> Self {
        Self { status, upload: Some(upload), updated_at: now, ..self.clone() }
    }

    /// The image once its upload's bytes are its own; `None` if the upload has lost it.
    pub(crate) fn committed(
        &self,
        content: Content,
        activate: bool,
        now: UnixMicros,
    ) -> Option<Self> {
        let mut row = self.clone();
        row.written_by(content.upload)?;
        row.upload = None;
        row.content = Some(content);
        row.updated_at = now;
        if activate {
            row.status = Status::Active;
        }
        Some(row)
    }

    /// The image once this upload has given it back: itself, if another one has it by now.
    pub(crate) fn given_back(&self, upload: Uuid, now: UnixMicros) -> Self {
        let mut row = self.clone();
        if row.upload.as_ref().is_some_and(|current| current.id == upload) {
            row.requeue();
            row.updated_at = now;
        }
        row
    }

    /// The upload, if it still writes the image.
    pub(crate) fn written_by(&mut self, upload: Uuid) -> Option<&mut Upload> {
        let gone = self.deleted_at.is_some();
        self.upload.as_mut().filter(|current| !gone && current.id == upload)
    }

    /// Whether the project may see it.
    pub(crate) fn visible_to(&self, project: Option<&str>) -> bool {
        let theirs = project.is_some() && self.owner.as_deref() == project;
        match self.about.visibility {
            Visibility::Public | Visibility::Community => true,
            Visibility::Shared => {
                theirs || project.is_some_and(|project| self.members.contains_key(project))
            }
            Visibility::Private => theirs,
        }
    }

    /// It has no bytes again; those of its upload and content are garbage.
    pub(crate) fn requeue(&mut self) {
        self.garbage.extend(self.upload.take().map(|upload| upload.id));
        self.garbage.extend(self.content.take().map(|content| content.upload));
        self.status = Status::Queued;
    }
}

/// Index of images by owner.
pub(crate) const BY_OWNER: &str = "owner";
/// Index of images by visibility.
pub(crate) const BY_VISIBILITY: &str = "visibility";
/// Index of images by the projects they are shared with.
pub(crate) const BY_MEMBER: &str = "member";
/// Index of images by name.
pub(crate) const BY_NAME: &str = "name";

impl Record for ImageRow {
    const TABLE: &'static str = "image/image";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn notices(old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
        notices::of(old, new)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let mut entries = vec![IndexEntry::many(BY_VISIBILITY, self.about.visibility.as_str())];
        entries.extend(self.owner.as_deref().map(|owner| IndexEntry::many(BY_OWNER, owner)));
        entries.extend(self.about.name.as_deref().map(|name| IndexEntry::many(BY_NAME, name)));
        entries.extend(self.members.keys().map(|project| IndexEntry::many(BY_MEMBER, project)));
        entries
    }
}
