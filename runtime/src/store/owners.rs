//! Rows that belong to other rows.
//!
//! What a row owns is found by an index of its service, without looking through a table: the row `item/K` of the
//! service `shop` that belongs to `order/O` has the entry `shop/~owned/order/O/item/K`. It is written, and checked, by
//! the transaction that writes the row. A reference that is gained names a row that is there, of the same service, and
//! never one that belongs to the row itself, however far away: so the rows of a service are owned without cycles.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    StoreError, Txn,
    limits::{OWNED_WALK_MAX, OWNERS_MAX},
    record::{self, Record},
};

/// The value of an entry; all it says is in its key.
const ENTRY_VALUE: Bytes = Bytes::from_static(b"null");

/// Names a row of any table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowRef {
    table: Cow<'static, str>,
    key: String,
}

impl RowRef {
    /// The row of this kind with this key.
    pub fn to<R: Record>(key: impl Into<String>) -> Self {
        Self { table: Cow::Borrowed(R::TABLE), key: key.into() }
    }

    /// Its table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Its key within the table.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    fn service_and_kind(&self) -> (&str, &str) {
        self.table.split_once('/').unwrap_or((&self.table, ""))
    }

    /// The prefix of the entries of all that this row owns.
    fn owned_prefix(&self) -> String {
        let key = record::encode(&self.key, true);
        format!("{}{key}/", owned_in(&self.table))
    }

    fn entry(&self, owned: &Self) -> String {
        let key = record::encode(&owned.key, false);
        format!("{}{}/{key}", self.owned_prefix(), owned.service_and_kind().1)
    }
}

impl fmt::Display for RowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.table, self.key)
    }
}

/// The prefix of the entries of all that rows of this table own.
fn owned_in(table: &str) -> String {
    let (service, kind) = table.split_once('/').unwrap_or((table, ""));
    format!("{service}/~owned/{kind}/")
}

/// The prefix to watch to hear of what rows of this kind come to own, and own no longer.
#[must_use]
pub fn owned_of<R: Record>() -> String {
    owned_in(R::TABLE)
}

/// The key of the owner that the entry under this full key tells; `None` for keys of anything else.
#[must_use]
pub fn owner_in<R: Record>(stored: &str) -> Option<String> {
    let (key, _) = stored.strip_prefix(owned_of::<R>().as_str())?.split_once('/')?;
    decoded(key)
}

fn decoded(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

pub(super) fn owners<R: Record>(row: &R) -> BTreeSet<RowRef> {
    row.owners().into_iter().collect()
}

impl Txn {
    /// Up to `limit` of the rows that belong to the row with this key, whether that one is there or not.
    pub fn owned_by<R: Record>(&self, key: &str, limit: usize) -> Result<Vec<RowRef>, StoreError> {
        self.owned(&RowRef::to::<R>(key), limit)
    }

    fn owned(&self, owner: &RowRef, limit: usize) -> Result<Vec<RowRef>, StoreError> {
        let (prefix, (service, _)) = (owner.owned_prefix(), owner.service_and_kind());
        let row = |entry: &str| {
            let (kind, key) = entry.strip_prefix(prefix.as_str())?.split_once('/')?;
            Some(RowRef { table: Cow::Owned(format!("{service}/{kind}")), key: decoded(key)? })
        };
        let found = self.scan_raw(&prefix, None, limit)?;
        Ok(found.iter().filter_map(|(entry, _)| row(entry)).collect())
    }

    /// Whether the row is there, whatever it is.
    pub(crate) fn is_there(&self, row: &RowRef) -> Result<bool, StoreError> {
        Ok(self.get_raw(&record::row_key(&row.table, &row.key))?.is_some())
    }

    /// Writes whose a row is, and refuses an owner that it cannot have.
    pub(super) fn change_owners<R: Record>(
        &mut self,
        key: &str,
        before: &BTreeSet<RowRef>,
        wanted: &BTreeSet<RowRef>,
    ) -> Result<(), StoreError> {
        let owned = RowRef::to::<R>(key);
        for lost in before.difference(wanted) {
            self.delete_raw(&lost.entry(&owned))?;
        }
        if wanted.len() > OWNERS_MAX {
            let what = format!("the number of owners of {owned}");
            return Err(StoreError::TooLarge { what, size: wanted.len(), limit: OWNERS_MAX });
        }
        for gained in wanted.difference(before) {
            self.check_owner(&owned, gained)?;
            self.put_raw(&gained.entry(&owned), ENTRY_VALUE)?;
        }
        Ok(())
    }

    /// Lets a row be found by its owners that was stored before its kind named them. Owners that are gone are among
    /// them: it is an orphan then, and its plan sees that.
    pub(super) fn restore_owners<R: Record>(
        &mut self,
        key: &str,
        row: &R,
    ) -> Result<(), StoreError> {
        let owned = RowRef::to::<R>(key);
        for owner in owners(row) {
            let entry = owner.entry(&owned);
            if self.get_raw(&entry)?.is_none() {
                self.put_raw(&entry, ENTRY_VALUE)?;
            }
        }
        Ok(())
    }

    fn check_owner(&self, row: &RowRef, owner: &RowRef) -> Result<(), StoreError> {
        let bad = |reason| {
            let (row, owner) = (row.to_string(), owner.to_string());
            Err(StoreError::BadOwner { row, owner, reason })
        };
        if owner.service_and_kind().0 != row.service_and_kind().0 {
            return bad(
                "it is a row of another service: refer to it by its id, and ask by messages",
            );
        }
        if owner == row || self.owns(row, owner)? {
            return bad("the row would own itself; leave one of the references out");
        }
        if !self.is_there(owner)? {
            return bad("it is not there, or no longer; write the owner first");
        }
        Ok(())
    }

    /// Whether `other` belongs to `row`, or to what belongs to it.
    fn owns(&self, row: &RowRef, other: &RowRef) -> Result<bool, StoreError> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![row.clone()]);
        while let Some(next) = open.pop() {
            for owned in self.owned(&next, OWNED_WALK_MAX)? {
                if owned == *other {
                    return Ok(true);
                }
                if seen.insert(owned.clone()) {
                    open.push(owned);
                }
            }
            if seen.len() >= OWNED_WALK_MAX {
                let what = format!("the number of rows that {row} owns, for it to gain an owner,");
                return Err(StoreError::TooLarge { what, size: seen.len(), limit: OWNED_WALK_MAX });
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    struct Order;

    impl Record for Order {
        const TABLE: &'static str = "shop/order";
        fn key(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn an_entry_tells_its_owner_whatever_the_keys_are() {
        let owned = RowRef { table: "shop/item".into(), key: "a/b%".to_owned() };
        for key in ["plain", "a/b", "100%"] {
            let entry = RowRef::to::<Order>(key).entry(&owned);
            assert!(entry.starts_with("shop/~owned/order/"), "{entry}");
            assert_eq!(owner_in::<Order>(&entry).as_deref(), Some(key));
        }
        assert_eq!(owner_in::<Order>("shop/~owned/orders/a/item/b"), None);
    }

    #[test]
    fn a_row_is_named_as_people_read_it() {
        assert_eq!(RowRef::to::<Order>("7").to_string(), r#"shop/order "7""#);
    }
}
