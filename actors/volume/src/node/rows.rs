//! What a volume node keeps on its own disk of each file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use updraft_protocol::volume::FileWant;
use updraft_runtime::{env::UnixMicros, store::Record};

/// The table.
pub(super) const TABLE: &str = "volume-node/file";

/// A file that the node was told of. One that is gone stays for a while, so that an old message does not
/// bring it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRow {
    /// The newest that is wanted.
    pub(super) want: FileWant,
    /// The generation that the file is as wanted by; 0 before the first.
    pub(super) served: u64,
    /// Where it is, from when it was first told of until it is gone.
    pub(super) path: Option<PathBuf>,
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
            Some(row) => Self { want, failure: None, attempts: 0, gone_at: None, ..row },
            None => Self { want, served: 0, path: None, failure: None, attempts: 0, gone_at: None },
        }
    }
}

impl Record for FileRow {
    const TABLE: &'static str = TABLE;

    fn key(&self) -> String {
        self.want.id.to_string()
    }
}
