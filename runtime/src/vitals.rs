//! How a node does, in numbers: what it handles and how long that takes, what it asks and how that ends, what waits.
//!
//! Owns the counts that grow while the node lives, and the [`Report`] that is made of them when somebody looks: a
//! table on a screen, or a scrape in Prometheus's format ([`export`]). Counting costs a few atomic additions a message;
//! nothing is kept that grows with the number of messages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_transport::NodeId;

use crate::{
    message, protocol, rows,
    rpc::{CallError, Outcome, Service},
};

pub mod export;

/// The topic by which a node tells how it does.
pub const TOPIC: &str = "vitals";

/// What every node understands of it.
pub struct Reporting;
protocol!(Reporting = TOPIC);

/// Upper bounds of the buckets in which the times of handlers are counted, in microseconds; what takes longer is in
/// the count alone.
pub const BUCKETS_US: [u64; 8] = [100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// How messages of one method ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// With a reply; a cast, when it was carried out or queued.
    pub replied: u64,
    /// With the handler's no.
    pub rejected: u64,
    /// Before they were begun.
    pub refused: u64,
    /// Nobody knows how.
    pub unknown: u64,
}

#[derive(Default)]
struct CountedEnds {
    replied: AtomicU64,
    rejected: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
}

impl CountedEnds {
    fn now(&self) -> Ends {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Ends {
            replied: read(&self.replied),
            rejected: read(&self.rejected),
            refused: read(&self.refused),
            unknown: read(&self.unknown),
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// What is counted of the messages of one method that this node handles.
#[derive(Default)]
pub(crate) struct Handled {
    ends: CountedEnds,
    total_us: AtomicU64,
    slowest_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS_US.len()],
}

impl Handled {
    pub(crate) fn ended(&self, outcome: &Outcome, took: Duration) {
        let (ends, took_us) = (&self.ends, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        add(
            match outcome {
                Outcome::Reply(_) => &ends.replied,
                Outcome::Rejected(_) => &ends.rejected,
                Outcome::Refused(_) => &ends.refused,
                Outcome::Unknown(_) => &ends.unknown,
            },
            1,
        );
        add(&self.total_us, took_us);
        self.slowest_us.fetch_max(took_us, Ordering::Relaxed);
        let within = BUCKETS_US.iter().position(|bound| took_us <= *bound);
        if let Some(bucket) = within.and_then(|index| self.buckets.get(index)) {
            add(bucket, 1);
        }
    }
}

#[derive(Default)]
struct Counted {
    handled: Mutex<BTreeMap<&'static str, Arc<Handled>>>,
    asked: Mutex<BTreeMap<&'static str, CountedEnds>>,
    duplicates: AtomicU64,
    alarms: rows::Board,
}

/// What a node counts; clones count together.
#[derive(Clone, Default)]
pub(crate) struct Vitals(Arc<Counted>);

impl Vitals {
    /// Where what is handled of a method is counted.
    pub(crate) fn handled(&self, method: &'static str) -> Arc<Handled> {
        self.0.handled.lock().entry(method).or_default().clone()
    }

    /// Counts the end of a message that this node sent.
    pub(crate) fn asked<T>(&self, method: &'static str, outcome: &Result<T, CallError>) {
        let mut asked = self.0.asked.lock();
        let ends = asked.entry(method).or_default();
        add(
            match outcome {
                Ok(_) => &ends.replied,
                Err(CallError::Rejected(_)) => &ends.rejected,
                Err(CallError::Refused { .. }) => &ends.refused,
                Err(CallError::Unknown { .. }) => &ends.unknown,
            },
            1,
        );
    }

    /// Counts a message that had been seen before.
    pub(crate) fn duplicate(&self) {
        add(&self.0.duplicates, 1);
    }

    /// Where the engines of this node show their alarms.
    pub(crate) fn alarms(&self) -> &rows::Board {
        &self.0.alarms
    }

    pub(crate) fn handlers(&self) -> Vec<Handler> {
        let read = |(method, handled): (&&'static str, &Arc<Handled>)| Handler {
            method: (*method).to_owned(),
            ends: handled.ends.now(),
            total_us: handled.total_us.load(Ordering::Relaxed),
            slowest_us: handled.slowest_us.load(Ordering::Relaxed),
            buckets: handled.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
        };
        self.0.handled.lock().iter().map(read).collect()
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        let asked = self.0.asked.lock();
        let read = |(method, ends): (&&'static str, &CountedEnds)| Question {
            method: (*method).to_owned(),
            ends: ends.now(),
        };
        asked.iter().map(read).collect()
    }

    pub(crate) fn duplicates(&self) -> u64 {
        self.0.duplicates.load(Ordering::Relaxed)
    }
}

/// What a node handles of one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// The method.
    pub method: String,
    /// How it ended.
    pub ends: Ends,
    /// All its handlers took together, in microseconds.
    pub total_us: u64,
    /// The slowest of them, in microseconds.
    pub slowest_us: u64,
    /// How many took at most as long as each of [`BUCKETS_US`], and longer than the one before.
    pub buckets: Vec<u64>,
}

/// What a node asks others by one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The method.
    pub method: String,
    /// How it ended.
    pub ends: Ends,
}

/// A service's mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// The service's topic, and the name of a spawned actor.
    pub topic: String,
    /// Messages begun or queued in it.
    pub depth: u64,
}

/// A node's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Those that stand.
    pub up: u64,
    /// Those that came to stand, so far.
    pub opened: u64,
    /// Dials after which none stood.
    pub dials_failed: u64,
    /// Peers refused, by reason.
    pub refused: Vec<(String, u64)>,
    /// Of each class of streams: its name, frames and bytes sent, frames and bytes received, frames dropped, and frames
    /// that wait now.
    pub classes: Vec<(String, [u64; 6])>,
}

/// How a node does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node.
    pub node: NodeId,
    /// How often it has started.
    pub incarnation: u64,
    /// How long it runs, in milliseconds.
    pub runs_ms: u64,
    /// Its calls that wait for an outcome.
    pub calls_in_flight: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Members of the cloud that it takes to live.
    pub members: u64,
    /// Its services.
    pub mailboxes: Vec<Mailbox>,
    /// What it handles.
    pub handlers: Vec<Handler>,
    /// What it asks.
    pub questions: Vec<Question>,
    /// Its connections.
    pub links: Links,
    /// Its rows that do not settle, by kind.
    pub alarms: Vec<rows::Report>,
}

/// "How do you do?"
#[derive(Debug, Serialize, Deserialize)]
pub struct Ask;
message!(call Ask = Reporting / "ask", Fenced, from ["control"], to ["*"], reply Report,
    deadline_ms 1_000);

/// Lets control nodes ask.
pub(crate) fn service(report: impl Fn() -> Report + Send + Sync + 'static) -> Service {
    let handlers = Service::of::<Reporting>().call(move |_, Ask| {
        let report = report();
        async move { Ok(report) }
    });
    handlers.into()
}
