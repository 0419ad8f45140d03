//! What a measuring process is told, and what it answers.

use serde::{Deserialize, Serialize};

/// What the process that answers calls is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serve {
    /// What carries the messages.
    pub peer: String,
    /// Where its broker listens, if it has one.
    pub broker: Option<String>,
    /// A folder that all processes of the run see.
    pub folder: String,
}

/// What the process that calls is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drive {
    /// What carries the messages.
    pub peer: String,
    /// What the process that answers has announced.
    pub address: String,
    /// A folder that all processes of the run see.
    pub folder: String,
    /// The processes on the other side: whoever answers, and a broker with its children.
    pub processes: Vec<i32>,
    /// What to measure.
    pub job: Job,
}

/// One thing to measure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Calls over one connection.
    Load(Load),
    /// Connections made one after the other, each up to its first answer.
    SetUp {
        /// How many.
        times: u32,
    },
    /// Connections that stay open and idle.
    Idle {
        /// How many.
        count: u32,
    },
    /// Messages that nobody answers, as fast as they are taken.
    Casts(Load),
    /// One large body in pieces.
    Bulk {
        /// Its size.
        bytes: u64,
    },
    /// Actors that wait for messages.
    Actors {
        /// How many.
        count: u32,
        /// Whether each is a service with a topic of its own, and not a bare actor.
        services: bool,
    },
}

/// A steady load.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// How many calls wait at once.
    pub in_flight: u32,
    /// The size of each body, there and back.
    pub body_bytes: usize,
    /// How long it is measured.
    pub seconds: f64,
}

/// What was seen under a load.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Messages in a second.
    pub per_second: f64,
    /// How long calls took; casts and pieces of a body are not timed one by one.
    pub latency: Option<Latency>,
    /// Processor time for each, of the process that calls.
    pub caller_cpu_us: f64,
    /// The same of all processes on the other side.
    pub other_cpu_us: f64,
}

/// How long calls took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them were faster.
    pub p50_us: f64,
    /// 99 of 100 were.
    pub p99_us: f64,
    /// 999 of 1,000 were.
    pub p999_us: f64,
}

impl Sample {
    /// Processor time for each message, of everybody who takes part.
    #[must_use]
    pub fn cpu_us(&self) -> f64 {
        self.caller_cpu_us + self.other_cpu_us
    }
}

/// How long a connection took up to its first answer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SetUp {
    /// The median.
    pub p50_us: f64,
    /// 99 of 100 were faster.
    pub p99_us: f64,
}

/// What idle things hold in memory, each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Idle {
    /// On the side that was asked to hold them.
    pub bytes: f64,
    /// On the side that made them, if that is another process.
    pub maker_bytes: Option<f64>,
}
