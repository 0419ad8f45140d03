//! The fault points of a run: each message, each commit, each operation of a driver; and one thing that goes
//! wrong at one of them.
//!
//! Owns the numbering. Everything follows from one seed, so a point has the same number in every run until
//! something goes wrong. A node that is to crash at a point does nothing more from that instant on, although
//! it is taken off the network only at the end of the simulation's step: its frames vanish, its commits and
//! its drivers do nothing.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_harness::{
    fault::DriverTrouble,
    world::{Verdict, World},
};
use updraft_runtime::store::CommitFate;
use updraft_transport::{Frame, Kind, NodeId};

use crate::cloud::{Fault, Menu, Point, SimCloud};

/// Beyond every deadline, of calls (10 s) and of drivers (30 s).
pub const DELAY: Duration = Duration::from_secs(45);

/// A message has arrived by then, and its handler has begun.
const ARRIVED: Duration = Duration::from_millis(6);

/// How long the receiver of a call may take to answer, when it is to crash before it does.
const ANSWERS: Duration = Duration::from_secs(2);

/// How long a crashed node is down.
const DOWN: Duration = Duration::from_secs(2);

/// What goes wrong at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wrong {
    /// The message never arrives.
    Lost,
    /// The message arrives twice; the driver does it twice.
    Doubled,
    /// It happens later than anybody waits.
    Delayed,
    /// Whoever sent, committed or asked for it crashes when that is done, and comes back.
    SenderCrashes,
    /// Whoever gets it crashes before it has answered, and comes back.
    ReceiverCrashes,
    /// It is committed, and whoever committed is not told.
    UnknownApplied,
    /// It is not committed, and whoever committed is not told.
    UnknownNotApplied,
    /// The driver does nothing and says that it failed.
    Fails,
    /// The driver does it and says that it failed.
    Lies,
}

use Wrong::{
    Delayed, Doubled, Fails, Lies, Lost, ReceiverCrashes, SenderCrashes, UnknownApplied,
    UnknownNotApplied,
};

/// What can go wrong at a point of this name.
#[must_use]
pub fn menu_of(point: &str) -> &'static [Wrong] {
    match point.split(' ').next().unwrap_or_default() {
        "commit" => &[UnknownApplied, UnknownNotApplied, SenderCrashes],
        "driver" => &[Fails, Lies, Doubled, Delayed, SenderCrashes],
        _ => &[Lost, Doubled, Delayed, SenderCrashes, ReceiverCrashes],
    }
}

/// Counts the points as they come, and does one thing wrong at one of them; clones share the count.
#[derive(Clone, Default)]
pub struct Points(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    counting: bool,
    names: Vec<String>,
    target: Option<(usize, Wrong)>,
    happened: Option<Happened>,
    /// The node that does nothing more.
    doomed: Option<NodeId>,
    crash_at: Option<(Duration, NodeId)>,
    /// What the calls of the latest answers were, by caller and id.
    calls: BTreeMap<(NodeId, u64), String>,
    /// Caller, callee and id of the call whose answer the callee does not live to send.
    unanswered: Option<(NodeId, NodeId, u64)>,
    now: Duration,
    violation: Option<String>,
}

/// What went wrong in a run, as those saw it who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// At which point.
    pub point: String,
    /// What.
    pub wrong: Wrong,
    /// Who crashed, if anybody did.
    pub crashed: Option<String>,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.wrong, self.point)?;
        self.crashed.as_ref().map_or(Ok(()), |node| write!(f, ", {node} crashed"))
    }
}

impl Points {
    /// Does this wrong at the point of this number, or nothing.
    #[must_use]
    pub fn new(target: Option<(usize, Wrong)>) -> Self {
        let points = Self::default();
        points.0.lock().target = target;
        points
    }

    /// What the database and the drivers of a cloud ask.
    #[must_use]
    pub fn menu(&self) -> Menu {
        let points = self.clone();
        Menu::new(move |point| points.decide(point))
    }

    /// Begins to count, and to watch that what must always hold does.
    pub fn begin(&self, cloud: &mut SimCloud, always: impl FnMut(&World) -> Vec<String> + 'static) {
        let points = self.clone();
        let decide = move |from: &NodeId, to: &NodeId, frame: &Frame| points.frame(from, to, frame);
        cloud.world.network().intercept(decide);
        self.watch(cloud, always);
        self.0.lock().counting = true;
    }

    /// Counts no further.
    pub fn end(&self) {
        self.0.lock().counting = false;
    }

    /// The points so far.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.lock().names.clone()
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub fn happened(&self) -> Option<Happened> {
        self.0.lock().happened.clone()
    }

