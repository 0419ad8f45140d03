//! What goes wrong between the nodes of a world and the database that they share.

use std::{sync::Arc, time::Duration};

use rand::Rng;
use updraft_runtime::store::{BeginFate, CommitFate, StoreFaults};
use updraft_transport::NodeId;

use super::{DatabaseTrouble, Fault, FaultKind, Faults, faults::Inner};

impl Faults {
    /// What a node has to give its handle on the store.
    #[must_use]
    pub fn of_database(&self, node: &NodeId) -> Arc<dyn StoreFaults> {
        Arc::new(Client { faults: self.clone(), node: node.to_string() })
    }
}

struct Client {
    faults: Faults,
    node: String,
}

impl Client {
    /// The first trouble of these that strikes now.
    fn strikes(&self, may: impl Fn(DatabaseTrouble) -> bool) -> Option<DatabaseTrouble> {
        self.faults.inner.lock().database(&self.node, may)
    }

    fn part_of(&self, longest: Duration) -> Duration {
        let mut inner = self.faults.inner.lock();
        longest.mul_f64(inner.chance(FaultKind::SlowCommit, &self.node).random::<f64>())
    }
}

impl Inner {
    fn database(
        &mut self,
        node: &str,
        may: impl Fn(DatabaseTrouble) -> bool,
    ) -> Option<DatabaseTrouble> {
        let steps = std::mem::take(&mut self.present);
        let struck = steps.iter().find_map(|step| match &step.fault {
            Fault::Database { nodes, percent, trouble } => (may(*trouble)
                && self.topology.holds(nodes, node)
                && self.strikes(step.fault.kind(), node, *percent))
            .then_some(*trouble),
            _ => None,
        });
        self.present = steps;
        struck
    }
}

impl StoreFaults for Client {
    fn on_begin(&self) -> BeginFate {
        match self.strikes(|trouble| trouble == DatabaseTrouble::Away) {
            Some(_) => BeginFate::Unavailable,
            None => BeginFate::Proceed,
        }
    }

    fn on_commit(&self, _: &[Arc<str>]) -> CommitFate {
        match self.strikes(|_| true) {
            None => CommitFate::Proceed,
            Some(DatabaseTrouble::Away | DatabaseTrouble::LostBeforeCommit) => {
                CommitFate::Unavailable
            }
            Some(DatabaseTrouble::UnknownNotApplied) => CommitFate::UnknownNotApplied,
            Some(DatabaseTrouble::UnknownApplied) => CommitFate::UnknownApplied,
            Some(DatabaseTrouble::Conflict) => CommitFate::Conflict,
            Some(DatabaseTrouble::Slow { longest }) => CommitFate::Delay(self.part_of(longest)),
        }
    }
}
