//! What the two tasks of a store do with the mirror and with those who wait.

use std::{mem, sync::Arc};

use super::{Hub, Question, TASKS, bytes};
use crate::store::{
    Entry,
    error::StoreError,
    limits::{GROUP_MAX_BYTES, GROUP_MAX_COMMITS},
    postgres::{
        batch::{Ground, Waiting},
        journal::{Change, Loaded, Position},
        link::Link,
        trouble::Trouble,
    },
};

impl Hub {
    pub(in crate::store::postgres) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Whether nobody is left who could ask the follower anything.
    pub(in crate::store::postgres) fn is_deserted(&self) -> bool {
        let state = self.state.lock();
        state.closing && state.tasks < TASKS && state.questions.is_empty()
    }

    pub(in crate::store::postgres) fn position(&self) -> Position {
        self.state.lock().position
    }

    pub(in crate::store::postgres) fn questions(&self) -> Vec<Question> {
        mem::take(&mut self.state.lock().questions)
    }

    /// The mirror, for whoever keeps others from committing.
    pub(in crate::store::postgres) fn ground(&self) -> Ground {
        let state = self.state.lock();
        Ground { rows: state.rows.clone(), position: state.position, epoch: state.epoch }
    }

    /// Takes in the next entry of the journal, unless that was done already.
    pub(in crate::store::postgres) fn apply(&self, change: &Change) {
        {
            let mut state = self.state.lock();
            if change.position.sequence <= state.position.sequence {
                return;
            }
            for changed in &change.rows {
                let key = &changed.key;
                match &changed.value {
                    Some(value) => {
                        let entry = Entry { value: value.clone(), version: changed.version };
                        state.rows.insert(Arc::clone(key), entry);
                    }
                    None => drop(state.rows.remove(&**key)),
                }
            }
            state.position = change.position;
        }
        let rows = change.rows.iter().map(|changed| &changed.key);
        let touched: Vec<Arc<str>> = rows.chain(&change.logs).cloned().collect();
        self.watches.tell(&touched);
    }

    /// Starts anew with all rows; whoever has an older snapshot cannot commit.
    pub(in crate::store::postgres) fn replace(&self, loaded: Loaded) {
        {
            let mut state = self.state.lock();
            if loaded.position.sequence <= state.position.sequence {
                return;
            }
            state.rows = loaded.rows;
            state.position = loaded.position;
            state.epoch += 1;
        }
        self.watches.overflow(false);
    }

    /// The next commits to be decided together.
    pub(in crate::store::postgres) fn next_group(&self) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let (mut group, mut size) = (Vec::new(), 0);
        while let Some(next) = state.waiting.front() {
            let more = bytes(&next.proposal);
            if group.len() == GROUP_MAX_COMMITS || (size + more > GROUP_MAX_BYTES && size > 0) {
                break;
            }
            size += more;
            group.extend(state.waiting.pop_front());
        }
        state.waiting_bytes -= size;
        group
    }

    /// Questions can be answered, by way of this connection.
    pub(in crate::store::postgres) fn reader_is(&self, link: Arc<Link>) {
        self.state.lock().reader = Ok(Some(link));
    }

    /// Questions cannot be answered.
    pub(in crate::store::postgres) fn reader_is_down(&self, trouble: &Trouble) {
        let questions = {
            let mut state = self.state.lock();
            state.reader = Err(trouble.refusal());
            mem::take(&mut state.questions)
        };
        for question in questions {
            let _ = question.send(Err(trouble.refusal()));
        }
    }

    pub(in crate::store::postgres) fn writer_is_up(&self) {
        self.state.lock().writer = Ok(());
    }

    /// Nothing can be committed; what waits has not been begun.
    pub(in crate::store::postgres) fn writer_is_down(&self, why: &StoreError) {
        let waiting = {
            let mut state = self.state.lock();
            state.writer = Err(why.clone());
            state.waiting_bytes = 0;
            mem::take(&mut state.waiting)
        };
        for Waiting { answer, .. } in waiting {
            let _ = answer.send(Err(why.clone()));
        }
    }

    /// Serves nothing any more.
    pub(in crate::store::postgres) fn end(&self, why: &str) {
        {
            let mut state = self.state.lock();
            state.ended.get_or_insert_with(|| why.into());
            state.closing = true;
        }
        self.watches.overflow(true);
        self.committer.wake();
        self.follower.wake();
    }

    /// A task is gone, in whatever way.
    pub(in crate::store::postgres) fn task_ended(&self, why: &str) {
        if !self.is_closing() {
            tracing::error!(why, "the store stops");
            self.end(why);
        }
        let closers = {
            let mut state = self.state.lock();
            state.tasks -= 1;
            if state.tasks == 0 { mem::take(&mut state.closers) } else { Vec::new() }
        };
        drop(closers);
        self.follower.wake();
    }
}
