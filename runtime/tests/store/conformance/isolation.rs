//! Transactions behave as if they ran one after the other.

use std::future::Future;

use updraft_runtime::store::{
    Store, StoreError, UNCOMMITTED,
    limits::{KEY_MAX_BYTES, TXN_MAX_BYTES, VALUE_MAX_BYTES},
};

use crate::support::{json, keys, put, stored, text};

pub(super) async fn a_transaction_sees_its_own_writes(store: Store) {
    put(&store, "t/kept", "1").await;
    put(&store, "t/gone", "1").await;
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/kept", json("2")).unwrap();
    txn.delete_raw("t/gone").unwrap();
    let kept = txn.get_raw("t/kept").unwrap().unwrap();
    assert_eq!((kept.value, kept.version), (json("2"), UNCOMMITTED));
    assert_eq!(txn.get_raw("t/gone").unwrap(), None);
}

pub(super) async fn a_scan_merges_what_is_stored_with_what_is_written(store: Store) {
    for key in ["t/b", "t/d", "t/f", "u/a"] {
        put(&store, key, "0").await;
    }
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/a", json("1")).unwrap();
    txn.put_raw("t/d", json("1")).unwrap();
    txn.delete_raw("t/b").unwrap();
    txn.put_raw("t/g", json("1")).unwrap();
    assert_eq!(keys(&txn, "t/"), ["t/a", "t/d", "t/f", "t/g"]);
    let page = txn.scan_raw("t/", Some("t/a"), 2).unwrap();
    let page: Vec<_> = page.iter().map(|(key, entry)| (&**key, &*entry.value)).collect();
    assert_eq!(page, [("t/d", &b"1"[..]), ("t/f", &b"0"[..])]);
    assert_eq!(txn.scan_raw("t/", Some("u/"), 9).unwrap(), []);
    assert_eq!(txn.scan_raw("t/", Some("a"), 9).unwrap().len(), 4);
}

pub(super) async fn a_snapshot_stays_as_it_was(store: Store) {
    put(&store, "t/a", "old").await;
    let txn = store.begin().await.unwrap();
    put(&store, "t/a", "new").await;
    put(&store, "t/b", "new").await;
    assert_eq!(text(&txn, "t/a").as_deref(), Some("old"));
    assert_eq!(keys(&txn, "t/"), ["t/a"]);
}

pub(super) async fn nothing_is_visible_before_the_commit(store: Store) {
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/a", json("1")).unwrap();
    assert_eq!(stored(&store, "t/a").await, None);
    drop(txn);
    assert_eq!(stored(&store, "t/a").await, None);
}

pub(super) async fn of_two_that_read_and_write_a_key_one_conflicts(store: Store) {
    put(&store, "t/a", "0").await;
    let mut first = store.begin().await.unwrap();
    let mut second = store.begin().await.unwrap();
    for txn in [&mut first, &mut second] {
        assert_eq!(text(txn, "t/a").as_deref(), Some("0"));
    }
    first.put_raw("t/a", json("first")).unwrap();
    second.put_raw("t/a", json("second")).unwrap();
    second.commit().await.unwrap();
    assert_eq!(first.commit().await, Err(StoreError::Conflict));
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("second"));
}

pub(super) async fn a_write_of_something_unread_does_not_conflict(store: Store) {
    let mut first = store.begin().await.unwrap();
    let mut second = store.begin().await.unwrap();
    first.put_raw("t/a", json("first")).unwrap();
    second.put_raw("t/a", json("second")).unwrap();
    second.commit().await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("first"));
}

pub(super) async fn write_skew_is_refused(store: Store) {
    put(&store, "t/a", "on duty").await;
    put(&store, "t/b", "on duty").await;
    // Each sees the other on duty, and leaves.
    let mut first = store.begin().await.unwrap();
    let mut second = store.begin().await.unwrap();
    assert_eq!(text(&first, "t/b").as_deref(), Some("on duty"));
    assert_eq!(text(&second, "t/a").as_deref(), Some("on duty"));
    first.put_raw("t/a", json("off")).unwrap();
    second.put_raw("t/b", json("off")).unwrap();
    first.commit().await.unwrap();
    assert_eq!(second.commit().await, Err(StoreError::Conflict));
}

/// Whether a transaction that looked through `read` conflicts after `meanwhile`.
async fn conflicts<F: Future>(
    store: &Store,
    read: impl FnOnce(&updraft_runtime::store::Txn),
    meanwhile: F,
) -> bool {
    let mut txn = store.begin().await.unwrap();
    read(&txn);
    meanwhile.await;
    txn.put_raw("other/key", json("1")).unwrap();
    match txn.commit().await {
        Ok(_) => false,
        Err(StoreError::Conflict) => true,
        Err(other) => panic!("{other}"),
    }
}

