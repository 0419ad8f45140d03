//! The newest generation that each thing was asked for.
//!
//! Promises that what is done for an older generation than has been seen is not done, also when it was under way
//! before the newer one came. It lasts as long as the agent's process, and so does every operation of its drivers.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use uuid::Uuid;

use super::DriverError;

/// Of the taps, the tunnels, the filters, the DHCP servers or the routers of one host; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Newest(Arc<Mutex<BTreeMap<Uuid, u64>>>);

impl Newest {
    /// Does something short for this generation of a thing, unless a newer one has been seen.
    pub(super) fn pass<T>(
        &self,
        id: Uuid,
        generation: u64,
        work: impl FnOnce() -> T,
    ) -> Result<T, DriverError> {
        let mut seen = self.0.lock();
        let newest = seen.entry(id).or_insert(generation);
        not_older(generation, *newest)?;
        *newest = generation;
        Ok(work())
    }

    /// The thing is gone: what is asked for it now is asked anew.
    pub(super) fn forget(&self, id: Uuid) {
        self.0.lock().remove(&id);
    }
}

/// Refuses what is older than the newest.
pub(super) fn not_older(generation: u64, newest: u64) -> Result<(), DriverError> {
    if generation < newest {
        return Err(DriverError::Stale { generation, newest });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    #[test]
    fn what_is_older_does_not_pass() {
        let newest = Newest::default();
        let passes = |generation| newest.pass(ID, generation, || ()).is_ok();
        assert!(passes(2) && passes(2) && !passes(1) && passes(3) && !passes(2));
        let error = newest.pass(ID, 1, || ()).unwrap_err().to_string();
        assert_eq!(
            error,
            "generation 1 is older than 3, which was asked for before: nothing was done"
        );
    }

    #[test]
    fn what_is_gone_is_asked_for_anew() {
        let newest = Newest::default();
        newest.pass(ID, 2, || ()).unwrap();
        newest.forget(ID);
        newest.pass(ID, 1, || ()).unwrap();
    }
}
