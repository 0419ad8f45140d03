//! Whether a host can take a server now: read in the transaction that places it there, so that no two placements
//! promise the same room.

use std::sync::Arc;

use updraft_protocol::compute::Goal;
use updraft_runtime::{
    directory::Directory,
    store::{StoreError, Txn},
    transport::NodeId,
};

use super::{Driver, HOSTS_MAX, HostState, Ratios, Refusal, Request};
use crate::{
    plan,
    rows::{HostRow, LeftRow, Placement, ServerRow},
};

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

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// A host as the server would find it.
    pub(super) fn state(&self, row: impl Into<Arc<HostRow>>, server: &ServerRow) -> HostState {
        let row = row.into();
        let live = !row.forced_down && self.is_heard(&row.name);
        HostState::new(row, live, self.ratios, server)
    }

    fn is_heard(&self, host: &str) -> bool {
        NodeId::new(host).is_ok_and(|node| self.directory.is_live(&node))
    }

    /// Whether the host that a server is to leave, or to move to, is down by an operator's word, and nobody hears it. One
    /// that is heard lives, whatever was said of it; and who has not listened yet cannot tell.
    pub fn is_fenced(&self, txn: &Txn, row: &ServerRow) -> Result<bool, StoreError> {
        let leaves =
            |placement: &&Placement| placement.goal == Goal::Absent || plan::is_moving(row);
        let Some(placement) = row.placement.as_ref().filter(leaves) else { return Ok(false) };
        if !self.directory.has_listened() || self.is_heard(&placement.host) {
            return Ok(false);
        }
        Ok(txn.get::<HostRow>(&placement.host)?.is_some_and(|host| host.forced_down))
    }

    /// Whether the host that a server was taken from is still down and has not cleared away what it had. Nothing else
    /// was placed there meanwhile, so that there is room for it.
    pub fn is_kept(txn: &Txn, row: &ServerRow) -> Result<bool, StoreError> {
        let Some(evacuation) = row.evacuation.as_ref().filter(|_| row.placement.is_none()) else {
            return Ok(false);
        };
        let left = txn.get::<LeftRow>(&LeftRow::key_of(&evacuation.from, row.id))?;
        let host = txn.get::<HostRow>(&evacuation.from)?;
        Ok(left.is_some() && host.is_some_and(|host| host.forced_down))
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

    /// Why no host can take a server that would look for one; `None` if one can now.
    pub fn refusals(&self, txn: &Txn, row: &ServerRow) -> Result<Option<Vec<Refusal>>, StoreError> {
        let request = Request::of(txn, row.clone())?;
        let mut refusals = Vec::new();
        for host in txn.scan::<HostRow>(None, HOSTS_MAX)? {
            match self.driver.refusal(&self.state(host, row), &request) {
                Some(refusal) => refusals.push(refusal),
                None => return Ok(None),
            }
        }
        Ok(Some(refusals))
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
