//! Ordered logs.

use updraft_runtime::store::{LogEntry, Store, limits::LOG_TAIL_MAX_ENTRIES};

use crate::support::{append, json, keys};

async fn read_all(store: &Store, log: &str, page: usize) -> Vec<LogEntry> {
    let mut all: Vec<LogEntry> = Vec::new();
    loop {
        let after = all.last().map_or(0, |entry| entry.sequence);
        let entries = store.log_read(log, after, page).await.unwrap();
        if entries.is_empty() {
            return all;
        }
        assert!(entries.len() <= page);
        all.extend(entries);
    }
}

fn texts(entries: &[LogEntry]) -> Vec<&str> {
    entries.iter().map(|entry| std::str::from_utf8(&entry.value).unwrap()).collect()
}

pub(super) async fn entries_come_in_the_order_of_their_commits(store: Store) {
    let mut late = store.begin().await.unwrap();
    late.append("t/log", json("c")).unwrap();
    late.append("t/log", json("d")).unwrap();
    let first = append(&store, "t/log", "a").await;
    let second = append(&store, "t/log", "b").await;
    let last = late.commit().await.unwrap();
    let entries = read_all(&store, "t/log", 100).await;
    assert_eq!(texts(&entries), ["a", "b", "c", "d"]);
    assert!(entries.is_sorted_by(|a, b| a.sequence < b.sequence));
    assert_eq!([entries[0].sequence, entries[1].sequence], [first, second]);
    assert_eq!(entries[3].sequence, last);
}

pub(super) async fn a_log_is_read_in_pages(store: Store) {
    for n in 0..7 {
        append(&store, "t/log", &n.to_string()).await;
    }
    let entries = read_all(&store, "t/log", 3).await;
    assert_eq!(texts(&entries), ["0", "1", "2", "3", "4", "5", "6"]);
}

pub(super) async fn a_log_longer_than_its_tail_is_read_whole(store: Store) {
    let count = LOG_TAIL_MAX_ENTRIES + 300;
    for batch in 0..count.div_ceil(100) {
        let mut txn = store.begin().await.unwrap();
        for n in batch * 100..count.min(batch * 100 + 100) {
            txn.append("t/log", json(&n.to_string())).unwrap();
        }
        txn.commit().await.unwrap();
    }
    let entries = read_all(&store, "t/log", 128).await;
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(texts(&entries), expected);
}

pub(super) async fn an_entry_is_written_with_its_transaction_or_not_at_all(store: Store) {
    let mut txn = store.begin().await.unwrap();
    assert_eq!(keys(&txn, "t/"), Vec::<String>::new());
    txn.append("t/log", json("lost")).unwrap();
    crate::support::put(&store, "t/a", "1").await;
    assert!(txn.commit().await.is_err());
    assert_eq!(read_all(&store, "t/log", 100).await, []);
}

pub(super) async fn trimming_forgets_the_oldest_entries(store: Store) {
    append(&store, "t/log", "a").await;
    let up_to = append(&store, "t/log", "b").await;
    append(&store, "t/log", "c").await;
    store.trim_log("t/log", up_to).await.unwrap();
    assert_eq!(texts(&read_all(&store, "t/log", 100).await), ["c"]);
    store.trim_log("t/log", u64::MAX).await.unwrap();
    append(&store, "t/log", "d").await;
    assert_eq!(texts(&read_all(&store, "t/log", 100).await), ["d"]);
}

pub(super) async fn logs_are_apart_from_each_other_and_from_rows(store: Store) {
    append(&store, "t/log", "a").await;
    append(&store, "t/log2", "b").await;
    assert_eq!(texts(&read_all(&store, "t/log", 100).await), ["a"]);
    assert_eq!(texts(&read_all(&store, "t/log2", 100).await), ["b"]);
    assert_eq!(read_all(&store, "t/lo", 100).await, []);
    assert_eq!(keys(&store.begin().await.unwrap(), ""), Vec::<String>::new());
}
