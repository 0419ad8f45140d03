//! What tests of servers look at: rows of compute, and what runs on all hosts.

use std::{collections::BTreeSet, time::Duration};

use updraft_protocol::hypervisor::PowerState;
use updraft_runtime::store::Record;
use uuid::Uuid;

use super::{Machine, SimCloud};

/// More rows than a test makes.
const ROWS_MAX: usize = 1_000;

impl SimCloud {
    /// All rows of a kind that compute stores.
    ///
    /// # Panics
    ///
    /// When the database does not answer.
    pub fn compute_rows<R: Record>(&mut self) -> Vec<R> {
        let Some(database) = self.database() else { panic!("there is no database") };
        let (database, node) = (database.scoped("compute/"), self.controls()[0].clone());
        let read = async move { database.read(|txn| txn.scan::<R>(None, ROWS_MAX)).await };
        let rows = self.world.on(&node, Duration::from_secs(1), read);
        let Some(Ok(rows)) = rows else { panic!("the rows of {} are not read", R::TABLE) };
        rows
    }

    /// The machines of all hosts.
    #[must_use]
    pub fn machines(&self) -> Vec<Machine> {
        self.hosts().iter().filter_map(|host| self.machine(host)).collect()
    }

    /// Looks in every instant whether a guest runs twice.
    pub fn never_runs_twice(&mut self) {
        let machines = self.machines();
        self.world.watch(move |_| drop(running(&machines)));
    }
}

/// The guests that run.
///
/// # Panics
///
/// When one runs twice.
#[must_use]
pub fn running(machines: &[Machine]) -> BTreeSet<Uuid> {
    let mut running = BTreeSet::new();
    for guest in machines.iter().flat_map(|machine| machine.guests.guests()) {
        let runs = guest.power == PowerState::Running;
        assert!(!runs || running.insert(guest.guest.guest), "a guest runs twice");
    }
    running
}
