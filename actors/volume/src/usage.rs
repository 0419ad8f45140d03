//! What volumes take, for whoever checks that nothing leaks.

use std::collections::BTreeMap;

use updraft_runtime::store::StoreError;
use uuid::Uuid;

use crate::{
    Volume,
    rows::{SnapshotRow, VolumeRow},
};

/// Everything that the service has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Volumes and snapshots with a file, and the host that has it.
    pub files: BTreeMap<Uuid, String>,
    /// The attachments of volumes.
    pub attachments: BTreeMap<Uuid, Held>,
    /// Rows that are not at rest: a file is being made, grown or removed.
    pub unsettled: Vec<Uuid>,
}

/// Who holds a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The attachment.
    pub attachment: Uuid,
    /// The server.
    pub server: Uuid,
}

impl Volume {
    /// Reads all rows.
    pub async fn usage(&self) -> Result<Usage, StoreError> {
        let rows = |txn: &updraft_runtime::store::Txn| {
            let volumes = txn.scan::<VolumeRow>(None, usize::MAX)?;
            let snapshots = txn.scan::<SnapshotRow>(None, usize::MAX)?;
            Ok::<_, StoreError>((volumes, snapshots))
        };
        let (volumes, snapshots) = self.shared.context.store.read(rows).await?;
        let mut usage = Usage::default();
        let files = volumes.iter().map(|row| (row.id, &row.file));
        for (id, file) in files.chain(snapshots.iter().map(|row| (row.id, &row.file))) {
            let resting = file.failure.is_some() || file.served == file.generation;
            if !(file.present && resting) {
                usage.unsettled.push(id);
            }
            if let (Some(host), true) = (&file.host, file.path.is_some()) {
                usage.files.insert(id, host.clone());
            }
        }
        for row in &volumes {
            if let Some(held) = &row.attachment {
                let held = Held { attachment: held.id, server: held.server };
                usage.attachments.insert(row.id, held);
            }
        }
        Ok(usage)
    }
}
