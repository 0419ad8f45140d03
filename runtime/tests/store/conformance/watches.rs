//! Hints about changes.

use futures_util::FutureExt;
use updraft_runtime::store::{Changes, Store, limits::WATCH_KEYS_MAX};

use crate::support::{append, json, put};

fn changed(changes: &Changes) -> Vec<&str> {
    changes.keys.iter().map(|key| &**key).collect()
}

pub(super) async fn a_watch_tells_what_changed_under_its_prefix(store: Store) {
    let mut watch = store.watch("t/");
    put(&store, "u/a", "1").await;
    assert_eq!(watch.changed().now_or_never(), None);
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/b", json("1")).unwrap();
    txn.delete_raw("t/a").unwrap();
    txn.put_raw("u/b", json("1")).unwrap();
    txn.commit().await.unwrap();
    let changes = watch.changed().await;
    assert_eq!(changed(&changes), ["t/a", "t/b"]);
    assert!(!changes.overflowed);
    assert_eq!(watch.changed().now_or_never(), None);
}

pub(super) async fn a_watch_tells_of_logs_too(store: Store) {
    let mut watch = store.watch("t/log");
    append(&store, "t/log", "a").await;
    assert_eq!(changed(&watch.changed().await), ["t/log"]);
}

pub(super) async fn a_watch_gathers_changes_until_it_is_asked(store: Store) {
    let mut watch = store.watch("");
    for key in ["b", "a", "b"] {
        put(&store, key, "1").await;
    }
    assert_eq!(changed(&watch.changed().await), ["a", "b"]);
}

pub(super) async fn a_watch_that_nobody_asks_overflows(store: Store) {
    let mut watch = store.watch("");
    let mut txn = store.begin().await.unwrap();
    for n in 0..=WATCH_KEYS_MAX {
        txn.put_raw(&n.to_string(), json("1")).unwrap();
    }
    txn.commit().await.unwrap();
    put(&store, "one more", "1").await;
    assert_eq!(watch.changed().await, Changes { keys: Vec::new(), overflowed: true });
    put(&store, "and another", "1").await;
    assert_eq!(changed(&watch.changed().await), ["and another"]);
}

pub(super) async fn a_watch_is_narrowed_to_the_scope(store: Store) {
    let compute = store.scoped("compute/");
    let mut all = compute.watch("");
    let mut foreign = compute.watch("network/");
    put(&store, "network/a", "1").await;
    put(&store, "compute/a", "1").await;
    assert_eq!(changed(&all.changed().await), ["compute/a"]);
    assert_eq!(foreign.changed().now_or_never(), None);
}

pub(super) async fn a_watch_wakes_when_the_store_closes(store: Store) {
    let mut before = store.watch("t/");
    store.close().await;
    assert!(before.changed().now_or_never().unwrap().overflowed);
    assert!(store.watch("t/").changed().now_or_never().unwrap().overflowed);
}
