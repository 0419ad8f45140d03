//! Tier 0: every reachable state of a model, within its bounds.
//!
//! A model is a start, the moves from a state, what must never be, and what counts as settled. The explorer
//! visits each state once, in breadth, so the first violation found is one of the shortest. It also proves
//! liveness of the model: from every state some run of moves leads to a settled one.
//!
//! Of a state that is done with it keeps a 128-bit hash, the move that led there and where that came from; a way is
//! told by going it again. Two states with one hash would be taken for one (for a million states the odds are below
//! 10^-26).

mod graph;
mod hash;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use hashbrown::HashMap;
use serde::Serialize;

pub use self::hash::identity;
use self::{
    graph::Graph,
    hash::{Hashed, hash},
};

/// What is explored.
pub trait Model {
    /// A state of the whole. Two are the same if they are serialized alike.
    type State: Clone + Serialize;
    /// A move, told by its text.
    type Move: fmt::Display;

    /// Where it starts.
    fn start(&self) -> Self::State;

    /// Every move from here, always in the same order.
    fn moves(&self, state: &Self::State) -> Vec<Self::Move>;

    /// The state after a move.
    fn after(&self, state: &Self::State, by: &Self::Move) -> Self::State;

    /// What must hold in every state; `Err` says what does not.
    fn check(&self, state: &Self::State) -> Result<(), String>;

    /// Whether nothing is left to do.
    fn is_settled(&self, state: &Self::State) -> bool;

    /// Names of situations worth having been in; counted in the report.
    fn marks(&self, state: &Self::State) -> Vec<&'static str> {
        let _ = state;
        Vec::new()
    }
}

/// When an exploration ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At most so many states.
    pub states_max: usize,
    /// Whether it goes on after a violation, to count how many states violate what.
    pub count_all: bool,
}

/// What an exploration found.
#[derive(Debug, Default)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Moves between them.
    pub moves: usize,
    /// Settled states.
    pub settled: usize,
    /// States in each marked situation.
    pub marks: BTreeMap<&'static str, usize>,
    /// States in which something does not hold, by what it is.
    pub violations: BTreeMap<String, usize>,
    /// The first violation, with the moves that lead to it.
    pub violation: Option<Violation>,
    /// States from which no settled one can be reached; not known unless all were visited.
    pub stuck: usize,
    /// The moves to the first of them.
    pub stuck_after: Vec<String>,
    /// Whether the bound on states ended it early: then nothing is proven.
    pub truncated: bool,
}

/// A state that must not be.
#[derive(Debug)]
pub struct Violation {
    /// What does not hold.
    pub reason: String,
    /// The moves that lead there.
    pub moves: Vec<String>,
}

struct Search<'m, M: Model> {
    model: &'m M,
    known: HashMap<u128, u32, Hashed>,
    graph: Graph,
    settled: Vec<u32>,
    queue: VecDeque<(u32, M::State)>,
    /// What a state is serialized into, again and again.
    bytes: Vec<u8>,
    first_violation: Option<(u32, String)>,
    report: Report,
}

/// Explores a model within these bounds.
pub fn explore<M: Model>(model: &M, bounds: Bounds) -> Report {
    let mut search = Search {
        model,
        known: HashMap::default(),
        graph: Graph::default(),
        settled: Vec::new(),
        queue: VecDeque::new(),
        bytes: Vec::new(),
        first_violation: None,
        report: Report::default(),
    };
    search.reach(None, model.start());
    while let Some((index, state)) = search.queue.pop_front() {
        if search.first_violation.is_some() && !bounds.count_all {
            break;
        }
        if search.graph.len() > bounds.states_max {
            search.report.truncated = true;
            break;
        }
        for (nth, by) in (0_u32..).zip(model.moves(&state)) {
            search.report.moves += 1;
            let next = model.after(&state, &by);
            search.reach(Some((index, nth)), next);
        }
    }
    search.finish()
}

impl<M: Model> Search<'_, M> {
    fn reach(&mut self, from: Option<(u32, u32)>, state: M::State) {
        let hash = hash(&state, &mut self.bytes);
        if let (Some(known), Some((from, _))) = (self.known.get(&hash), from) {
            self.graph.meet(from, *known);
            return;
        }
        let Some(index) = self.graph.add(from) else {
            self.report.truncated = true;
            return;
        };
        self.known.insert(hash, index);
        for mark in self.model.marks(&state) {
            *self.report.marks.entry(mark).or_default() += 1;
        }
        if let Err(reason) = self.model.check(&state) {
            self.first_violation.get_or_insert((index, reason.clone()));
            *self.report.violations.entry(reason).or_default() += 1;
        }
        if self.model.is_settled(&state) {
            self.settled.push(index);
        }
        self.queue.push_back((index, state));
    }

    /// The moves to a state, by going them again.
    fn path(&self, index: u32) -> Vec<String> {
        let mut state = self.model.start();
        let mut told = Vec::new();
        for nth in self.graph.path(index) {
            let Some(by) = self.model.moves(&state).into_iter().nth(nth as usize) else { break };
            told.push(by.to_string());
            state = self.model.after(&state, &by);
        }
        told
    }

    /// Walks back from the settled states; whatever is not met cannot settle.
    fn finish(mut self) -> Report {
        self.report.states = self.graph.len();
        self.report.settled = self.settled.len();
        if let Some((index, reason)) = self.first_violation.take() {
            self.report.violation = Some(Violation { reason, moves: self.path(index) });
        }
        let whole = self.queue.is_empty() && !self.report.truncated;
        if whole {
            let stuck = self.graph.cannot_reach(&self.settled);
            self.report.stuck = stuck.len();
            self.report.stuck_after =
                stuck.first().map(|first| self.path(*first)).unwrap_or_default();
        }
        self.report
    }
}
