//! Whether a host can take a server now: read in the transaction that places it there, so that no two placements
//! promise the same room.

use std::sync::Arc;

use updraft_protocol::compute::Goal;
use updraft_runtime::{
    directory::Directory,
    store::{StoreError, Txn},
    transport::NodeId,
};

use super::{Driver, HostState, Ratios, Refusal, Request};
use crate::rows::{HostRow, ServerRow};

/// Judges hosts by what is stored of them and what was heard of them; cheap to clone.
#[derive(Clone)]
pub struct Judge {
    directory: Directory,
    driver: Arc<Driver>,
    ratios: Ratios,
}

impl Judge {
    /// A judge by these filters.
    #[must_use]
    pub fn new(directory: Directory, driver: Arc<Driver>, ratios: Ratios) -> Self {
        Self { directory, driver, ratios }
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// A host as the server would find it.
    pub(super) fn state(&self, row: impl Into<Arc<HostRow>>, server: &ServerRow) -> HostState {
        let row = row.into();
        let live = NodeId::new(&row.name).is_ok_and(|node| self.directory.is_live(&node));
        HostState::new(row, live, self.ratios, server)
    }

    /// Why the host cannot take the server; `None` if it can.
    pub(super) fn refusal(
        &self,
        txn: &Txn,
        host: &str,
        request: &Request,
    ) -> Result<Option<Refusal>, StoreError> {
        let Some(row) = txn.get::<HostRow>(host)? else { return Ok(Some(Refusal::gone(host))) };
        Ok(self.driver.refusal(&self.state(row, &request.server), request))
    }

    /// The first alternate that can take a server that looks for a host.
    pub fn alternate(&self, txn: &Txn, row: &ServerRow) -> Result<Option<String>, StoreError> {
        if row.alternates.is_empty() || !is_looking(row) {
            return Ok(None);
        }
        let request = Request::of(txn, row.clone())?;
        for host in &row.alternates {
            if self.refusal(txn, host, &request)?.is_none() {
                return Ok(Some(host.clone()));
            }
        }
        Ok(None)
    }
}

/// Whether a server looks for a host.
pub(super) fn is_looking(row: &ServerRow) -> bool {
    row.placement.is_none() && row.goal == Goal::Present && row.fault.is_none()
}
