//! Every fault that there is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Target, millis};
use crate::world::Tier;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// With what is sent from some nodes to others. A node's messages to itself never meet it.
    Link {
        /// The senders.
        from: Target,
        /// The receivers.
        to: Target,
        /// Whether it meets what is sent the other way as well.
        both_ways: bool,
        /// What.
        trouble: LinkTrouble,
    },
    /// Nodes of different groups do not reach each other. Those of no group reach all, so that a partition can be a
    /// partial one.
    Partition {
        /// The groups.
        groups: Vec<Target>,
    },
    /// With nodes.
    Node {
        /// Whose.
        nodes: Target,
        /// What.
        trouble: NodeTrouble,
    },
    /// With the wall clocks of nodes. Time that only passes, by which nodes wait, is true.
    Clock {
        /// Whose.
        nodes: Target,
        /// What.
        trouble: ClockTrouble,
    },
    /// Between nodes and the database that they share.
    Database {
        /// Whose.
        nodes: Target,
        /// For this share of what they ask.
        percent: u8,
        /// What.
        trouble: DatabaseTrouble,
    },
    /// With the disks of nodes.
    Disk {
        /// Whose.
        nodes: Target,
        /// For this share of what is done with them.
        percent: u8,
        /// What.
        trouble: DiskTrouble,
    },
    /// With what nodes have others do, such as a hypervisor.
    Driver {
        /// Whose.
        nodes: Target,
        /// How the names of the operations begin; all do with nothing.
        operation: String,
        /// For this share of them.
        percent: u8,
        /// What.
        trouble: DriverTrouble,
    },
}

/// What goes wrong on the way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkTrouble {
    /// This share is lost.
    Loss {
        /// The share.
        percent: u8,
    },
    /// This share arrives twice.
    Duplication {
        /// The share.
        percent: u8,
    },
    /// This share is overtaken by what is sent later.
    Reordering {
        /// The share.
        percent: u8,
        /// How much later it arrives at most.
        #[serde(rename = "late_max_ms", with = "millis")]
        late_max: Duration,
    },
    /// A bit of this share is flipped.
    Corruption {
        /// The share.
        percent: u8,
    },
    /// The end of this share is cut off.
    Truncation {
        /// The share.
        percent: u8,
    },
    /// What is larger vanishes.
    MtuBlackHole {
        /// The largest that passes.
        bytes: u32,
    },
    /// All takes so much longer.
    LatencySpike {
        /// How much.
        #[serde(rename = "more_ms", with = "millis")]
        more: Duration,
    },
    /// No more than this passes; the rest waits for its turn.
    Bandwidth {
        /// From each sender to each receiver.
        bytes_per_second: u64,
    },
    /// Nothing passes.
    Cut,
    /// Nothing passes in the second half of each period.
    Flapping {
        /// The period.
        #[serde(rename = "period_ms", with = "millis")]
        period: Duration,
    },
    /// Of this share another copy arrives, long after.
    StaleCopy {
        /// The share.
        percent: u8,
        /// How long after.
        #[serde(rename = "after_ms", with = "millis")]
        after: Duration,
    },
}

/// What goes wrong with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeTrouble {
    /// It is gone with every task, and starts again when the fault ends.
    Crash,
    /// It does nothing, and knows nothing of it: when it goes on, its clock jumps, and what was sent to it is there.
    Pause,
    /// It does something in each n-th tick only.
    Slow {
        /// The n.
        every: u8,
    },
    /// It is restarted as the former release, which does not know the newest version of the wire, and restarted as the
    /// present one when the fault ends: a node of a cloud that is upgraded node by node.
    FormerWire,
}

/// What goes wrong with a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockTrouble {
    /// It is wrong by so much; less than zero is behind.
    Skew {
        /// By how much.
        ms: i64,
    },
    /// It gains so much on true time, and is set right at the end; less than zero loses.
    Drift {
        /// Parts in a million.
        ppm: i32,
    },
    /// It jumps by so much at once, and comes back little by little until the end; less than zero jumps back.
    Jump {
        /// By how much.
        ms: i64,
    },
}

