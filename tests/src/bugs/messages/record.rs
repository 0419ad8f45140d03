//! What was done, and what callers were told; the contracts hold one against the other.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use updraft_runtime::rpc::{CallError, MAILBOX_MAX};

use super::What;

/// What a caller was told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Reply(u64),
    Refused(String),
    Unknown(String),
    Rejected(String),
}

impl Told {
    fn of(outcome: &Result<u64, CallError>) -> Self {
        match outcome {
            Ok(number) => Self::Reply(*number),
            Err(CallError::Refused { refusal, .. }) => Self::Refused(refusal.to_string()),
            Err(CallError::Unknown { reason, .. }) => Self::Unknown(reason.clone()),
            Err(CallError::Rejected(fault)) => Self::Rejected(fault.message.clone()),
        }
    }
}

#[derive(Default)]
struct State {
    /// How often each number was begun, by server and its life.
    begun: BTreeMap<u64, BTreeMap<(String, u64), usize>>,
    at_work: BTreeMap<String, usize>,
    told: BTreeMap<u64, (What, Told)>,
    /// From this number on, every call must be answered.
    healthy_from: Option<u64>,
    broken: Vec<String>,
}

/// What was done; the world's, not any node's.
#[derive(Clone, Default)]
pub(super) struct Record(Arc<Mutex<State>>);

/// A handler at work.
pub(super) struct AtWork {
    record: Record,
    server: String,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(count) = self.record.0.lock().at_work.get_mut(&self.server) {
            *count -= 1;
        }
    }
}

impl Record {
    /// A server has begun with a number.
    pub(super) fn begun(&self, server: &str, life: u64, number: u64) -> AtWork {
        let mut state = self.0.lock();
        let begun = state.begun.entry(number).or_default();
        *begun.entry((server.to_owned(), life)).or_default() += 1;
        let count = state.at_work.entry(server.to_owned()).or_default();
        *count += 1;
        if *count > MAILBOX_MAX {
            let words = format!("a mailbox has a limit: {count} messages are at work on {server}");
            state.broken.push(words);
        }
        AtWork { record: self.clone(), server: server.to_owned() }
    }

    /// A caller was told this.
    pub(super) fn answered(&self, number: u64, what: What, outcome: &Result<u64, CallError>) {
        self.0.lock().told.insert(number, (what, Told::of(outcome)));
    }

    /// From this number on nothing is wrong with the world.
    pub(super) fn expects_answers(&self, first: u64) {
        self.0.lock().healthy_from = Some(first);
    }

    /// Says what was not kept.
    ///
    /// # Panics
    /// If something was not.
    pub(super) fn check(&self) {
        let state = self.0.lock();
        let mut broken = state.broken.clone();
        for (number, (what, told)) in &state.told {
            broken.extend(state.judge(*number, *what, told));
        }
        broken.extend(
            state.begun.iter().filter_map(|(number, lives)| state.repeated(*number, lives)),
        );
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

impl State {
    fn times(&self, number: u64) -> usize {
        self.begun.get(&number).into_iter().flat_map(BTreeMap::values).sum()
    }

    fn judge(&self, number: u64, what: What, told: &Told) -> Option<String> {
        let times = self.times(number);
        let healthy = self.healthy_from.is_some_and(|first| number >= first);
        match told {
            _ if what == What::Stranger && times > 0 => {
                Some(format!("who may not send is not heard: {number} was carried out"))
            }
            Told::Reply(answer) if *answer != number => {
                Some(format!("an answer is that of its own question: {number} was told {answer}"))
            }
            Told::Refused(why) if times > 0 => {
                Some(format!("what is refused was not begun: {number}, refused since {why}, was"))
            }
            Told::Reply(_) => None,
            other if healthy && what != What::Stranger => {
                Some(format!("on a healthy network every call is answered: {number} {other:?}"))
            }
            _ => None,
        }
    }

    fn repeated(&self, number: u64, lives: &BTreeMap<(String, u64), usize>) -> Option<String> {
        let (what, _) = self.told.get(&number)?;
        let most = match what {
            What::Once | What::Note | What::Stranger => lives.values().sum(),
            What::Remembered => lives.values().copied().max().unwrap_or_default(),
            What::Fenced | What::Relay => return None,
        };
        let words = format!("what may not be repeated is begun once: {number} {what:?} {lives:?}");
        (most > 1).then_some(words)
    }
}
