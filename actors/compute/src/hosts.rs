//! What who takes a host out of the cloud has to know of it, and to have forgotten.

use updraft_runtime::store::{StoreError, Txn};
use uuid::Uuid;

use crate::{
    Compute,
    rows::{HostRow, LeftRow, ServerRow},
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
    /// The servers that are placed on a host, or have their disk there while they move.
    pub async fn placed_on(&self, host: &str) -> Result<Vec<Placed>, StoreError> {
        let rows = self.context.store.read(|txn| on(txn, host)).await?;
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

/// The servers that are placed on a host, and those whose disk it keeps.
pub(crate) fn on(txn: &Txn, host: &str) -> Result<Vec<ServerRow>, StoreError> {
    let mut rows = txn.find::<ServerRow>("host", host)?;
    for left in txn.find::<LeftRow>(LeftRow::BY_HOST, host)?.iter().filter(|left| left.is_parked())
    {
        let row = txn.get::<ServerRow>(&left.want.server.to_string())?;
        rows.extend(row.filter(|row| row.is_parked_on(host)));
    }
    Ok(rows)
}
