//! Histories: who asked for what when, what came of it, and whether that can have happened one after the other.
//!
//! Owns the [`History`] of operations on something that many use at a time, and the check of Herlihy and Wing
//! (*Linearizability: A Correctness Condition for Concurrent Objects*, 1990): every operation must seem to happen at one
//! moment between its call and its return. What an operation does by itself is said by a [`Spec`]. An operation that is
//! refused has not happened; of one whose end is unknown, the check allows that it happened at any time after its call, and that
//! it never did.
//!
//! Promises that a history with an explanation is never said to have none, and the other way round; one that would take
//! too long is said to be undecided, which a test should take for a failure of its own size. Never looks at clocks: what
//! counts is the order in which calls and returns were noted.
//!
//! ```
//! use updraft_harness::history::{History, Spec};
//!
//! /// A word that is written and read.
//! struct Word;
//!
//! #[derive(Clone, Debug)]
//! enum Op {
//!     Write(&'static str),
//!     Read,
//! }
//!
//! impl Spec for Word {
//!     type State = &'static str;
//!     type Op = Op;
//!     type Return = &'static str;
//!
//!     fn apply(state: &mut &'static str, op: &Op) -> &'static str {
//!         if let Op::Write(word) = op {
//!             *state = word;
//!         }
//!         *state
//!     }
//! }
//!
//! let history = History::<Word>::default();
//! let write = history.call("ann", Op::Write("new"));
//! history.returns(history.call("bob", Op::Read), "new");
//! history.returns(history.call("bob", Op::Read), "");
//! history.unknown(write);
//! let wrong = history.check(&"").unwrap_err().to_string();
//! assert!(wrong.contains("bob: Read returned \"\""), "the word was new before: {wrong}");
//! ```

mod search;

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::Arc,
};

use parking_lot::Mutex;

/// What operations do when they happen one after the other.
pub trait Spec {
    /// What they act on.
    type State: Clone + Ord + Debug;
    /// An operation.
    type Op: Clone + Debug;
    /// What it returns.
    type Return: Clone + PartialEq + Debug;

    /// Lets an operation happen, and says what it returns.
    fn apply(state: &mut Self::State, op: &Self::Op) -> Self::Return;
}

/// An operation that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what becomes of it belongs to the history"]
pub struct Called(usize);

/// An operation in a history.
struct Noted<S: Spec> {
    by: String,
    op: S::Op,
    called: usize,
    /// When it returned, and what; nothing as long as nobody knows.
    returned: Option<(usize, S::Return)>,
    refused: bool,
}

impl<S: Spec> Clone for Noted<S> {
    fn clone(&self) -> Self {
        let Self { by, op, called, returned, refused } = self;
        let (by, op, returned) = (by.clone(), op.clone(), returned.clone());
        Self { by, op, called: *called, returned, refused: *refused }
    }
}

impl<S: Spec> fmt::Display for Noted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, op, called, returned, .. } = self;
        match returned {
            Some((at, value)) => {
                write!(f, "{called:>4} to {at:>4}  {by}: {op:?} returned {value:?}")
            }
            None => write!(f, "{called:>4} to    ?  {by}: {op:?} has an unknown end"),
        }
    }
}

struct Kept<S: Spec> {
    moments: usize,
    noted: Vec<Noted<S>>,
}

/// The operations on one thing; clones are the same history.
pub struct History<S: Spec>(Arc<Mutex<Kept<S>>>);

impl<S: Spec> Default for History<S> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Kept { moments: 0, noted: Vec::new() })))
    }
}

impl<S: Spec> Clone for History<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Spec> Kept<S> {
    fn moment(&mut self) -> usize {
        self.moments += 1;
        self.moments
    }
}

/// No order explains a history, or none was found in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLinearizable {
    /// There is none.
    #[error(
        "no order explains what these operations returned, each by the moments of its call and return:\n{operations}\n\
         the most that an order explains leaves {state}; then none of these fits:\n{stuck}"
    )]
    NoOrder {
        /// All operations, a line each.
        operations: String,
        /// The state after the longest part that has an explanation.
        state: String,
        /// What could have come next and does not fit, a line each.
        stuck: String,
    },
    /// Nobody knows: the search was given up.
    #[error(
        "no order was found within {steps} steps, for {operations} operations; let there be fewer at a time"
    )]
    Undecided {
        /// How many operations there are.
        operations: usize,
        /// How far was looked.
        steps: usize,
    },
}

impl<S: Spec> History<S> {
    /// Somebody calls an operation now.
    pub fn call(&self, by: &str, op: S::Op) -> Called {
        let mut kept = self.0.lock();
        let called = kept.moment();
        let (by, returned) = (by.to_owned(), None);
        kept.noted.push(Noted { by, op, called, returned, refused: false });
        Called(kept.noted.len() - 1)
    }

    /// It returns this now.
    pub fn returns(&self, called: Called, value: S::Return) {
        let mut kept = self.0.lock();
        let at = kept.moment();
        if let Some(noted) = kept.noted.get_mut(called.0) {
            noted.returned = Some((at, value));
        }
    }

    /// It has not happened, and will not.
    pub fn refused(&self, called: Called) {
        if let Some(noted) = self.0.lock().noted.get_mut(called.0) {
            noted.refused = true;
        }
    }

    /// Nobody knows whether it happened, or whether it will: so it is also with what is never said to have ended.
    pub fn unknown(&self, _called: Called) {}

    /// How many operations have returned.
    #[must_use]
    pub fn returned(&self) -> usize {
        self.0.lock().noted.iter().filter(|noted| noted.returned.is_some()).count()
    }

    /// Whether some order explains everything, beginning with this state.
    ///
    /// # Errors
    /// If none does, or none was found in time.
    pub fn check(&self, initial: &S::State) -> Result<(), NotLinearizable> {
        self.check_each(|_| (), initial)
    }

    /// The same for many things that have nothing to do with one another: the operations of each key by themselves, which is
    /// as good and takes far less time.
    ///
    /// # Errors
    /// If one of them has no order; the first that has none.
    pub fn check_each<K: Ord>(
        &self,
        key: impl Fn(&S::Op) -> K,
        initial: &S::State,
    ) -> Result<(), NotLinearizable> {
        let mut of_key: BTreeMap<K, Vec<Noted<S>>> = BTreeMap::new();
        for noted in self.0.lock().noted.iter().filter(|noted| !noted.refused) {
            of_key.entry(key(&noted.op)).or_default().push(noted.clone());
        }
        of_key.values().try_for_each(|noted| search::order(noted, initial))
    }
}
