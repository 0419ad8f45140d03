//! Marks: places in the code that say which situation they are in, and what must always be so there.
//!
//! Owns the macros [`sometimes!`](crate::sometimes) and [`always!`](crate::always), the list of all marks that are in a
//! program ([`all`]), and who [listens](listen) to those that its thread comes by. A simulation does: it tells which
//! situations its runs were in and which they never were, and ends a run in which something is not so that must always
//! be. The idea is that of FoundationDB's `TEST` macro and of Antithesis' assertions.
//!
//! Promises that nothing is changed by a mark where nobody listens. It then costs its condition and the look at a flag;
//! and what is not so although it must always be is logged as an error, since a user is better served by a node that goes
//! on. Never used to choose behaviour.
//!
//! ```
//! use std::{cell::RefCell, rc::Rc};
//! use updraft_transport::{always, marks::{self, Mark}, sometimes};
//!
//! fn dequeue(queue: &mut Vec<u32>, room: usize) -> Option<u32> {
//!     sometimes!(queue.is_empty(), "somebody asks an empty queue");
//!     always!(queue.len() <= room, "a queue has a limit", "it holds {} of {room}", queue.len());
//!     queue.pop()
//! }
//!
//! #[derive(Default)]
//! struct Seen(RefCell<Vec<String>>);
//!
//! impl marks::Listener for Seen {
//!     fn reached(&self, mark: &'static Mark) {
//!         self.0.borrow_mut().push(mark.words.to_owned());
//!     }
//!
//!     fn broken(&self, mark: &'static Mark, found: String) {
//!         self.0.borrow_mut().push(format!("not so: {}: {found}", mark.words));
//!     }
//! }
//!
//! let seen = Rc::new(Seen::default());
//! marks::listen(seen.clone());
//! dequeue(&mut vec![], 1);
//! dequeue(&mut vec![1, 2], 1);
//! assert_eq!(*seen.0.borrow(), [
//!     "somebody asks an empty queue",
//!     "a queue has a limit",
//!     "a queue has a limit",
//!     "not so: a queue has a limit: it holds 2 of 1",
//! ]);
//! assert!(marks::all().any(|mark| mark.words == "a queue has a limit"));
//! ```

use std::{
    cell::RefCell,
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
};

#[doc(hidden)]
pub use inventory;

/// A place in the code, and what is so there.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    /// The situation, or what must always be so.
    pub words: &'static str,
    /// The path of the module that it is in.
    pub module: &'static str,
}

/// How a mark gets into the list.
#[doc(hidden)]
pub struct Entry(pub &'static Mark);

inventory::collect!(Entry);

/// All marks of this program, in no order.
pub fn all() -> impl Iterator<Item = &'static Mark> {
    inventory::iter::<Entry>.into_iter().map(|entry| entry.0)
}

/// Is told of the marks that its thread comes by.
pub trait Listener {
    /// A situation was reached, or one where something must be so, whether it is or not.
    fn reached(&self, mark: &'static Mark);

    /// Something is not so that must always be; `found` says what is so instead.
    fn broken(&self, mark: &'static Mark, found: String);
}

/// Whether anybody listens in any thread: else none is looked for.
static HEARD: AtomicBool = AtomicBool::new(false);

thread_local! {
    static LISTENER: RefCell<Option<Rc<dyn Listener>>> = const { RefCell::new(None) };
}

/// Has this thread's marks told to this listener, and no longer to the one before.
pub fn listen(listener: Rc<dyn Listener>) {
    HEARD.store(true, Ordering::Relaxed);
    LISTENER.set(Some(listener));
}

/// Whether somebody listens to this thread's marks.
#[must_use]
pub fn is_heard() -> bool {
    HEARD.load(Ordering::Relaxed) && LISTENER.with_borrow(Option::is_some)
}

fn listener() -> Option<Rc<dyn Listener>> {
    // A listener may come by marks itself, so it is not borrowed while it is told.
    HEARD.load(Ordering::Relaxed).then(|| LISTENER.with_borrow(Clone::clone)).flatten()
}

impl Mark {
    /// Tells who listens that this place was come by.
    #[doc(hidden)]
    pub fn reached(&'static self) {
        if let Some(listener) = listener() {
            listener.reached(self);
        }
    }

    /// Tells who listens, or else the log, that it is not as it must be.
    #[doc(hidden)]
    #[cold]
    pub fn broken(&'static self, found: String) {
        match listener() {
            Some(listener) => listener.broken(self, found),
            None => tracing::error!(must = self.words, module = self.module, found, "not so"),
        }
    }
}

/// Marks a situation, `sometimes!(condition, "what is so then")`, of which a campaign wants to have seen runs: else what it
/// shows is worth less. See [`marks`](crate::marks).
#[macro_export]
macro_rules! sometimes {
    ($condition:expr, $words:literal) => {{
        static MARK: $crate::marks::Mark =
            $crate::marks::Mark { words: $words, module: ::core::module_path!() };
        $crate::marks::inventory::submit! { $crate::marks::Entry(&MARK) }
        if $condition {
            MARK.reached();
        }
    }};
}

/// Says what must be so whenever this place is reached, `always!(condition, "what must be so", "what is, with {}", words)`.
/// A simulation in which it is not so has failed. See [`marks`](crate::marks).
#[macro_export]
macro_rules! always {
    ($condition:expr, $words:literal, $($found:tt)+) => {{
        static MARK: $crate::marks::Mark =
            $crate::marks::Mark { words: $words, module: ::core::module_path!() };
        $crate::marks::inventory::submit! { $crate::marks::Entry(&MARK) }
        MARK.reached();
        if !$condition {
            MARK.broken(::std::format!($($found)+));
        }
    }};
}
