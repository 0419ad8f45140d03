//! Looks at a cloud again and again, reads anew only what may have changed since, and judges only what has.

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
    guests_at: Vec<Option<u64>>,
    /// The same for all that is on its machine.
    machine_at: Vec<Option<u64>>,
    /// What was broken when it was judged last, as it shall be at rest or always, until anything changes.
    judged: Option<(bool, Vec<Broken>)>,
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
        let never = vec![None; cloud.hosts().len()];
        let (guests_at, machine_at) = (never.clone(), never);
        Self { census, rows, guests_at, machine_at, judged: None }
    }

    /// Has every host looked at again: something was done to one of them, and its node had no turn meanwhile.
    pub fn look_again(&mut self) {
        self.guests_at.fill(None);
        self.machine_at.fill(None);
    }

    /// What is broken of what holds in every instant: the guests alone.
    pub fn after_step(&mut self, cloud: &SimCloud) -> Vec<Broken> {
        let mut differs = false;
        for (host, looked_at) in cloud.hosts().iter().zip(&mut self.guests_at) {
            if has_moved(looked_at, cloud, host) {
                differs |= read::update_guests(&mut self.census, cloud, host);
            }
        }
        if !differs {
            return Vec::new();
        }
        self.judged = None;
        invariants::broken_by_guests(&self.census)
    }

    /// What is broken now, or at rest.
    pub fn broken(&mut self, cloud: &SimCloud, at_rest: bool) -> Vec<Broken> {
        self.look(cloud);
        match &self.judged {
            Some((judged_at_rest, broken)) if *judged_at_rest == at_rest => broken.clone(),
            _ => {
                let broken = invariants::broken(&self.census, at_rest);
                self.judged = Some((at_rest, broken.clone()));
                broken
            }
        }
    }

    /// The cloud as it is.
    pub fn look(&mut self, cloud: &SimCloud) -> &Census {
        if cloud.world.tier() == Tier::Disks {
            // What was committed and is not durable may be gone again, and nobody is told.
            self.census = read::take(cloud);
            self.judged = None;
            return &self.census;
        }
        let mut differs = false;
        for (host, looked_at) in cloud.hosts().iter().zip(&mut self.machine_at) {
            if has_moved(looked_at, cloud, host) {
                differs |= read::update_machine(&mut self.census, cloud, host);
            }
        }
        let changes = self.rows.changed().now_or_never().unwrap_or_default();
        differs |= read::update_rows(&mut self.census, cloud, &changes);
        if differs {
            self.judged = None;
        }
        &self.census
    }
}

/// Whether a host may have done something since it was looked at.
fn has_moved(looked_at: &mut Option<u64>, cloud: &SimCloud, host: &NodeId) -> bool {
    let turns = Some(cloud.world.turns(host));
    std::mem::replace(looked_at, turns) != turns
}
