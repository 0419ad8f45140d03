//! A connection is cut at every message that there is, one after the other, in each direction: whatever is under way
//! ends as it is said to have ended, the store recovers by itself, and a watch misses nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use updraft_runtime::{
    Env,
    store::{Store, StoreError, Watch},
};

use super::{
    cut::{outcome, put_at_last},
    proxy::{Behind, Fate, Point, Proxy, Way},
};
use crate::support::{json, put, stored, text};

/// Messages of one run in each direction, if nothing goes wrong; may only grow.
const MESSAGES_MIN: usize = 60;
/// The same of opening a store.
const OPENING_MESSAGES_MIN: usize = 150;
/// Only so many of these are cut, one of seven: there are hundreds, and most prepare one statement or another.
const OPENING_STRIDE: usize = 7;
/// How long news may take: longer than the pause between two looks that nobody asked for.
const NEWS_PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_at_any_message_leaves_no_doubt() {
    let Some(behind) = Behind::a_proxy().await else { return };
    for way in [Way::ToServer, Way::ToClient] {
        // What each message is called, and whether the first commit came through when it was struck first.
        let mut struck = BTreeMap::<String, bool>::new();
        let mut messages = 0;
        loop {
            behind.proxy.plan(Point::Nth(way, messages), Fate::Cut);
            let mut run = Run::live(&behind, &format!("t/{way:?}/{messages}/")).await;
            let Some(message) = behind.proxy.clear() else { break };
            run.assert_as_told(&behind).await;
            struck.entry(message).or_insert(run.commits[0].1.is_some());
            messages += 1;
        }
        assert!(messages >= MESSAGES_MIN, "{messages} {way:?}: {struck:?}");
        match way {
            Way::ToServer => assert!(!struck["Q COMMIT"], "it cannot have been committed"),
            Way::ToClient => assert!(struck["C COMMIT"], "it was committed, and not found"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_while_a_store_is_opened_is_made_up_for() {
    let Some(Behind { database, .. }) = Behind::a_proxy().await else { return };
    let proxy = Proxy::default();
    let settings = proxy.start(&database).await;
    for way in [Way::ToServer, Way::ToClient] {
        let mut messages = 0;
        loop {
            proxy.plan(Point::Nth(way, messages), Fate::Cut);
            let store = Store::postgres(Env::real(), settings.clone()).await.unwrap();
            put_at_last(&store, "t/a").await;
            if proxy.clear().is_none() {
                break;
            }
            store.close().await;
            messages += OPENING_STRIDE;
        }
        assert!(messages >= OPENING_MESSAGES_MIN, "{messages} {way:?}");
    }
}

/// What a store does while its connection is cut, and what it says of that.
struct Run {
    prefix: String,
    watch: Watch,
    /// By key; `None` if it was refused.
    commits: Vec<(String, Option<u64>)>,
}

impl Run {
    async fn live(behind: &Behind, prefix: &str) -> Self {
        let store = &behind.store;
        let watch = store.watch(prefix);
        let mut run = Self { prefix: prefix.to_owned(), watch, commits: Vec::new() };
        let log = format!("{prefix}log");
        let (a, b, c) = (run.key("a"), run.key("b"), run.key("c"));
        let first = logged(store, &a, &log).await;
        run.heard(a, first);
        // They go as one group, or as two.
        let (second, third) = tokio::join!(outcome(store, &b), outcome(store, &c));
        run.heard(b, second);
        run.heard(c, third);
        run.lose(behind).await;
        run.use_log(store, &log).await;
        run
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn heard(&mut self, key: String, outcome: Result<u64, StoreError>) {
        let outcome = match outcome {
            Ok(sequence) => Some(sequence),
            Err(StoreError::Unavailable(_)) => None,
            // The server answers again at once, so that nothing has to stay unknown.
            Err(other) => panic!("{key}: {other}"),
        };
        self.commits.push((key, outcome));
    }

    /// Reads what another process then writes.
    async fn lose(&self, behind: &Behind) {
        let key = self.key("lost");
        let begun = behind.store.begin().await;
        let mut seen = None;
        if let Ok(txn) = &begun {
            seen = text(txn, &key);
        }
        put(&behind.other, &key, "other").await;
        let Ok(mut txn) = begun else { return };
        assert_eq!(seen, None);
        txn.put_raw(&key, json("mine")).unwrap();
        let lost = txn.commit().await;
        assert!(
            matches!(lost, Err(StoreError::Conflict | StoreError::Unavailable(_))),
            "{key}: {lost:?}"
        );
    }

    async fn use_log(&self, store: &Store, log: &str) {
        let first = self.commits[0].1.is_some();
        match store.log_read(log, 0, 9).await {
            Ok(entries) => assert_eq!(entries.len(), usize::from(first), "{log}"),
            Err(StoreError::Unavailable(_)) => {}
            Err(other) => panic!("{log}: {other}"),
        }
        match store.trim_log(log, u64::MAX).await {
            Ok(()) | Err(StoreError::Unavailable(_) | StoreError::Unknown) => {}
            Err(other) => panic!("{log}: {other}"),
        }
    }

    async fn assert_as_told(&mut self, behind: &Behind) {
        let last = self.key("last");
        put_at_last(&behind.store, &last).await;
        let mut expected = BTreeSet::from([last, self.key("lost")]);
        for (key, outcome) in &self.commits {
            let found = behind.other.begin().await.unwrap().get_raw(key).unwrap();
            assert_eq!(found.map(|entry| entry.version), *outcome, "{key}");
            expected.extend(outcome.map(|_| key.clone()));
        }
        let lost = self.key("lost");
        assert_eq!(stored(&behind.store, &lost).await.as_deref(), Some("other"));
        self.assert_heard_of(expected).await;
    }

    async fn assert_heard_of(&mut self, mut expected: BTreeSet<String>) {
        while !expected.is_empty() {
            let heard = Env::real().timeout(NEWS_PATIENCE, self.watch.changed()).await;
            let heard = heard.unwrap_or_else(|| panic!("nothing was heard of {expected:?}"));
            if heard.overflowed {
                return;
            }
            expected.retain(|key| !heard.keys.iter().any(|changed| **changed == **key));
        }
    }
}

async fn logged(store: &Store, key: &str, log: &str) -> Result<u64, StoreError> {
    let mut txn = store.begin().await?;
    txn.put_raw(key, json("1"))?;
    txn.append(log, json("1"))?;
    txn.commit().await
}