async fn delete(store: &Store, key: &str) {
    let mut txn = store.begin().await.unwrap();
    txn.delete_raw(key).unwrap();
    txn.commit().await.unwrap();
}

pub(super) async fn a_key_that_appears_where_none_was_found_is_a_conflict(store: Store) {
    let read = |txn: &updraft_runtime::store::Txn| assert_eq!(text(txn, "t/a"), None);
    assert!(conflicts(&store, read, put(&store, "t/a", "1")).await);
}

pub(super) async fn a_key_that_appears_in_a_scanned_range_is_a_conflict(store: Store) {
    put(&store, "t/a", "1").await;
    let read = |txn: &updraft_runtime::store::Txn| assert_eq!(keys(txn, "t/"), ["t/a"]);
    assert!(conflicts(&store, read, put(&store, "t/b", "1")).await);
}

pub(super) async fn a_key_that_vanishes_from_a_scanned_range_is_a_conflict(store: Store) {
    put(&store, "t/a", "1").await;
    put(&store, "t/b", "1").await;
    let read = |txn: &updraft_runtime::store::Txn| assert_eq!(keys(txn, "t/").len(), 2);
    assert!(conflicts(&store, read, delete(&store, "t/b")).await);
}

pub(super) async fn a_key_behind_a_full_page_is_no_conflict(store: Store) {
    for key in ["t/a", "t/b", "t/c"] {
        put(&store, key, "1").await;
    }
    let read = |txn: &updraft_runtime::store::Txn| {
        assert_eq!(txn.scan_raw("t/", None, 2).unwrap().len(), 2);
    };
    assert!(!conflicts(&store, read, put(&store, "t/bb", "1")).await);
    assert!(conflicts(&store, read, put(&store, "t/aa", "1")).await);
}

pub(super) async fn a_key_that_was_rewritten_with_the_same_value_is_a_conflict(store: Store) {
    put(&store, "t/a", "1").await;
    let read = |txn: &updraft_runtime::store::Txn| assert!(text(txn, "t/a").is_some());
    let meanwhile = async {
        delete(&store, "t/a").await;
        put(&store, "t/a", "1").await;
    };
    assert!(conflicts(&store, read, meanwhile).await);
}

pub(super) async fn reading_alone_never_conflicts(store: Store) {
    let before = put(&store, "t/a", "1").await;
    let txn = store.begin().await.unwrap();
    assert_eq!(keys(&txn, "t/"), ["t/a"]);
    put(&store, "t/a", "2").await;
    assert_eq!(txn.commit().await, Ok(before));
}

pub(super) async fn a_version_is_the_commit_that_wrote_the_key(store: Store) {
    let first = put(&store, "t/a", "1").await;
    let second = put(&store, "t/b", "1").await;
    assert!(second > first);
    let txn = store.begin().await.unwrap();
    assert_eq!(txn.get_raw("t/a").unwrap().unwrap().version, first);
    assert_eq!(txn.get_raw("t/b").unwrap().unwrap().version, second);
}

pub(super) async fn transact_runs_again_after_a_conflict(store: Store) {
    let mut rivals = Vec::new();
    for _ in 0..2 {
        let mut rival = store.begin().await.unwrap();
        rival.put_raw("t/a", json("rival")).unwrap();
        rivals.push(rival);
    }
    let mut runs = 0;
    let seen = store.transact(|txn| {
        runs += 1;
        let seen = text(txn, "t/a");
        if let Some(rival) = rivals.pop() {
            // Commits at its first poll, in front of this transaction.
            let mut commit = Box::pin(rival.commit());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = commit.as_mut().poll(&mut context);
        }
        txn.put_raw("t/a", json("mine"))?;
        Ok::<_, StoreError>(seen)
    });
    assert_eq!(seen.await.unwrap().as_deref(), Some("rival"));
    assert_eq!(runs, 3);
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("mine"));
}

pub(super) async fn transact_writes_nothing_if_its_function_fails(store: Store) {
    let result = store.transact(|txn| {
        txn.put_raw("t/a", json("1"))?;
        Err::<(), _>(StoreError::Unknown)
    });
    assert_eq!(result.await, Err(StoreError::Unknown));
    assert_eq!(stored(&store, "t/a").await, None);
}

