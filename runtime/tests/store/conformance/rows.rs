//! Typed rows and their indexes.

use updraft_runtime::store::{IndexEntry, Record, Store, StoreError};

use crate::support::{Server, keys, put};

async fn insert(store: &Store, rows: &[Server]) {
    let inserted = store.transact(|txn| rows.iter().try_for_each(|row| txn.insert(row)));
    inserted.await.unwrap();
}

fn ids(rows: &[Server]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

pub(super) async fn a_row_is_found_by_key_and_by_index(store: Store) {
    let web = Server::new("1", "web", Some("h1"));
    let db = Server::new("2", "db", Some("h1"));
    insert(&store, &[db.clone(), web.clone()]).await;
    let txn = store.begin().await.unwrap();
    assert_eq!(txn.get("1").unwrap(), Some(web.clone()));
    assert_eq!(txn.get::<Server>("3").unwrap(), None);
    assert_eq!(txn.find_one("name", "db").unwrap(), Some(db.clone()));
    assert_eq!(txn.find::<Server>("host", "h1").unwrap(), [web, db]);
    assert_eq!(txn.find::<Server>("host", "h2").unwrap(), []);
}

pub(super) async fn an_index_follows_its_row(store: Store) {
    insert(&store, &[Server::new("1", "web", Some("h1"))]).await;
    let mut txn = store.begin().await.unwrap();
    txn.put(&Server::new("1", "web", Some("h2"))).unwrap();
    txn.commit().await.unwrap();
    let txn = store.begin().await.unwrap();
    let expected = ["compute/server/1", "compute/server~host/h2/1", "compute/server~name/web/1"];
    assert_eq!(keys(&txn, ""), expected);
}

pub(super) async fn a_deleted_row_leaves_no_key_behind(store: Store) {
    let web = Server::new("1", "web", Some("h1"));
    insert(&store, std::slice::from_ref(&web)).await;
    let mut txn = store.begin().await.unwrap();
    assert_eq!(txn.delete("1").unwrap(), Some(web));
    assert_eq!(txn.delete::<Server>("1").unwrap(), None);
    txn.commit().await.unwrap();
    assert_eq!(keys(&store.begin().await.unwrap(), ""), Vec::<String>::new());
}

fn duplicate(value: &str) -> StoreError {
    StoreError::Duplicate { table: "compute/server", index: "name", value: value.to_owned() }
}

pub(super) async fn a_second_row_with_a_unique_value_is_refused(store: Store) {
    insert(&store, &[Server::new("1", "web", None), Server::new("2", "db", None)]).await;
    let mut txn = store.begin().await.unwrap();
    assert_eq!(txn.insert(&Server::new("3", "web", None)), Err(duplicate("web")));
    assert_eq!(txn.put(&Server::new("2", "web", None)), Err(duplicate("web")));
    assert_eq!(txn.put(&Server::new("1", "web", Some("h1"))), Ok(()));
}

pub(super) async fn a_unique_value_is_free_again_within_the_transaction_that_gives_it_up(
    store: Store,
) {
    insert(&store, &[Server::new("1", "web", None)]).await;
    let mut txn = store.begin().await.unwrap();
    txn.put(&Server::new("1", "old-web", None)).unwrap();
    txn.insert(&Server::new("2", "web", None)).unwrap();
    txn.commit().await.unwrap();
    let txn = store.begin().await.unwrap();
    assert_eq!(txn.find_one::<Server>("name", "web").unwrap().unwrap().id, "2");
}

pub(super) async fn two_rows_with_a_unique_value_at_once_conflict(store: Store) {
    let mut first = store.begin().await.unwrap();
    let mut second = store.begin().await.unwrap();
    first.insert(&Server::new("1", "web", None)).unwrap();
    second.insert(&Server::new("2", "web", None)).unwrap();
    first.commit().await.unwrap();
    assert_eq!(second.commit().await, Err(StoreError::Conflict));
}

pub(super) async fn a_row_is_inserted_once(store: Store) {
    insert(&store, &[Server::new("1", "web", None)]).await;
    let mut txn = store.begin().await.unwrap();
    let exists = StoreError::Exists { table: "compute/server", key: "1".to_owned() };
    assert_eq!(txn.insert(&Server::new("1", "other", None)), Err(exists));
}

pub(super) async fn a_value_is_not_mistaken_for_a_longer_one(store: Store) {
    let rows = [Server::new("1", "web", Some("h")), Server::new("2", "web2", Some("h1"))];
    insert(&store, &rows).await;
    let txn = store.begin().await.unwrap();
    assert_eq!(ids(&txn.find("host", "h").unwrap()), ["1"]);
    assert_eq!(ids(&txn.find("name", "web").unwrap()), ["1"]);
}

pub(super) async fn any_text_can_be_key_and_index_value(store: Store) {
    let odd = ["", "/", "a/b", "%2F", "a\nb\0", "žluť", "~", "a b", "\u{10FFFF}"];
    let rows: Vec<_> = odd.iter().map(|text| Server::new(text, text, Some(text))).collect();
    insert(&store, &rows).await;
    let txn = store.begin().await.unwrap();
    for row in &rows {
        assert_eq!(txn.get(&row.id).unwrap().as_ref(), Some(row));
        assert_eq!(txn.find::<Server>("host", &row.id).unwrap(), std::slice::from_ref(row));
    }
    assert_eq!(txn.scan::<Server>(None, 100).unwrap().len(), rows.len());
    assert!(keys(&txn, "").iter().all(|key| !key.contains(char::is_control)));
}

pub(super) async fn rows_are_scanned_in_pages(store: Store) {
    let rows: Vec<_> =
        (0..10).map(|n| Server::new(&format!("k{n}%"), &format!("n{n}"), Some("h"))).collect();
    insert(&store, &rows).await;
    let txn = store.begin().await.unwrap();
    let mut seen: Vec<Server> = Vec::new();
    loop {
        let after = seen.last().map(|row| row.id.clone());
        let page = txn.scan::<Server>(after.as_deref(), 4).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, rows);
    assert_eq!(txn.scan::<Server>(None, 0).unwrap(), []);
}

pub(super) async fn rows_of_an_index_are_found_in_pages(store: Store) {
    let rows: Vec<_> = (0..6)
        .map(|n| Server::new(&format!("k/{n}"), &format!("n{n}"), Some(["even", "odd"][n % 2])))
        .collect();
    insert(&store, &rows).await;
    let txn = store.begin().await.unwrap();
    let first = txn.find_page::<Server>("host", "odd", None, 2).unwrap();
    assert_eq!(ids(&first), ["k/1", "k/3"]);
    let rest = txn.find_page::<Server>("host", "odd", Some("k/3"), 2).unwrap();
    assert_eq!(ids(&rest), ["k/5"]);
}

pub(super) async fn entries_of_an_index_are_read_without_their_rows(store: Store) {
    let rows = [("1", "db", "a/1"), ("2", "web", "a/2"), ("3", "old", "b/1")];
    insert(&store, &rows.map(|(id, name, host)| Server::new(id, name, Some(host)))).await;
    let mut txn = store.begin().await.unwrap();
    let entry = |value: &str, key: &str| (value.to_owned(), key.to_owned());
    let found = txn.index_entries::<Server>("host", "a/").unwrap();
    assert_eq!(found, [entry("a/1", "1"), entry("a/2", "2")]);
    // A row that changes elsewhere, and keeps its entry, is no conflict.
    store.transact(|txn| txn.put(&Server::new("1", "db2", Some("a/1")))).await.unwrap();
    txn.put(&Server::new("4", "new", None)).unwrap();
    txn.commit().await.unwrap();
}

pub(super) async fn a_scope_covers_rows_and_their_index_entries(store: Store) {
    let compute = store.scoped("compute/");
    insert(&compute, &[Server::new("1", "web", Some("h1"))]).await;
    let mut txn = compute.begin().await.unwrap();
    assert_eq!(txn.find::<Server>("host", "h1").unwrap().len(), 1);
    assert!(txn.delete::<Server>("1").unwrap().is_some());
    txn.commit().await.unwrap();
    let network = store.scoped("network/").begin().await.unwrap();
    assert!(matches!(network.get::<Server>("1"), Err(StoreError::OutOfScope { .. })));
    assert!(matches!(network.find::<Server>("a", "b"), Err(StoreError::OutOfScope { .. })));
}

pub(super) async fn a_damaged_row_names_its_key(store: Store) {
    put(&store, "compute/server/1", "{\"id\":1").await;
    let mut txn = store.begin().await.unwrap();
    let named = |error| match error {
        StoreError::Corrupt { key, .. } => key,
        other => panic!("{other}"),
    };
    assert_eq!(named(txn.get::<Server>("1").unwrap_err()), "compute/server/1");
    assert_eq!(named(txn.scan::<Server>(None, 1).unwrap_err()), "compute/server/1");
    assert_eq!(named(txn.put(&Server::new("1", "web", None)).unwrap_err()), "compute/server/1");
}

pub(super) async fn an_index_entry_without_a_row_names_its_key(store: Store) {
    put(&store, "compute/server~host/h1/1", "null").await;
    let txn = store.begin().await.unwrap();
    match txn.find::<Server>("host", "h1") {
        Err(StoreError::Corrupt { key, .. }) => assert_eq!(key, "compute/server~host/h1/1"),
        other => panic!("{other:?}"),
    }
}

/// A row that stays the same while its index entries change sides.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Lease {
    id: String,
    exclusive: bool,
}

impl Record for Lease {
    const TABLE: &'static str = "network/lease";
    fn key(&self) -> String {
        self.id.clone()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        let all = "all";
        vec![if self.exclusive {
            IndexEntry::unique("holder", all)
        } else {
            IndexEntry::many("holder", all)
        }]
    }
}

pub(super) async fn an_index_entry_may_become_unique(store: Store) {
    let mut txn = store.begin().await.unwrap();
    txn.put(&Lease { id: "1".into(), exclusive: false }).unwrap();
    txn.put(&Lease { id: "1".into(), exclusive: true }).unwrap();
    assert_eq!(txn.find::<Lease>("holder", "all").unwrap().len(), 1);
    let txn_error = txn.put(&Lease { id: "2".into(), exclusive: true }).unwrap_err();
    assert!(matches!(txn_error, StoreError::Duplicate { .. }));
}
