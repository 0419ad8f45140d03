//! A plan in plain words, a line for each fault.

use std::fmt;

use super::{
    ClockTrouble, DatabaseTrouble, DiskTrouble, DriverTrouble, Fault, FaultKind, FaultPlan,
    FaultStep, LinkTrouble, NodeTrouble, Target, span::Span,
};

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for FaultStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: {}", Span(self.from), Span(self.until), self.fault)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all nodes"),
            Self::Nodes(nodes) => f.write_str(&nodes.join(" and ")),
            Self::DataCentre(name) => write!(f, "data centre {name}"),
            Self::Rack(place) => write!(f, "rack {} of {}", place.rack, place.data_centre),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { from: Target::All, to: Target::All, trouble, .. } => {
                write!(f, "between all nodes, {trouble}")
            }
            Self::Link { from, to, both_ways: true, trouble } => {
                write!(f, "between {from} and {to}, {trouble}")
            }
            Self::Link { from, to, both_ways: false, trouble } => {
                write!(f, "from {from} to {to}, {trouble}")
            }
            Self::Partition { groups } => {
                let groups: Vec<_> = groups.iter().map(|group| format!("[{group}]")).collect();
                write!(f, "{} do not reach each other", groups.join(", "))
            }
            Self::Node { nodes, trouble } => write!(f, "{nodes}: {trouble}"),
            Self::Clock { nodes, trouble } => write!(f, "{nodes}: {trouble}"),
            Self::Database { nodes, percent, trouble } => {
                write!(f, "{nodes} and the database, {percent} %: {trouble}")
            }
            Self::Disk { nodes, percent, trouble } => {
                write!(f, "{nodes}, the disk, {percent} %: {trouble}")
            }
            Self::Driver { nodes, operation, percent, trouble } => {
                let operation = if operation.is_empty() { "any operation" } else { operation };
                write!(f, "{nodes}, {operation}, {percent} %: {trouble}")
            }
        }
    }
}

impl fmt::Display for LinkTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss { percent } => write!(f, "{percent} % is lost"),
            Self::Duplication { percent } => write!(f, "{percent} % arrives twice"),
            Self::Reordering { percent, late_max } => {
                write!(f, "{percent} % is overtaken, by up to {}", Span(*late_max))
            }
            Self::Corruption { percent } => write!(f, "{percent} % has a flipped bit"),
            Self::Truncation { percent } => write!(f, "{percent} % is cut short"),
            Self::MtuBlackHole { bytes } => write!(f, "what is over {bytes} bytes vanishes"),
            Self::LatencySpike { more } => write!(f, "all takes {} more", Span(*more)),
            Self::Bandwidth { bytes_per_second } => {
                write!(f, "{bytes_per_second} bytes a second pass")
            }
            Self::Cut => f.write_str("nothing passes"),
            Self::Flapping { period } => {
                write!(f, "nothing passes in the second half of every {}", Span(*period))
            }
            Self::StaleCopy { percent, after } => {
                write!(f, "a copy of {percent} % arrives {} later", Span(*after))
            }
        }
    }
}

impl fmt::Display for NodeTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => f.write_str("crash, and start again"),
            Self::Pause => f.write_str("stand still, and go on as if nothing had been"),
            Self::Slow { every } => write!(f, "do something in each {every}th step only"),
            Self::FormerWire => f.write_str("run the former release, and then this one again"),
        }
    }
}

impl fmt::Display for ClockTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skew { ms } => write!(f, "the wall clock is wrong by {ms:+} ms"),
            Self::Drift { ppm } => write!(f, "the wall clock gains {ppm:+} ppm"),
            Self::Jump { ms } => {
                write!(f, "the wall clock jumps by {ms:+} ms and comes back slowly")
            }
        }
    }
}

impl fmt::Display for DatabaseTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("it is away"),
            Self::LostBeforeCommit => f.write_str("the connection is lost before a commit"),
            Self::UnknownNotApplied => f.write_str("a commit does not happen, and nobody is told"),
            Self::UnknownApplied => f.write_str("a commit happens, and nobody is told"),
            Self::Conflict => f.write_str("a commit is in conflict"),
            Self::Slow { longest } => write!(f, "a commit takes up to {}", Span(*longest)),
        }
    }
}

impl fmt::Display for DiskTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there is no space"),
            Self::ReadsFail => f.write_str("a read fails"),
            Self::WritesFail => f.write_str("a write fails"),
            Self::SyncsFail => f.write_str("a sync fails, and of what waited for it some is lost"),
            Self::SlowSync { longest } => write!(f, "a sync takes up to {}", Span(*longest)),
            Self::LostWrites => f.write_str("a write that was not synced is lost at a crash"),
            Self::TornWrites => f.write_str("a write that was not synced is torn at a crash"),
        }
    }
}

impl fmt::Display for DriverTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fails => f.write_str("it fails"),
            Self::Hangs => f.write_str("it is not done and never answers"),
            Self::Lies => f.write_str("it is done and says that it failed"),
            Self::Twice => f.write_str("it is done twice"),
            Self::Late { by } => write!(f, "it is done {} late", Span(*by)),
            Self::LosesState => f.write_str("the driver loses all that it had"),
        }
    }
}
