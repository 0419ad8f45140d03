//! A message between its begin and its end.

use tokio_util::sync::CancellationToken;

use super::{Dispatcher, Question, encoded};
use crate::directory::AtWork;
use crate::rpc::{dedup::Mark, outcome::Outcome};

/// A message that the memory knows as under way. Dropped before its end, as with the mailbox of a service that starts
/// anew, it was carried out by nobody and may come again.
pub(super) struct Begun {
    dispatcher: Dispatcher,
    mark: Mark,
    question: Question,
    ended: bool,
    _at_work: AtWork,
}

impl Begun {
    pub(super) fn new(dispatcher: Dispatcher, mark: Mark, question: Question) -> Self {
        let _at_work = dispatcher.shared.directory.at_work();
        Self { dispatcher, mark, question, ended: false, _at_work }
    }

    /// Tells whoever handles it that nobody waits any more.
    pub(super) fn cancellation(&self) -> CancellationToken {
        self.mark.cancellation.clone()
    }

    /// Remembers how it ended, and tells its sender if that asked.
    pub(super) fn end(mut self, outcome: &Outcome) {
        // The empty answer of one that cannot be encoded is unknown to its reader.
        let answer = encoded(outcome, self.question).unwrap_or_default();
        if matches!(outcome, Outcome::Refused(_)) {
            self.forget();
        } else {
            self.dispatcher.shared.memory.lock().ended(&self.mark, &answer);
        }
        self.ended = true;
        if self.question.wants_answer() {
            self.dispatcher.send_answer(&self.mark.peer, self.question, answer);
        }
    }

    fn forget(&self) {
        self.dispatcher.shared.memory.lock().forget(&self.mark);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.ended {
            self.forget();
        }
    }
}
