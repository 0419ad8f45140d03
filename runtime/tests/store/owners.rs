//! Whatever is written, rows own one another without cycles, and the index says the same as the rows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use updraft_runtime::{
    Env,
    store::{Change, Record, RowRef, Schema, Store, StoreError},
};

use crate::conformance::owners::Part;

/// So many keys that cycles are likely.
const KEYS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Put(usize, BTreeSet<usize>),
    Delete(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let owners = proptest::collection::btree_set(0..KEYS, 0..3);
    prop_oneof![
        3 => (0..KEYS, owners).prop_map(|(key, owners)| Step::Put(key, owners)),
        1 => (0..KEYS).prop_map(Step::Delete),
    ]
}

/// Whose each row is, as the rows themselves say.
type Graph = BTreeMap<usize, BTreeSet<usize>>;

fn has_cycle(graph: &Graph) -> bool {
    let mut left = graph.clone();
    loop {
        let free: Vec<usize> = left
            .iter()
            .filter(|(_, owners)| owners.iter().all(|owner| !left.contains_key(owner)))
            .map(|(key, _)| *key)
            .collect();
        if free.is_empty() {
            return !left.is_empty();
        }
        free.iter().for_each(|key| {
            left.remove(key);
        });
    }
}

/// What the write must come to.
fn is_allowed(graph: &Graph, key: usize, owners: &BTreeSet<usize>) -> bool {
    let before = graph.get(&key).cloned().unwrap_or_default();
    let mut next = graph.clone();
    next.insert(key, owners.clone());
    let there = owners.difference(&before).all(|owner| *owner != key && graph.contains_key(owner));
    there && !has_cycle(&next)
}

async fn check(store: &Store, graph: &Graph) {
    let txn = store.begin().await.unwrap();
    for owner in 0..KEYS {
        let owned = txn.owned_by::<Part>(&owner.to_string(), usize::MAX).unwrap();
        let said: BTreeSet<usize> = owned.iter().map(|row| row.key().parse().unwrap()).collect();
        let of = graph.iter().filter(|(_, owners)| owners.contains(&owner));
        assert_eq!(said, of.map(|(key, _)| *key).collect(), "what {owner} owns");
    }
}

async fn play(steps: &[Step]) {
    let (store, mut graph) = (Store::memory(Env::real()), Graph::new());
    for step in steps {
        match step {
            Step::Put(key, owners) => {
                let names: Vec<String> = owners.iter().map(ToString::to_string).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let part = Part::new(&key.to_string(), &names);
                let written = store.transact(|txn| txn.put(&part)).await;
                let allowed = is_allowed(&graph, *key, owners);
                match written {
                    Ok(()) => {
                        graph.insert(*key, owners.clone());
                    }
                    Err(StoreError::BadOwner { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                assert_eq!(written.is_ok(), allowed, "{step:?} on {graph:?}");
            }
            Step::Delete(key) => {
                store.transact(|txn| txn.delete::<Part>(&key.to_string())).await.unwrap();
                graph.remove(key);
            }
        }
        assert!(!has_cycle(&graph), "{graph:?}");
        check(&store, &graph).await;
    }
}

proptest! {
    #[test]
    fn rows_own_one_another_without_cycles(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&steps));
    }
}

/// A part as it was stored before parts named their owners.
#[derive(Clone, Serialize, Deserialize)]
struct FormerPart(Part);

impl Record for FormerPart {
    const TABLE: &'static str = Part::TABLE;

    fn key(&self) -> String {
        self.0.key()
    }
}

#[tokio::test]
async fn what_was_stored_before_rows_named_owners_is_found_once_it_is_reindexed() {
    let store = Store::memory(Env::real());
    for part in [Part::new("car", &[]), Part::new("wheel", &["car"])] {
        store.transact(|txn| txn.put(&FormerPart(part.clone()))).await.unwrap();
    }
    let owned = || store.read(|txn| txn.owned_by::<Part>("car", usize::MAX));
    assert_eq!(owned().await.unwrap(), []);
    let changes = const { &[Change::reindex::<Part>("whose parts are")] };
    store.migrate(&Schema { service: "shop", changes }).await.unwrap();
    assert_eq!(owned().await.unwrap(), [RowRef::to::<Part>("wheel")]);
}
