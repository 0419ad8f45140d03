//! Random interleaved transactions against a sorted map that runs the committed ones one after the other.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use updraft_runtime::store::{Store, StoreError, Txn};

use crate::support::{LossyDisk, json, still_env};

const TRANSACTIONS: usize = 5;
const KEYS: [&str; 8] = ["t/a", "t/aa", "t/b", "t/c", "t~i/a", "u/a", "u/b", "u/c"];
const PREFIXES: [&str; 5] = ["", "t/", "t/a", "u/", "v/"];

#[derive(Clone, Debug)]
enum Action {
    Get(usize),
    Scan { prefix: usize, after: Option<usize>, limit: usize },
    Put(usize, u8),
    Delete(usize),
    Commit,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Value(Option<String>),
    Rows(Vec<(String, String)>),
    Nothing,
}

fn action() -> impl Strategy<Value = Action> {
    let key = 0..KEYS.len();
    let scan = (0..PREFIXES.len(), proptest::option::of(key.clone()), 0..5_usize);
    prop_oneof![
        3 => key.clone().prop_map(Action::Get),
        3 => scan.prop_map(|(prefix, after, limit)| Action::Scan { prefix, after, limit }),
        4 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Action::Put(key, value)),
        2 => key.prop_map(Action::Delete),
        2 => Just(Action::Commit),
    ]
}

/// One transaction as it went.
#[derive(Default)]
struct Run {
    txn: Option<Txn>,
    steps: Vec<(Action, Seen)>,
    /// How many writers had committed when it began.
    writers_before: usize,
}

/// What came of all of them.
#[derive(Default)]
struct History {
    committed: Vec<Committed>,
    writers: usize,
}

struct Committed {
    sequence: u64,
    wrote: bool,
    steps: Vec<(Action, Seen)>,
}

async fn execute(stores: &[Store], plan: Vec<(usize, Action)>) -> History {
    let mut history = History::default();
    let mut runs: Vec<Run> = (0..TRANSACTIONS).map(|_| Run::default()).collect();
    let finish = (0..TRANSACTIONS).map(|which| (which, Action::Commit));
    for (which, action) in plan.into_iter().chain(finish) {
        let run = &mut runs[which];
        if run.txn.is_none() {
            run.txn = Some(stores[which % stores.len()].begin().await.unwrap());
            run.writers_before = history.writers;
        }
        if matches!(action, Action::Commit) {
            history.end(std::mem::take(run)).await;
        } else if let Some(txn) = &mut run.txn {
            let seen = perform(txn, &action);
            run.steps.push((action, seen));
        }
    }
    history
}

impl History {
    async fn end(&mut self, run: Run) {
        let wrote = run.steps.iter().any(|(a, _)| matches!(a, Action::Put(..) | Action::Delete(_)));
        match run.txn.unwrap().commit().await {
            Ok(sequence) => {
                self.writers += usize::from(wrote);
                self.committed.push(Committed { sequence, wrote, steps: run.steps });
            }
            Err(StoreError::Conflict) => {
                assert!(wrote, "a transaction that only read has conflicted");
                assert!(self.writers > run.writers_before, "a conflict with nobody");
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// The final state, if each transaction has seen what it would have seen alone in its place.
    fn replay(mut self) -> Result<BTreeMap<String, String>, TestCaseError> {
        // A reader's place is behind the writer whose sequence number its snapshot has.
        self.committed.sort_by_key(|run| (run.sequence, !run.wrote));
        let mut model = BTreeMap::new();
        for Committed { sequence, steps, .. } in self.committed {
            for (action, seen) in steps {
                let expected = perform_on_model(&mut model, &action);
                prop_assert_eq!(seen, expected, "{:?} at {}", action, sequence);
            }
        }
        Ok(model)
    }
}

fn perform(txn: &mut Txn, action: &Action) -> Seen {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    match *action {
        Action::Get(key) => {
            Seen::Value(txn.get_raw(KEYS[key]).unwrap().map(|entry| text(&entry.value)))
        }
        Action::Scan { prefix, after, limit } => {
            let found = txn.scan_raw(PREFIXES[prefix], after.map(|key| KEYS[key]), limit).unwrap();
            let row = |(key, entry): &(std::sync::Arc<str>, _)| (key.to_string(), value_of(entry));
            Seen::Rows(found.iter().map(row).collect())
        }
        Action::Put(key, value) => {
            txn.put_raw(KEYS[key], json(&value.to_string())).unwrap();
            Seen::Nothing
        }
        Action::Delete(key) => {
            txn.delete_raw(KEYS[key]).unwrap();
            Seen::Nothing
        }
        Action::Commit => Seen::Nothing,
    }
}

fn value_of(entry: &updraft_runtime::store::Entry) -> String {
    String::from_utf8(entry.value.to_vec()).unwrap()
}

fn perform_on_model(model: &mut BTreeMap<String, String>, action: &Action) -> Seen {
    match *action {
        Action::Get(key) => Seen::Value(model.get(KEYS[key]).cloned()),
        Action::Scan { prefix, after, limit } => {
            let behind = |key: &String| after.is_none_or(|after| key.as_str() > KEYS[after]);
            let rows = model.iter().filter(|(key, _)| key.starts_with(PREFIXES[prefix]));
            let rows = rows.filter(|(key, _)| behind(key)).take(limit);
            Seen::Rows(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        Action::Put(key, value) => {
            model.insert(KEYS[key].to_owned(), value.to_string());
            Seen::Nothing
        }
        Action::Delete(key) => {
            model.remove(KEYS[key]);
            Seen::Nothing
        }
        Action::Commit => Seen::Nothing,
    }
}

async fn content(store: &Store) -> BTreeMap<String, String> {
    let rows = store.begin().await.unwrap().scan_raw("", None, usize::MAX).unwrap();
    rows.iter().map(|(key, entry)| (key.to_string(), value_of(entry))).collect()
}

fn paused<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_memory_transactions_are_as_good_as_one_after_the_other(
        plan in vec((0..TRANSACTIONS, action()), 1..60)
    ) {
        paused(async {
            let store = Store::memory(still_env());
            let model = execute(std::slice::from_ref(&store), plan).await.replay()?;
            prop_assert_eq!(content(&store).await, model);
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_disk_they_are_too_and_survive_a_power_failure(
        plan in vec((0..TRANSACTIONS, action()), 1..60)
    ) {
        paused(async {
            let disk = LossyDisk::default();
            let store = Store::redb_on(still_env(), disk.clone()).await.unwrap();
            let model = execute(std::slice::from_ref(&store), plan).await.replay()?;
            prop_assert_eq!(&content(&store).await, &model);
            let store = Store::redb_on(still_env(), disk.after_power_failure()).await.unwrap();
            prop_assert_eq!(content(&store).await, model);
            Ok(())
        })?;
    }
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_postgres_they_are_too_from_two_processes(
        plan in vec((0..TRANSACTIONS, action()), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let Some(database) = crate::postgres::server::Database::fresh().await else {
                return Ok(());
            };
            let stores = [database.store().await, database.store().await];
            let model = execute(&stores, plan).await.replay()?;
            for store in [&stores[0], &stores[1], &database.store().await] {
                prop_assert_eq!(&content(store).await, &model);
            }
            Ok(())
        })?;
    }
}