    /// What did not hold at some moment.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        self.0.lock().violation.clone()
    }

    fn decide(&self, point: &Point) -> Option<Fault> {
        let (Point::Commit { node, .. } | Point::Driver { host: node, .. }) = point;
        let mut inner = self.0.lock();
        if inner.doomed.as_ref().is_some_and(|doomed| doomed.as_str() == node) {
            return Some(match point {
                Point::Commit { .. } => Fault::Commit(CommitFate::Unavailable),
                Point::Driver { .. } => Fault::Driver(DriverTrouble::Fails),
            });
        }
        let name = match point {
            Point::Commit { node, keys } => format!("commit {node} {}", of_tables(keys)),
            Point::Driver { host, name } => format!("driver {host} {name}"),
        };
        match inner.reach(name)? {
            UnknownApplied => Some(Fault::Commit(CommitFate::UnknownApplied)),
            UnknownNotApplied => Some(Fault::Commit(CommitFate::UnknownNotApplied)),
            Fails => Some(Fault::Driver(DriverTrouble::Fails)),
            Lies => Some(Fault::Driver(DriverTrouble::Lies)),
            Doubled => Some(Fault::Driver(DriverTrouble::Twice)),
            Delayed => Some(Fault::Driver(DriverTrouble::Late { by: DELAY })),
            Lost | SenderCrashes | ReceiverCrashes => {
                inner.doomed = NodeId::new(node).ok();
                None
            }
        }
    }

    fn frame(&self, from: &NodeId, to: &NodeId, frame: &Frame) -> Verdict {
        let (header, mut inner) = (&frame.header, self.0.lock());
        if inner.doomed.as_ref() == Some(from) {
            return Verdict::Drop;
        }
        let answered = (to.clone(), from.clone(), header.id);
        if header.kind == Kind::Reply && inner.unanswered.as_ref() == Some(&answered) {
            inner.unanswered = None;
            inner.doomed = Some(from.clone());
            return Verdict::Drop;
        }
        let method = match header.kind {
            Kind::Call => {
                inner.calls.insert((from.clone(), header.id), header.method.to_string());
                header.method.to_string()
            }
            Kind::Reply => inner.calls.remove(&(to.clone(), header.id)).unwrap_or_default(),
            _ => header.method.to_string(),
        };
        // Heartbeats are no step of the flow, and what was asked before it is none either.
        if method.starts_with("directory/") || method.is_empty() {
            return Verdict::Pass;
        }
        let kind = format!("{:?}", header.kind).to_lowercase();
        let name = match from == to {
            true => format!("local {kind} {method} {from}"),
            false => format!("{kind} {method} {from}>{to}"),
        };
        match inner.reach(name) {
            Some(Lost) => Verdict::Drop,
            Some(Doubled) => Verdict::Double,
            Some(Delayed) => Verdict::Delay(DELAY),
            Some(SenderCrashes) => {
                inner.doomed = Some(from.clone());
                Verdict::Pass
            }
            Some(ReceiverCrashes) => {
                let (wait, at) = match header.kind {
                    Kind::Call => (ANSWERS, Some((from.clone(), to.clone(), header.id))),
                    _ => (ARRIVED, None),
                };
                inner.unanswered = at;
                inner.crash_at = Some((inner.now + wait, to.clone()));
                Verdict::Pass
            }
            _ => Verdict::Pass,
        }
    }

    /// After every step: crashes and restarts whom the point says, and looks at what must always hold.
    fn watch(&self, cloud: &mut SimCloud, mut always: impl FnMut(&World) -> Vec<String> + 'static) {
        let points = self.clone();
        let mut restart: Option<(NodeId, Duration)> = None;
        cloud.world.watch(move |world| {
            let now = world.now();
            if let Some(node) = points.to_crash(now) {
                world.crash(&node);
                restart = Some((node, now + DOWN));
            }
            if let Some((node, _)) = restart.take_if(|(_, at)| *at <= now) {
                world.start(&node);
            }
            let broken = always(world);
            let mut inner = points.0.lock();
            if let Some(broken) = broken.into_iter().next() {
                inner.violation.get_or_insert(format!("{broken} at {now:?}"));
            }
        });
    }

    /// Who is to be taken off the network now.
    fn to_crash(&self, now: Duration) -> Option<NodeId> {
        let mut inner = self.0.lock();
        inner.now = now;
        let late = inner.crash_at.take_if(|(at, _)| *at <= now).map(|(_, node)| node);
        let node = inner.doomed.take().or(late)?;
        (inner.crash_at, inner.unanswered) = (None, None);
        if let Some(happened) = &mut inner.happened {
            happened.crashed = Some(node.to_string());
        }
        Some(node)
    }
}

impl Inner {
    /// Counts a point; returns what goes wrong at it.
    fn reach(&mut self, name: String) -> Option<Wrong> {
        if !self.counting {
            return None;
        }
        let number = self.names.len();
        self.names.push(name.clone());
        let (_, wrong) = self.target.filter(|(at, _)| *at == number)?;
        self.happened = Some(Happened { point: name, wrong, crashed: None });
        Some(wrong)
    }
}

/// The tables that a commit writes; the keys hold ids.
fn of_tables(keys: &[String]) -> String {
    let mut tables: Vec<String> =
        keys.iter().map(|key| key.split('/').take(2).collect::<Vec<_>>().join("/")).collect();
    tables.dedup();
    tables.join("+")
}

/// Who must have crashed for this to have gone wrong at this point; an empty name is nobody.
#[must_use]
pub fn must_crash(point: &str, wrong: Wrong) -> Option<&str> {
    let words: Vec<&str> = point.split(' ').collect();
    let (from, to) = match (words.first().copied()?, words.as_slice()) {
        ("local", [.., node]) => (*node, *node),
        ("commit" | "driver", [_, node, ..]) => (*node, *node),
        (_, [.., ends]) => ends.split_once('>')?,
        _ => return None,
    };
    match wrong {
        SenderCrashes => Some(from),
        ReceiverCrashes => Some(to),
        _ => None,
    }
}
