//! What was done, and what callers were told; the contracts hold one against the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
    asked: BTreeMap<u64, What>,
    told: BTreeMap<u64, (What, Told)>,
    /// From this number on, every call must be answered.
    healthy_from: Option<u64>,
    broken: Vec<String>,
}

/// What was done; the world's, not any node's.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<State>>);

/// A handler at work.
pub(crate) struct AtWork {
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
    pub(crate) fn begun(&self, server: &str, life: u64, number: u64) -> AtWork {
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

    /// A caller asks for this.
    pub(crate) fn asked(&self, number: u64, what: What) {
        self.0.lock().asked.insert(number, what);
    }

    /// A caller was told this.
    pub(crate) fn answered(&self, number: u64, what: What, outcome: &Result<u64, CallError>) {
        self.0.lock().told.insert(number, (what, Told::of(outcome)));
    }

    /// How often a number was begun.
    pub(crate) fn times(&self, number: u64) -> usize {
        self.0.lock().times(number)
    }

    /// From this number on nothing is wrong with the world.
    pub(crate) fn expects_answers(&self, first: u64) {
        self.0.lock().healthy_from = Some(first);
    }

    /// The situations that messages were in, of those that a contract is for.
    pub(crate) fn lives(&self) -> BTreeSet<&'static str> {
        let state = self.0.lock();
        let none = BTreeMap::new();
        let of = |number: &u64| state.begun.get(number).unwrap_or(&none);
        let marks = state.asked.iter().filter_map(|(number, what)| {
            let (lives, times) = (of(number), state.times(*number));
            match what {
                What::Fenced if times > 1 => Some("Fenced is begun twice"),
                What::Remembered if lives.len() > 1 => Some("Remembered is begun in two lives"),
                What::Note if times == 0 => Some("Note is lost"),
                What::Fanout if (1..3).contains(&lives.len()) => Some("Fanout reaches some"),
                _ => None,
            }
        });
        marks.collect()
    }

    /// What was not kept, each with the promise first.
    pub(crate) fn broken(&self) -> Vec<String> {
        let state = self.0.lock();
        let mut broken = state.broken.clone();
        for (number, (what, told)) in &state.told {
            broken.extend(state.judge(*number, *what, told));
        }
        broken.extend(
            state.begun.iter().filter_map(|(number, lives)| state.repeated(*number, lives)),
        );
        broken
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
        let what = self.asked.get(&number)?;
        let of_server = |server: &str| {
            lives.iter().filter(|((name, _), _)| name == server).map(|(_, times)| times).sum()
        };
        let most: usize = match what {
            What::Once | What::Note | What::Stranger => lives.values().sum(),
            What::Remembered => lives.values().copied().max().unwrap_or_default(),
            What::Fanout => lives.keys().map(|(name, _)| of_server(name)).max().unwrap_or_default(),
            What::Fenced | What::Shaky | What::Relay => return None,
        };
        let words = format!("what may not be repeated is begun once: {number} {what:?} {lives:?}");
        (most > 1).then_some(words)
    }
}
