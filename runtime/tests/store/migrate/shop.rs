//! Rows of a shape that is past, and what they are now.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_runtime::store::{Change, IndexEntry, Record, Schema, Store, StoreError, Txn};

use crate::support::{append, json as text};

/// More guests than a page has.
pub(super) const MANY: usize = 700;
/// As many as make a small file.
pub(super) const FEW: usize = 40;
const HOSTS: usize = 7;

pub(super) const SCHEMA: Schema = Schema {
    service: "shop",
    changes: &[
        Change::rewrite("a guest's node is called its host", Guest::TABLE, node_is_host),
        Change::reindex::<Guest>("guests are found by host"),
    ],
};

fn node_is_host(row: &mut Value) {
    if let Some(node) = row.as_object_mut().and_then(|row| row.remove("node")) {
        row["host"] = node;
    }
}

/// A guest in the shape of today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Guest {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) host: Option<String>,
    /// Came later, and needs no change.
    #[serde(default)]
    pub(super) locked: bool,
}

impl Record for Guest {
    const TABLE: &'static str = "shop/guest";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let host = self.host.as_ref().map(|host| IndexEntry::many("host", host));
        [IndexEntry::unique("name", &self.name)].into_iter().chain(host).collect()
    }
}

fn host(number: usize) -> Option<String> {
    (!number.is_multiple_of(3)).then(|| format!("h{}", number % HOSTS))
}

pub(super) fn now(number: usize) -> Guest {
    let (id, name) = (format!("g{number:03}"), format!("n{number:03}"));
    Guest { id, name, host: host(number), locked: false }
}

/// The same guest as it was written then.
pub(super) fn then(number: usize) -> String {
    let Guest { id, name, host, .. } = now(number);
    json!({ "id": id, "name": name, "node": host }).to_string()
}

fn put_as_then(txn: &mut Txn, number: usize) -> Result<(), StoreError> {
    let Guest { id, name, host, .. } = now(number);
    txn.put_raw(&format!("shop/guest/{id}"), text(&then(number)))?;
    txn.put_raw(&format!("shop/guest~name/{name}/{id}"), text("null"))?;
    if let Some(node) = host {
        txn.put_raw(&format!("shop/guest~node/{node}/{id}"), text("null"))?;
    }
    Ok(())
}

/// Writes what a program of that time has written.
pub(super) async fn furnish_as_then(store: &Store, guests: usize) {
    let write = |txn: &mut Txn| (0..guests).try_for_each(|number| put_as_then(txn, number));
    store.transact(write).await.unwrap();
    let mut neighbour = store.begin().await.unwrap();
    neighbour.put_raw("shop/guesthouse/a", text("\"not a guest\"")).unwrap();
    neighbour.commit().await.unwrap();
    for entry in ["first", "second"] {
        append(store, "shop/log", entry).await;
    }
}

/// Every guest is there as it is now, is found by every index that there is, and by no other.
pub(super) async fn assert_as_now(store: &Store, guests: usize) {
    let txn = store.begin().await.unwrap();
    let guests: Vec<Guest> = (0..guests).map(now).collect();
    let found = txn.scan::<Guest>(None, usize::MAX).unwrap();
    let found: Vec<Guest> = found.into_iter().filter(|guest| guest.id != "new").collect();
    assert_eq!(found, guests);
    for number in 0..HOSTS {
        let host = format!("h{number}");
        let there: Vec<&Guest> =
            guests.iter().filter(|guest| guest.host.as_deref() == Some(&*host)).collect();
        let found = txn.find::<Guest>("host", &host).unwrap();
        assert!(found.iter().filter(|guest| guest.id != "new").eq(there), "{host}");
    }
    let entries = txn.scan_raw("shop/guest~", None, usize::MAX).unwrap();
    let wanted: usize = found.iter().map(|guest| guest.indexes().len()).sum();
    let of_old = entries.iter().filter(|(key, _)| !key.ends_with("/new"));
    assert_eq!(of_old.count(), wanted, "there are entries that nobody wants");
    let log = store.log_read("shop/log", 0, 2).await.unwrap();
    assert_eq!(
        log.iter().map(|entry| &*entry.value).collect::<Vec<_>>(),
        [&b"first"[..], b"second"]
    );
    assert!(txn.get_raw("shop/guesthouse/a").unwrap().is_some());
}
