//! What goes wrong with the disks of nodes.

use std::{io, time::Duration};

use rand::Rng;

use super::{DiskTrouble, Fault, FaultKind, Faults, faults::Inner};

/// How long a sync takes at most while nothing is wrong.
const SYNCED_WITHIN: Duration = Duration::from_millis(4);

/// What is done with a disk when something may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDisk {
    Read,
    Write,
    /// A file goes, which needs no space.
    Remove,
    Sync,
    /// The power fails, for one write that was not synced.
    Crash,
}

/// What has gone wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskStruck {
    trouble: DiskTrouble,
    /// For [`DiskTrouble::SlowSync`].
    takes: Duration,
}

impl DiskTrouble {
    fn meets(self, what: OnDisk) -> bool {
        matches!(
            (self, what),
            (Self::Full | Self::WritesFail, OnDisk::Write)
                | (Self::WritesFail, OnDisk::Remove)
                | (Self::ReadsFail, OnDisk::Read)
                | (Self::SyncsFail | Self::SlowSync { .. }, OnDisk::Sync)
                | (Self::LostWrites | Self::TornWrites, OnDisk::Crash)
        )
    }
}

impl DiskStruck {
    pub(crate) fn is_torn(self) -> bool {
        self.trouble == DiskTrouble::TornWrites
    }

    /// What the node is told, and how long it takes.
    pub(crate) fn outcome(self) -> io::Result<Duration> {
        match self.trouble {
            DiskTrouble::Full => Err(io::ErrorKind::StorageFull.into()),
            DiskTrouble::SlowSync { .. } => Ok(self.takes),
            other => Err(io::Error::other(format!("the disk is broken: {other}"))),
        }
    }
}

impl Faults {
    /// What goes wrong with the disk of a node that does this.
    pub(crate) fn on_disk(&self, node: &str, what: OnDisk) -> Option<DiskStruck> {
        let mut inner = self.inner.lock();
        if inner.present.is_empty() {
            return None;
        }
        inner.on_disk(node, what)
    }

    /// Heads or tails, for the node's disk.
    pub(crate) fn coin_of_disk(&self, node: &str) -> bool {
        self.inner.lock().chance(FaultKind::TornWrites, node).random()
    }

    /// The disk of a node syncs, for so long more than usual, behind what it works on already; returns when it is done.
    pub(crate) fn disk_syncs(&self, node: &str, more: Duration) -> Duration {
        let mut inner = self.inner.lock();
        let usual =
            inner.chance(FaultKind::SlowSync, node).random_range(Duration::ZERO..=SYNCED_WITHIN);
        let now = inner.now;
        let busy = inner.busy.entry(node.to_owned()).or_default();
        *busy += usual + more;
        now + *busy
    }

    /// When the disk of a node has done what it works on.
    pub(crate) fn disk_ready_at(&self, node: &str) -> Duration {
        let inner = self.inner.lock();
        inner.now + inner.busy.get(node).copied().unwrap_or_default()
    }

    /// How long the disk of a node has worked since this was last asked: whoever had it work waits for it now.
    pub(crate) fn take_busy(&self, node: &str) -> Duration {
        self.inner.lock().busy.remove(node).unwrap_or_default()
    }
}

impl Inner {
    fn on_disk(&mut self, node: &str, what: OnDisk) -> Option<DiskStruck> {
        let steps = std::mem::take(&mut self.present);
        let struck = steps.iter().find_map(|step| match &step.fault {
            Fault::Disk { nodes, percent, trouble } => (trouble.meets(what)
                && step.fault.on(self.tier).is_some()
                && self.topology.holds(nodes, node)
                && self.strikes(step.fault.kind(), node, *percent))
            .then_some(*trouble),
            _ => None,
        });
        self.present = steps;
        let trouble = struck?;
        let takes = match trouble {
            DiskTrouble::SlowSync { longest } => {
                longest.mul_f64(self.chance(FaultKind::SlowSync, node).random::<f64>())
            }
            _ => Duration::ZERO,
        };
        Some(DiskStruck { trouble, takes })
    }
}
