//! The rows that were read last, as they were decoded: most reads are of what was read or written a moment ago.
//!
//! What is kept is the row of some bytes, and it is for these very bytes, in memory, that it is given again: so it is never
//! wrong, whatever a store does. It changes nothing about what a transaction has read.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::record::Record;

/// Rows kept at most: those that a busy node has to do with at a time, at some kilobytes each.
const ROWS_MAX: usize = 512;

/// Rows of any tables by their full keys.
#[derive(Default)]
pub(super) struct Memo {
    rows: Mutex<BTreeMap<Arc<str>, Kept>>,
}

struct Kept {
    value: Bytes,
    row: Arc<dyn Any + Send + Sync>,
}

impl Kept {
    fn is_of(&self, value: &Bytes) -> bool {
        // They are held here, so nothing else can have come to be in their place.
        std::ptr::eq(self.value.as_ptr(), value.as_ptr()) && self.value.len() == value.len()
    }
}

impl Memo {
    /// The row that these bytes are, if that is known.
    pub(super) fn get<R: Record>(&self, key: &str, value: &Bytes) -> Option<R> {
        let row = {
            let rows = self.rows.lock();
            let kept = rows.get(key).filter(|kept| kept.is_of(value))?;
            Arc::clone(&kept.row)
        };
        row.downcast_ref::<R>().cloned()
    }

    /// Keeps a row as these bytes.
    pub(super) fn keep<R: Record>(&self, key: &str, value: &Bytes, row: &R) {
        let kept = Kept { value: value.clone(), row: Arc::new(row.clone()) };
        let mut rows = self.rows.lock();
        if let Some(former) = rows.get_mut(key) {
            *former = kept;
            return;
        }
        // What is still of use is soon here again.
        if rows.len() >= ROWS_MAX {
            rows.clear();
        }
        rows.insert(key.into(), kept);
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Fruit(u32);

    impl Record for Fruit {
        const TABLE: &'static str = "shop/fruit";

        fn key(&self) -> String {
            self.0.to_string()
        }
    }

    #[test]
    fn a_row_is_given_again_for_the_same_bytes_alone() {
        let (memo, value) = (Memo::default(), Bytes::from(b"1".to_vec()));
        memo.keep("shop/fruit/1", &value, &Fruit(1));
        assert_eq!(memo.get("shop/fruit/1", &value.clone()), Some(Fruit(1)));
        let same_content = Bytes::from(b"1".to_vec());
        assert_eq!(memo.get::<Fruit>("shop/fruit/1", &same_content), None);
        assert_eq!(memo.get::<Fruit>("shop/fruit/1", &value.slice(..0)), None);
        assert_eq!(memo.get::<Fruit>("shop/fruit/2", &value), None);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let (memo, value) = (Memo::default(), Bytes::from_static(b"1"));
        for number in 0..=ROWS_MAX {
            memo.keep(&number.to_string(), &value, &Fruit(1));
        }
        assert!(memo.rows.lock().len() <= ROWS_MAX);
        assert_eq!(memo.get(&ROWS_MAX.to_string(), &value), Some(Fruit(1)));
    }
}
