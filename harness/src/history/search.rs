//! The search for an order, after Wing and Gong (1993) with the memory of Lowe (2017): a set of operations that have
//! happened and the state that they leave are looked at once.

use std::collections::BTreeSet;

use super::{NotLinearizable, Noted, Spec};

/// How far is looked before it is given up: some seconds.
const STEPS_MAX: usize = 2_000_000;

/// Which operations have happened, a bit for each.
type Happened = Vec<u64>;

/// A place in the search: the state that is left, and what may come next.
struct Place<S: Spec> {
    state: S::State,
    /// The operation that led here.
    last: Option<usize>,
    next: std::vec::IntoIter<usize>,
}

struct Search<'a, S: Spec> {
    noted: &'a [Noted<S>],
    happened: Happened,
    /// How many of those that have returned have not happened yet.
    left: usize,
    seen: BTreeSet<(Happened, S::State)>,
    path: Vec<Place<S>>,
    /// The fewest that were ever left, the state then, and what might have come next.
    furthest: (usize, S::State, Vec<usize>),
}

/// Whether some order explains these operations.
pub(super) fn order<S: Spec>(
    noted: &[Noted<S>],
    initial: &S::State,
) -> Result<(), NotLinearizable> {
    let mut search = Search::new(noted, initial);
    for _ in 0..STEPS_MAX {
        if search.left == 0 {
            return Ok(());
        }
        if !search.step() {
            return Err(search.no_order());
        }
    }
    Err(NotLinearizable::Undecided { operations: noted.len(), steps: STEPS_MAX })
}

impl<'a, S: Spec> Search<'a, S> {
    fn new(noted: &'a [Noted<S>], initial: &S::State) -> Self {
        let left = noted.iter().filter(|noted| noted.returned.is_some()).count();
        let mut search = Self {
            noted,
            happened: vec![0; noted.len().div_ceil(64)],
            left,
            seen: BTreeSet::new(),
            path: Vec::new(),
            furthest: (usize::MAX, initial.clone(), Vec::new()),
        };
        search.enter(initial.clone(), None);
        search
    }

    fn has_happened(&self, which: usize) -> bool {
        self.happened[which / 64] & (1 << (which % 64)) != 0
    }

    /// What may come next: what was called before anything that is left has returned.
    fn candidates(&self) -> Vec<usize> {
        let left = || (0..self.noted.len()).filter(|which| !self.has_happened(*which));
        let returned = |which: usize| self.noted[which].returned.as_ref().map(|(at, _)| *at);
        let first_return = left().filter_map(returned).min().unwrap_or(usize::MAX);
        let mut next: Vec<usize> =
            left().filter(|which| self.noted[*which].called < first_return).collect();
        // Those that must have happened first: the others may as well happen later.
        next.sort_by_key(|which| returned(*which).unwrap_or(usize::MAX));
        next
    }

    fn enter(&mut self, state: S::State, last: Option<usize>) {
        let next = self.candidates();
        if self.left < self.furthest.0 {
            self.furthest = (self.left, state.clone(), next.clone());
        }
        self.path.push(Place { state, last, next: next.into_iter() });
    }

    /// Tries one more operation, or goes back; `false` if there is nothing left to try.
    fn step(&mut self) -> bool {
        let Some(place) = self.path.last_mut() else { return false };
        let Some(which) = place.next.next() else {
            if let Some(last) = self.path.pop().and_then(|place| place.last) {
                self.turn(last);
            }
            return true;
        };
        let mut state = place.state.clone();
        let noted = &self.noted[which];
        let value = S::apply(&mut state, &noted.op);
        if noted.returned.as_ref().is_some_and(|(_, returned)| *returned != value) {
            return true;
        }
        self.turn(which);
        if self.seen.insert((self.happened.clone(), state.clone())) {
            self.enter(state, Some(which));
        } else {
            self.turn(which);
        }
        true
    }

    /// Lets it happen, or takes that back.
    fn turn(&mut self, which: usize) {
        self.happened[which / 64] ^= 1 << (which % 64);
        if self.noted[which].returned.is_some() {
            if self.has_happened(which) {
                self.left -= 1;
            } else {
                self.left += 1;
            }
        }
    }

    fn no_order(&self) -> NotLinearizable {
        let (_, state, stuck) = &self.furthest;
        let lines = |noted: &mut dyn Iterator<Item = &Noted<S>>| {
            noted.map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        NotLinearizable::NoOrder {
            operations: lines(&mut self.noted.iter()),
            state: format!("{state:?}"),
            stuck: lines(&mut stuck.iter().map(|which| &self.noted[*which])),
        }
    }
}
