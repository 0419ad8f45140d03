//! What who takes a host out of the cloud has to know of it, and to have forgotten.

use updraft_runtime::store::{StoreError, Txn};
use uuid::Uuid;

use crate::{
    Compute,
    rows::{HostRow, ServerRow},
};

/// A server that is placed on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
}

impl Compute {
    /// The servers that are placed on a host.
    pub async fn placed_on(&self, host: &str) -> Result<Vec<Placed>, StoreError> {
        let rows = self.context.store.read(|txn| txn.find::<ServerRow>("host", host)).await?;
        Ok(rows.into_iter().map(|row| Placed { id: row.id, name: row.name }).collect())
    }

    /// Forgets a host, unless something is claimed of it; it is known again when it reports.
    pub async fn forget_host(&self, host: &str) -> Result<(), StoreError> {
        let forget = |txn: &mut Txn| {
            if txn.get::<HostRow>(host)?.is_some_and(|row| row.claims.is_empty()) {
                txn.delete::<HostRow>(host)?;
            }
            Ok(())
        };
        self.context.store.transact(forget).await
    }
}
