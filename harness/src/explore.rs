//! Tier 0: every reachable state of a model, within its bounds.
//!
//! A model is a start, the moves from a state, what must never be, and what counts as settled. The explorer
//! visits each state once, in breadth, so the first violation found is one of the shortest. It also proves
//! liveness of the model: from every state some run of moves leads to a settled one. It keeps a 128-bit
//! hash of a state and not the state; two states with one hash would be taken for one (for a million states
//! the odds are below 10^-26).

use std::collections::{BTreeMap, VecDeque};

/// What is explored.
pub trait Model {
    /// A state of the whole.
    type State: Clone;

    /// Where it starts.
    fn start(&self) -> Self::State;

    /// Every move from here, by name.
    fn moves(&self, state: &Self::State) -> Vec<(String, Self::State)>;

    /// Identifies the state: equal bytes for equal states.
    fn identity(&self, state: &Self::State) -> Vec<u8>;

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
    /// The first violation, with the moves that lead to it.
    pub violation: Option<Violation>,
    /// States from which no settled one can be reached.
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

struct Visited {
    parent: u32,
    name: String,
}

struct Search<'m, M: Model> {
    model: &'m M,
    known: BTreeMap<u128, u32>,
    visited: Vec<Visited>,
    before: Vec<Vec<u32>>,
    settled: Vec<u32>,
    queue: VecDeque<(u32, M::State)>,
    report: Report,
}

/// Explores a model, at most `states_max` states of it.
pub fn explore<M: Model>(model: &M, states_max: usize) -> Report {
    let mut search = Search {
        model,
        known: BTreeMap::new(),
        visited: Vec::new(),
        before: Vec::new(),
        settled: Vec::new(),
        queue: VecDeque::new(),
        report: Report::default(),
    };
    search.reach(None, String::new(), model.start());
    while let Some((index, state)) = search.queue.pop_front() {
        if search.report.violation.is_some() {
            break;
        }
        if search.visited.len() > states_max {
            search.report.truncated = true;
            break;
        }
        for (name, next) in model.moves(&state) {
            search.report.moves += 1;
            search.reach(Some(index), name, next);
        }
    }
    search.finish()
}

impl<M: Model> Search<'_, M> {
    fn reach(&mut self, from: Option<u32>, name: String, state: M::State) {
        let hash = hash(&self.model.identity(&state));
        if let Some(index) = self.known.get(&hash) {
            self.before[*index as usize].extend(from);
            return;
        }
        let Ok(index) = u32::try_from(self.visited.len()) else { return };
        self.known.insert(hash, index);
        self.visited.push(Visited { parent: from.unwrap_or(index), name });
        self.before.push(from.into_iter().collect());
        for mark in self.model.marks(&state) {
            *self.report.marks.entry(mark).or_default() += 1;
        }
        if let (Err(reason), None) = (self.model.check(&state), &self.report.violation) {
            self.report.violation = Some(Violation { reason, moves: self.path(index) });
        }
        if self.model.is_settled(&state) {
            self.settled.push(index);
        }
        self.queue.push_back((index, state));
    }

    fn path(&self, mut index: u32) -> Vec<String> {
        let mut moves = Vec::new();
        while self.visited[index as usize].parent != index {
            moves.push(self.visited[index as usize].name.clone());
            index = self.visited[index as usize].parent;
        }
        moves.reverse();
        moves
    }

    /// Walks back from the settled states; whatever is not met cannot settle.
    fn finish(mut self) -> Report {
        let mut can_settle = vec![false; self.visited.len()];
        let mut queue: VecDeque<u32> = self.settled.iter().copied().collect();
        while let Some(index) = queue.pop_front() {
            if !std::mem::replace(&mut can_settle[index as usize], true) {
                queue.extend(&self.before[index as usize]);
            }
        }
        self.report.states = self.visited.len();
        self.report.settled = self.settled.len();
        if self.report.violation.is_none() && !self.report.truncated {
            self.report.stuck = can_settle.iter().filter(|can| !**can).count();
            let first = can_settle.iter().position(|can| !can);
            if let Some(first) = first.and_then(|first| u32::try_from(first).ok()) {
                self.report.stuck_after = self.path(first);
            }
        }
        self.report
    }
}

/// FNV-1a of 128 bits.
fn hash(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}