/// What goes wrong between a node and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseTrouble {
    /// The node cannot reach it: nothing begins, and nothing that has begun is committed.
    Away,
    /// The connection is lost before a commit is sent: it did not happen, and the node knows.
    LostBeforeCommit,
    /// The connection is lost before a commit arrives: it did not happen, and the node does not know.
    UnknownNotApplied,
    /// The connection is lost behind a commit: it happened, and the node does not know.
    UnknownApplied,
    /// Somebody else was faster.
    Conflict,
    /// A commit takes up to so long.
    Slow {
        /// At most.
        #[serde(rename = "longest_ms", with = "millis")]
        longest: Duration,
    },
}

/// What goes wrong with a disk. A node may keep files on its [`Drive`](crate::disk::Drive).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskTrouble {
    /// It has no space: a write changes nothing and says so.
    Full,
    /// Reading fails.
    ReadsFail,
    /// A write changes nothing and says that it failed.
    WritesFail,
    /// A sync says that it failed. Of the writes that waited for it some have reached the disk, and no later sync writes
    /// the others; until the power fails the node sees all of them.
    SyncsFail,
    /// A sync takes up to so long, and what it is for is not durable before.
    SlowSync {
        /// At most.
        #[serde(rename = "longest_ms", with = "millis")]
        longest: Duration,
    },
    /// When the node crashes, a write that was not synced is lost, whatever becomes of those before and after it.
    LostWrites,
    /// When the node crashes, of a write that was not synced some sectors are kept and others lost.
    TornWrites,
}

/// What goes wrong with an operation that a driver is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverTrouble {
    /// It is not done and says so.
    Fails,
    /// It is not done and never answers.
    Hangs,
    /// It is done and says that it failed.
    Lies,
    /// It is done twice.
    Twice,
    /// It is done this much later, whether or not anybody still waits.
    Late {
        /// How much.
        #[serde(rename = "by_ms", with = "millis")]
        by: Duration,
    },
    /// The driver has forgotten all that it had.
    LosesState,
}

/// Declares the kinds, and enumerates them.
macro_rules! kinds {
    ($($kind:ident $words:literal,)*) => {
        /// A kind of fault: what a fault is, without whom it meets and how hard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FaultKind {
            $(#[doc = $words] $kind,)*
        }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its name in plain words.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $words,)*
                }
            }
        }
    };
}

kinds! {
    Loss "loss",
    Duplication "duplication",
    Reordering "reordering",
    Corruption "corruption",
    Truncation "truncation",
    MtuBlackHole "MTU black hole",
    LatencySpike "latency spike",
    Bandwidth "bandwidth",
    Cut "cut",
    OneWayCut "one-way cut",
    Flapping "flapping",
    StaleCopy "stale copy",
    Partition "partition",
    Crash "crash",
    Pause "pause",
    Slow "slow node",
    FormerWire "former wire version",
    Skew "clock skew",
    Drift "clock drift",
    Jump "clock jump",
    DatabaseAway "database away",
    LostBeforeCommit "connection lost before a commit",
    UnknownNotApplied "commit unknown, not applied",
    UnknownApplied "commit unknown, applied",
    Conflict "conflict",
    SlowCommit "slow commit",
    DiskFull "disk full",
    ReadsFail "failing reads",
    WritesFail "failing writes",
    SyncsFail "failing syncs",
    SlowSync "slow sync",
    LostWrites "lost writes",
    TornWrites "torn writes",
    DriverFails "driver fails",
    DriverHangs "driver hangs",
    DriverLies "driver lies",
    DriverTwice "driver does it twice",
    DriverLate "driver is late",
    DriverLosesState "driver loses its state",
}

