//! Looks at a cloud again and again, and reads anew only what may have changed since.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use updraft_harness::world::Tier;
use updraft_runtime::store::Watch;
use updraft_transport::NodeId;

use super::{Census, read};
use crate::{
    cloud::SimCloud,
    invariants::{self, Broken},
};

/// What was seen last.
pub struct Audit {
    census: Census,
    rows: Watch,
    /// How many turns each host had had when its guests were looked at.
    guests_at: BTreeMap<NodeId, u64>,
    /// The same for all that is on its machine.
    machine_at: BTreeMap<NodeId, u64>,
}

impl Audit {
    /// Looks for the first time.
    ///
    /// # Panics
    /// If there is no database yet, or a row is not what its table's rows are; also later.
    #[must_use]
    pub fn begin(cloud: &SimCloud) -> Self {
        let Some(database) = cloud.database() else { panic!("there is no database") };
        let (rows, census) = (database.watch(""), read::take(cloud));
        Self { census, rows, guests_at: BTreeMap::new(), machine_at: BTreeMap::new() }
    }

    /// What is broken of what holds in every instant: the guests alone.
    pub fn after_step(&mut self, cloud: &SimCloud) -> Vec<Broken> {
        let mut differs = false;
        for host in cloud.hosts() {
            if has_moved(&mut self.guests_at, cloud, host) {
                differs |= read::update_guests(&mut self.census, cloud, host);
            }
        }
        if differs { invariants::broken_by_guests(&self.census) } else { Vec::new() }
    }

    /// What is broken now, or at rest.
    pub fn broken(&mut self, cloud: &SimCloud, at_rest: bool) -> Vec<Broken> {
        invariants::broken(self.look(cloud), at_rest)
    }

    /// The cloud as it is.
    pub fn look(&mut self, cloud: &SimCloud) -> &Census {
        if cloud.world.tier() == Tier::Disks {
            // What was committed and is not durable may be gone again, and nobody is told.
            self.census = read::take(cloud);
            return &self.census;
        }
        for host in cloud.hosts() {
            if has_moved(&mut self.machine_at, cloud, host) {
                read::update_machine(&mut self.census, cloud, host);
            }
        }
        let changes = self.rows.changed().now_or_never().unwrap_or_default();
        read::update_rows(&mut self.census, cloud, &changes);
        &self.census
    }
}

/// Whether a host may have done something since then.
fn has_moved(since: &mut BTreeMap<NodeId, u64>, cloud: &SimCloud, host: &NodeId) -> bool {
    let turns = cloud.world.turns(host);
    since.insert(host.clone(), turns) != Some(turns)
}
