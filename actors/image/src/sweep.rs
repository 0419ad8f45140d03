//! Whether rows and bytes agree, and the removal of bytes that no row names.
//!
//! The plan of a row removes what its own uploads left. What a node wrote after it had been taken for dead,
//! and died again, is found here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use updraft_edge::context::owns;
use updraft_protocol::image::Locate;
use updraft_runtime::store::{StoreError, Txn};
use uuid::Uuid;

use crate::{
    Image, Shared,
    blobs::{ByteStoreError, Found},
    error::Error,
    plan,
    rows::{ImageRow, Status},
};

/// How often bytes are compared with rows: what a leak may last.
const PERIOD: Duration = Duration::from_secs(60);

/// What the choice of the node that sweeps is made by.
const SWEEPER: &str = "sweep";

/// How many rows are read at once.
const PAGE: usize = 256;

/// What images take, and whether rows and bytes agree. Empty lists are the proof that nothing leaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Images with bytes, and how many.
    pub images: BTreeMap<Uuid, u64>,
    /// Bytes that no row names.
    pub leaked: Vec<Leak>,
    /// Images whose bytes are missing or of another length than the row says.
    pub damaged: Vec<Uuid>,
    /// Images that are not at rest: an upload or a clean-up is under way.
    pub unsettled: Vec<Uuid>,
}

/// Bytes that no row names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The image they were meant for.
    pub image: Uuid,
    /// The upload that wrote them.
    pub upload: Uuid,
    /// How many.
    pub size_bytes: u64,
}

/// Why rows and bytes could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The rows could not be read.
    #[error("the rows of images could not be read: {0}")]
    Rows(#[from] StoreError),
    /// The bytes could not be listed.
    #[error(transparent)]
    Bytes(#[from] ByteStoreError),
}

impl Image {
    /// Compares rows and bytes.
    pub async fn usage(&self) -> Result<Usage, UsageError> {
        self.shared.usage().await
    }
}

impl Shared {
    async fn usage(&self) -> Result<Usage, UsageError> {
        // Bytes first: what appears later has its row already.
        let found = self.blobs.list(None).await?;
        let rows = self.context.store.read(all_rows).await?;
        Ok(compare(&found, &rows))
    }

    /// Removes what no row names; what is listed first and not named then never will be.
    async fn sweep(&self) -> Result<(), Error> {
        for found in self.blobs.list(None).await? {
            let row = self.repository.get(found.image).await?;
            let claimed = row.is_some_and(|row| row.claims(found.upload));
            if !claimed {
                tracing::info!(image = %found.image, upload = %found.upload, "leftover removed");
                self.blobs.remove_one(&found).await?;
            }
        }
        Ok(())
    }
}

/// Sweeps now and then, on one of the nodes that serve images.
pub(crate) fn start(shared: &Arc<Shared>) {
    let owns = owns::<Locate>(&shared.context.rpc);
    let shared = shared.clone();
    let env = shared.context.env.clone();
    env.clone().spawn("image.sweep", async move {
        loop {
            if owns(SWEEPER)
                && let Err(error) = shared.sweep().await
            {
                tracing::warn!(%error, "leftovers were not swept");
            }
            env.sleep(PERIOD).await;
        }
    });
}

fn all_rows(txn: &Txn) -> Result<BTreeMap<Uuid, ImageRow>, StoreError> {
    let mut rows = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = txn.scan::<ImageRow>(after.as_deref(), PAGE)?;
        let full = page.len() == PAGE;
        after = page.last().map(|row| row.id.to_string());
        rows.extend(page.into_iter().map(|row| (row.id, row)));
        if !full {
            return Ok(rows);
        }
    }
}

fn compare(found: &[Found], rows: &BTreeMap<Uuid, ImageRow>) -> Usage {
    let mut usage = Usage::default();
    for found in found {
        let named = rows.get(&found.image).is_some_and(|row| row.names(found.upload));
        if !named {
            usage.leaked.push(Leak {
                image: found.image,
                upload: found.upload,
                size_bytes: found.size_bytes,
            });
        }
    }
    for row in rows.values() {
        if !plan::is_settled(row) {
            usage.unsettled.push(row.id);
        }
        let Some(content) = row.content.as_ref().filter(|_| row.deleted_at.is_none()) else {
            continue;
        };
        usage.images.insert(row.id, content.size_bytes);
        let whole = found.iter().any(|found| {
            found.image == row.id
                && found.upload == content.upload
                && found.size_bytes == content.size_bytes
                && found.is_whole()
        });
        if !whole && row.status != Status::Queued {
            usage.damaged.push(row.id);
        }
    }
    usage
}
