//! Rows that belong to other rows: what a plan is told of them, and who wakes whom.
//!
//! The references, and the index by which owned rows are found, are the store's ([`Record::owners`]). Here is what an
//! engine makes of them. It deletes nothing: a plan sees that an owner is going or gone, and what the row itself
//! still owns, and says what now.

use std::fmt;

use super::Kind;
use crate::store::{Record, RowRef, StoreError, Txn};

/// A kind of row that others may belong to.
pub trait Owner: Record {
    /// Whether this row is to go: what belongs to it is to go first.
    fn is_going(&self) -> bool;
}

/// How it stands with an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is there, and shall be.
    Here,
    /// It is there, and is to go: this is committed.
    Going,
    /// There is no such row.
    Gone,
}

/// What is asked of an owner in a transaction.
type Look = fn(&Txn, &str) -> Result<Standing, StoreError>;

/// Which rows of a table are concerned when this row changes; `None` if they are more than are woken singly.
type Concerned = fn(&Txn, &str, &str) -> Result<Option<Vec<String>>, StoreError>;

/// Most rows that one change of another wakes singly; beyond that a look at all of them costs no more.
const WOKEN_MAX: usize = 1_000;

/// A kind of row that rows of another kind may belong to, or that may belong to them; see [`Kind::KIN`].
#[derive(Clone, Copy)]
pub struct Kin {
    pub(super) table: &'static str,
    look: Option<Look>,
    pub(super) key_in: fn(&str) -> Option<String>,
    pub(super) concerned: Concerned,
}

impl fmt::Debug for Kin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kin").field(&self.table).finish()
    }
}

impl Kin {
    /// Rows of this kind may own some of the kind that names it.
    #[must_use]
    pub const fn owner<R: Owner>() -> Self {
        Self {
            table: R::TABLE,
            look: Some(standing::<R>),
            key_in: crate::store::key_in::<R>,
            concerned: owned_rows::<R>,
        }
    }

    /// Rows of this kind may belong to some of the kind that names it.
    #[must_use]
    pub const fn owned<R: Record>() -> Self {
        Self {
            table: R::TABLE,
            look: None,
            key_in: crate::store::key_in::<R>,
            concerned: owners_of::<R>,
        }
    }
}

fn standing<R: Owner>(txn: &Txn, key: &str) -> Result<Standing, StoreError> {
    Ok(match txn.get::<R>(key)? {
        None => Standing::Gone,
        Some(owner) if owner.is_going() => Standing::Going,
        Some(_) => Standing::Here,
    })
}

fn owned_rows<R: Record>(
    txn: &Txn,
    key: &str,
    table: &str,
) -> Result<Option<Vec<String>>, StoreError> {
    let owned = txn.owned_by::<R>(key, WOKEN_MAX + 1)?;
    Ok((owned.len() <= WOKEN_MAX).then(|| keys_in(owned, table)))
}

fn owners_of<R: Record>(
    txn: &Txn,
    key: &str,
    table: &str,
) -> Result<Option<Vec<String>>, StoreError> {
    let row = txn.get::<R>(key)?;
    Ok(Some(row.map(|row| keys_in(row.owners(), table)).unwrap_or_default()))
}

fn keys_in(rows: Vec<RowRef>, table: &str) -> Vec<String> {
    let here = rows.into_iter().filter(|row| row.table() == table);
    here.map(|row| row.key().to_owned()).collect()
}

/// How it stands with the owners that a row names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(Vec<(RowRef, Standing)>);

impl Owners {
    /// Looks at the owners of a row, each as it is in this transaction. For [`Kind::facts`].
    ///
    /// An owner whose kind is not in [`Kind::KIN`] is not read: it is here as long as its row is.
    pub fn of<K: Kind>(txn: &Txn, row: &K::Row) -> Result<Self, StoreError> {
        let look = |owner: RowRef| {
            let kin = K::KIN.iter().find(|kin| kin.look.is_some() && kin.table == owner.table());
            let standing = match kin.and_then(|kin| kin.look) {
                Some(look) => look(txn, owner.key())?,
                None if txn.is_there(&owner)? => Standing::Here,
                None => Standing::Gone,
            };
            Ok((owner, standing))
        };
        row.owners().into_iter().map(look).collect::<Result<_, StoreError>>().map(Self)
    }

    /// The first of them that is going or gone.
    #[must_use]
    pub fn leaving(&self) -> Option<&RowRef> {
        self.0.iter().find(|(_, standing)| *standing != Standing::Here).map(|(owner, _)| owner)
    }

    /// Whether there are owners, and none of them stays.
    #[must_use]
    pub fn all_leave(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, standing)| *standing != Standing::Here)
    }

    /// Each with how it stands, in the order in which the row names them.
    #[must_use]
    pub fn each(&self) -> &[(RowRef, Standing)] {
        &self.0
    }
}