pub(super) async fn transfers_between_accounts_keep_the_sum(store: Store) {
    const ACCOUNTS: u64 = 5;
    const TASKS: u64 = 8;
    const TRANSFERS: u64 = 40;
    for account in 0..ACCOUNTS {
        put(&store, &format!("t/{account}"), "100").await;
    }
    let sum = |txn: &updraft_runtime::store::Txn| -> u64 {
        let amounts = (0..ACCOUNTS).map(|n| text(txn, &format!("t/{n}")).unwrap());
        amounts.map(|amount| amount.parse::<u64>().unwrap()).sum()
    };
    let transfer = |store: Store, task: u64| async move {
        for step in 0..TRANSFERS {
            let from = format!("t/{}", (task + step) % ACCOUNTS);
            let to = format!("t/{}", (task + 2 * step + 1) % ACCOUNTS);
            let attempt = async || {
                store
                    .transact(|txn| {
                        if from != to {
                            for (account, change) in [(&from, -1), (&to, 1)] {
                                let amount: i64 = text(txn, account).unwrap().parse().unwrap();
                                txn.put_raw(account, json(&(amount + change).to_string()))?;
                            }
                        }
                        Ok::<_, StoreError>(())
                    })
                    .await
            };
            // On a busy machine one may lose to the others as often as it is tried; then nothing was moved.
            while let Err(error) = attempt().await {
                assert_eq!(error, StoreError::Conflict);
            }
            let total = store.read(|txn| Ok::<_, StoreError>(sum(txn))).await.unwrap();
            assert_eq!(total, ACCOUNTS * 100);
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(transfer(store.clone(), task));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

pub(super) async fn a_relaxed_commit_is_visible_at_once(store: Store) {
    let mut txn = store.begin().await.unwrap();
    txn.put_raw("t/a", json("1")).unwrap();
    txn.relax();
    txn.commit().await.unwrap();
    let txn = store.begin().await.unwrap();
    assert_eq!(text(&txn, "t/a").as_deref(), Some("1"));
}

pub(super) async fn a_scoped_handle_reaches_nothing_outside(store: Store) {
    let compute = store.scoped("compute/");
    let outside = |key: &str| StoreError::OutOfScope { key: key.into(), scope: "compute/".into() };
    let mut txn = compute.begin().await.unwrap();
    assert_eq!(txn.get_raw("network/port/1").unwrap_err(), outside("network/port/1"));
    assert_eq!(txn.scan_raw("", None, 1).unwrap_err(), outside(""));
    assert_eq!(txn.put_raw("network/port/1", json("1")).unwrap_err(), outside("network/port/1"));
    assert_eq!(txn.delete_raw("computed").unwrap_err(), outside("computed"));
    assert_eq!(txn.append("network/out", json("1")).unwrap_err(), outside("network/out"));
    assert_eq!(compute.log_read("out", 0, 1).await.unwrap_err(), outside("out"));
    assert_eq!(compute.trim_log("out", 1).await.unwrap_err(), outside("out"));
    txn.put_raw("compute/server/1", json("1")).unwrap();
    txn.commit().await.unwrap();
    assert_eq!(stored(&store, "compute/server/1").await.as_deref(), Some("1"));
}

pub(super) async fn a_scope_within_a_scope_only_narrows(store: Store) {
    let txn = store.scoped("compute/").scoped("").begin().await.unwrap();
    assert!(matches!(txn.get_raw("network/a"), Err(StoreError::OutOfScope { .. })));
    let txn = store.scoped("compute/").scoped("compute/server").begin().await.unwrap();
    assert!(matches!(txn.get_raw("compute/flavor/a"), Err(StoreError::OutOfScope { .. })));
    assert!(txn.get_raw("compute/server/a").is_ok());
}

pub(super) async fn what_cannot_be_kept_is_refused(store: Store) {
    let mut txn = store.begin().await.unwrap();
    let largest = json(&"x".repeat(VALUE_MAX_BYTES));
    let too_large = json(&"x".repeat(VALUE_MAX_BYTES + 1));
    let refused = |result: Result<(), StoreError>| match result {
        Err(StoreError::TooLarge { what, limit, .. }) => (what, limit),
        other => panic!("{other:?}"),
    };
    let value = refused(txn.put_raw("t/a", too_large));
    assert_eq!(value, ("the value of \"t/a\"".to_owned(), VALUE_MAX_BYTES));
    let key = refused(txn.put_raw(&"k".repeat(KEY_MAX_BYTES + 1), json("1")));
    assert_eq!(key.1, KEY_MAX_BYTES);
    let nul = StoreError::BadKey { key: "t/\0".to_owned() };
    assert_eq!(txn.put_raw("t/\0", json("1")), Err(nul));
    for n in 0..TXN_MAX_BYTES / (VALUE_MAX_BYTES + 16) {
        txn.put_raw(&format!("t/{n}"), largest.clone()).unwrap();
    }
    let whole = refused(txn.put_raw("t/last", largest));
    assert_eq!(whole, ("the transaction".to_owned(), TXN_MAX_BYTES));
}

pub(super) async fn a_closed_store_refuses(store: Store) {
    put(&store, "t/a", "1").await;
    let mut open = store.begin().await.unwrap();
    open.put_raw("t/a", json("2")).unwrap();
    store.close().await;
    store.close().await;
    let closed = StoreError::Closed;
    assert_eq!(open.commit().await, Err(closed.clone()));
    assert_eq!(store.begin().await.unwrap_err(), closed);
}
