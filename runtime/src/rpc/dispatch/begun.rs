//! A message between its begin and its end.

use std::sync::Arc;

use super::{Question, Shared, encoded};
use crate::{
    directory::AtWork,
    rpc::{Refusal, cancellation::Cancellation, dedup::Mark, outcome::Outcome},
    trace::spans::Open,
};

/// A message that the memory knows as under way. Dropped before its end, it was carried out
/// by nobody and may come again.
pub(in crate::rpc) struct Begun {
    shared: Arc<Shared>,
    mark: Mark,
    question: Question,
    ended: bool,
    span: Option<Box<Open>>,
    _at_work: AtWork,
}

impl Begun {
    pub(super) fn new(shared: Arc<Shared>, mark: Mark, question: Question) -> Self {
        let _at_work = shared.directory.at_work();
        Self { shared, mark, question, ended: false, span: None, _at_work }
    }

    /// The same, and how it ends is told in this span.
    pub(super) fn under(mut self, span: Option<Box<Open>>) -> Self {
        self.span = span;
        self
    }

    /// Tells whoever handles it that nobody waits any more.
    pub(super) fn cancellation(&self) -> Cancellation {
        self.mark.cancellation.clone()
    }

    /// Remembers how it ended, and tells its sender if that asked.
    pub(in crate::rpc) fn end(mut self, outcome: &Outcome) {
        if let Some(span) = self.span.take() {
            span.handled(outcome);
        }
        // The empty answer of one that cannot be encoded is unknown to its reader.
        let answer = encoded(outcome, self.question).unwrap_or_default();
        if matches!(outcome, Outcome::Refused(_)) {
            self.forget();
        } else {
            self.shared.memory.lock().ended(&self.mark, &answer);
        }
        self.ended = true;
        if self.question.wants_answer() {
            self.shared.send_answer(&self.mark.peer, self.question, answer);
        }
    }

    /// Nobody has room for it: it was carried out by nobody and may come again, and its span says why.
    pub(in crate::rpc) fn turned_away(mut self, refusal: &Refusal) {
        if let Some(span) = self.span.take() {
            span.handled(&Outcome::Refused(refusal.clone()));
        }
    }

    fn forget(&self) {
        self.shared.memory.lock().forget(&self.mark);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.ended {
            self.forget();
        }
    }
}