impl Fault {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Link { both_ways: false, trouble: LinkTrouble::Cut, .. } => FaultKind::OneWayCut,
            Self::Link { trouble, .. } => trouble.kind(),
            Self::Partition { .. } => FaultKind::Partition,
            Self::Node { trouble, .. } => trouble.kind(),
            Self::Clock { trouble, .. } => trouble.kind(),
            Self::Database { trouble, .. } => trouble.kind(),
            Self::Disk { trouble, .. } => trouble.kind(),
            Self::Driver { trouble, .. } => trouble.kind(),
        }
    }

    /// Trouble on all links.
    #[must_use]
    pub fn everywhere(trouble: LinkTrouble) -> Self {
        Self::Link { from: Target::All, to: Target::All, both_ways: true, trouble }
    }

    /// What it does on this tier; `None` if there is nothing of the kind.
    #[must_use]
    pub fn on(&self, tier: Tier) -> Option<&'static str> {
        self.kind().on(tier)
    }
}

impl LinkTrouble {
    fn kind(self) -> FaultKind {
        match self {
            Self::Loss { .. } => FaultKind::Loss,
            Self::Duplication { .. } => FaultKind::Duplication,
            Self::Reordering { .. } => FaultKind::Reordering,
            Self::Corruption { .. } => FaultKind::Corruption,
            Self::Truncation { .. } => FaultKind::Truncation,
            Self::MtuBlackHole { .. } => FaultKind::MtuBlackHole,
            Self::LatencySpike { .. } => FaultKind::LatencySpike,
            Self::Bandwidth { .. } => FaultKind::Bandwidth,
            Self::Cut => FaultKind::Cut,
            Self::Flapping { .. } => FaultKind::Flapping,
            Self::StaleCopy { .. } => FaultKind::StaleCopy,
        }
    }
}

impl NodeTrouble {
    fn kind(self) -> FaultKind {
        match self {
            Self::Crash => FaultKind::Crash,
            Self::Pause => FaultKind::Pause,
            Self::Slow { .. } => FaultKind::Slow,
            Self::FormerWire => FaultKind::FormerWire,
        }
    }
}

impl ClockTrouble {
    fn kind(self) -> FaultKind {
        match self {
            Self::Skew { .. } => FaultKind::Skew,
            Self::Drift { .. } => FaultKind::Drift,
            Self::Jump { .. } => FaultKind::Jump,
        }
    }
}

impl DatabaseTrouble {
    fn kind(self) -> FaultKind {
        match self {
            Self::Away => FaultKind::DatabaseAway,
            Self::LostBeforeCommit => FaultKind::LostBeforeCommit,
            Self::UnknownNotApplied => FaultKind::UnknownNotApplied,
            Self::UnknownApplied => FaultKind::UnknownApplied,
            Self::Conflict => FaultKind::Conflict,
            Self::Slow { .. } => FaultKind::SlowCommit,
        }
    }
}

impl DiskTrouble {
    fn kind(self) -> FaultKind {
        match self {
            Self::Full => FaultKind::DiskFull,
            Self::ReadsFail => FaultKind::ReadsFail,
            Self::WritesFail => FaultKind::WritesFail,
            Self::SyncsFail => FaultKind::SyncsFail,
            Self::SlowSync { .. } => FaultKind::SlowSync,
            Self::LostWrites => FaultKind::LostWrites,
            Self::TornWrites => FaultKind::TornWrites,
        }
    }
}

impl DriverTrouble {
    fn kind(self) -> FaultKind {
        match self {
            Self::Fails => FaultKind::DriverFails,
            Self::Hangs => FaultKind::DriverHangs,
            Self::Lies => FaultKind::DriverLies,
            Self::Twice => FaultKind::DriverTwice,
            Self::Late { .. } => FaultKind::DriverLate,
            Self::LosesState => FaultKind::DriverLosesState,
        }
    }
}
