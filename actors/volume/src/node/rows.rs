//! What a volume node keeps on its own disk of each file. Nothing is done for one before the volume service has said
//! that it is wanted.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use updraft_protocol::volume::{Export, FileWant};
use updraft_runtime::{env::UnixMicros, rows::Asked, store::Record};

/// The table.
pub(super) const TABLE: &str = "volume-node/file";

/// A file that the node was told of. One that is gone stays for a while, so that an old message does not
/// bring it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// The newest that is wanted.
    pub(super) want: FileWant,
    /// When the volume service last said that it is wanted.
    #[serde(default)]
    pub(super) asked: Asked,
    /// The volume service knows of nothing that is wanted here. Of a file that was never begun the row is forgotten.
    #[serde(default)]
    pub(super) unwanted: bool,
    /// The generation that the file is as wanted by; 0 before the first.
    pub(super) served: u64,
    /// Where it is, from when it was first told of until it is gone.
    pub(super) path: Option<PathBuf>,
    /// Whether it may be served to somebody: from when that was first wanted until it is confirmed that it is not.
    #[serde(default)]
    pub(super) exports: bool,
    /// Where it is served, if it is as wanted.
    #[serde(default)]
    pub(super) exported: Option<Export>,
    /// Why the newest want cannot be met.
    pub(super) failure: Option<String>,
    /// How often the newest want was tried in vain.
    pub(super) attempts: u32,
    /// When it was confirmed gone.
    pub(super) gone_at: Option<UnixMicros>,
}

impl FileRow {
    /// The row once this is wanted.
    pub(super) fn told(known: Option<Self>, want: FileWant) -> Self {
        match known {
            Some(row) => {
                let (unwanted, exports) = (false, row.exports || want.export.is_some());
                let (failure, exported, attempts, gone_at) = (None, None, 0, None);
                Self { want, unwanted, exports, exported, failure, attempts, gone_at, ..row }
            }
            None => Self {
                exports: want.export.is_some(),
                exported: None,
                want,
                asked: Asked::Never,
                unwanted: false,
                served: 0,
                path: None,
                failure: None,
                attempts: 0,
                gone_at: None,
            },
        }
    }
}

/// Why a want is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This generation, a newer one, was wanted before.
    Stale(u64),
    /// Something else was wanted in the same generation.
    Contradiction,
}

impl FileRow {
    /// What becomes of what is known when this is wanted; itself if it is wanted already.
    pub fn fold(known: Option<Self>, want: &FileWant) -> Result<Self, Refusal> {
        match known {
            Some(row) if row.want.generation > want.generation => {
                Err(Refusal::Stale(row.want.generation))
            }
            Some(row) if row.want.generation == want.generation => {
                if row.want == *want {
                    Ok(row)
                } else {
                    Err(Refusal::Contradiction)
                }
            }
            known => Ok(Self::told(known, want.clone())),
        }
    }

    /// Whether it is served as is wanted, as far as is known.
    pub(super) fn is_exported(&self) -> bool {
        self.exported.is_some() && self.want.present && self.served == self.want.generation
    }

    /// What is wanted, and by which generation it is so.
    #[must_use]
    pub fn wants(&self) -> (&FileWant, u64) {
        (&self.want, self.served)
    }
}

impl Record for FileRow {
    const TABLE: &'static str = TABLE;

    fn key(&self) -> String {
        self.want.id.to_string()
    }
}
