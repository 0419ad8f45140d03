//! What a client was told of its commits, and whether a store holds it.
//!
//! Each commit has a number, writes it into both rows of a pair and appends it to a log. Pure, but for how rows and log
//! are read and written.

use std::collections::{BTreeMap, BTreeSet};

use updraft_harness::campaign::Run;
use updraft_runtime::store::{Store, StoreError, Txn};

use super::Step;

/// How many pairs there are.
pub(super) const PAIRS: u8 = 6;

const LOG: &str = "t/log";

/// A store was refused by its disk when it was opened.
pub(super) const NOT_OPENED: &str = "not opened";
/// A store that is open refuses.
pub(super) const OUTAGE: &str = "outage";
const DONE: &str = "acknowledged";
const KEPT: &str = "unknown and kept";
const LOST: &str = "unknown and lost";

/// What must have been so at least once over all cases.
pub(super) const MARKS: [&str; 5] = [NOT_OPENED, OUTAGE, DONE, KEPT, LOST];

/// What was said of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is durable.
    Done,
    /// It did not happen.
    Refused,
    /// Nothing that binds.
    Nothing,
}

/// The rows of pairs as they are, and the numbers in the log.
pub(super) type Rows = BTreeMap<String, u64>;

/// Every commit that was sent.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sent: Vec<(u8, Told)>,
    /// Those that were seen once: nobody may unsee them.
    seen: BTreeSet<u64>,
}

fn pair(step: Step, number: u64) -> u8 {
    let at = u8::try_from(number % u64::from(PAIRS)).unwrap_or_default();
    (step.pair + at) % PAIRS
}

fn keys(pair: u8) -> [String; 2] {
    [format!("t/{pair}"), format!("u/{pair}")]
}

/// Writes what a commit of this number writes.
pub(super) fn write(txn: &mut Txn, step: Step, number: u64) -> Result<(), StoreError> {
    let value = format!("{number} {}", "x".repeat(step.bytes.into()));
    for key in keys(pair(step, number)) {
        txn.put_raw(&key, value.clone().into())?;
    }
    txn.append(LOG, number.to_string().into())
}

fn number(value: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(value);
    let number = text.split(' ').next().unwrap_or_default().parse();
    number.unwrap_or(u64::MAX)
}

/// All rows.
pub(super) fn rows(txn: &Txn) -> Result<Rows, StoreError> {
    let found = txn.scan_raw("", None, usize::MAX)?;
    Ok(found.into_iter().map(|(key, entry)| (key.to_string(), number(&entry.value))).collect())
}

/// The whole log.
pub(super) async fn log(store: &Store) -> Result<Vec<u64>, StoreError> {
    let (mut numbers, mut after) = (Vec::new(), 0);
    loop {
        let entries = store.log_read(LOG, after, usize::MAX).await?;
        let Some(last) = entries.last() else { return Ok(numbers) };
        after = last.sequence;
        numbers.extend(entries.iter().map(|entry| number(&entry.value)));
    }
}

impl Ledger {
    /// The number of a commit that is sent now.
    pub(super) fn begin(&mut self, step: Step) -> u64 {
        let number = self.sent.len() as u64;
        self.sent.push((pair(step, number), Told::Nothing));
        number
    }

    pub(super) fn end(&mut self, number: u64, told: Told, run: &Run) {
        if told == Told::Done {
            run.reached(DONE);
        }
        if let Some(sent) = usize::try_from(number).ok().and_then(|at| self.sent.get_mut(at)) {
            sent.1 = told;
        }
    }

    /// Whether the store holds what was said, and takes what it holds for said.
    pub(super) fn compare(&mut self, rows: &Rows, log: &[u64], run: &Run) -> Result<(), String> {
        let there: BTreeSet<u64> = log.iter().copied().collect();
        if there.len() != log.len() {
            return Err(format!("a commit is in the log twice: {log:?}"));
        }
        for (number, (_, told)) in (0_u64..).zip(&self.sent) {
            let is_there = there.contains(&number);
            match told {
                Told::Done if !is_there => return Err(format!("{number} is done and not there")),
                Told::Refused if is_there => return Err(format!("{number} is refused and there")),
                Told::Nothing => run.reached(if is_there { KEPT } else { LOST }),
                Told::Done | Told::Refused => {}
            }
        }
        if let Some(unseen) = self.seen.difference(&there).next() {
            return Err(format!("{unseen} was seen and is gone"));
        }
        self.seen = there;
        (0..PAIRS).try_for_each(|pair| self.compare_pair(pair, rows, log))
    }

    /// Both rows of a pair have what the last commit of the log has written there.
    fn compare_pair(&self, pair: u8, rows: &Rows, log: &[u64]) -> Result<(), String> {
        let wrote = |number: &&u64| {
            let sent = usize::try_from(**number).ok().and_then(|at| self.sent.get(at));
            sent.is_some_and(|(of, _)| *of == pair)
        };
        let last = log.iter().rev().find(wrote);
        for key in keys(pair) {
            let found = rows.get(&key);
            if found != last {
                return Err(format!("{key} has {found:?}, and the log's last is {last:?}"));
            }
        }
        Ok(())
    }
}
