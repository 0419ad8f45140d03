//! Places that many ask for: so many for all together, and no more for one of them than its share.
//!
//! Promises that who asks for all leaves some to the others, and that nobody is remembered who holds none.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// Who asks has its share.
    Share,
}

/// Who holds how many places; clones are the same places.
#[derive(Clone, Debug)]
pub struct Shares<K: Ord> {
    taken: Arc<Mutex<BTreeMap<K, usize>>>,
    all_max: usize,
    share_max: usize,
}

/// One place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place<K: Ord> {
    shares: Shares<K>,
    holder: K,
}

impl<K: Ord + Clone> Shares<K> {
    /// Places for all together, and how many of them one may hold.
    #[must_use]
    pub fn new(all_max: usize, share_max: usize) -> Self {
        Self { taken: Arc::default(), all_max, share_max }
    }

    /// A place for this holder.
    pub fn take(&self, holder: &K) -> Result<Place<K>, Full> {
        let mut taken = self.taken.lock();
        if taken.values().sum::<usize>() >= self.all_max {
            return Err(Full::All);
        }
        let held = taken.entry(holder.clone()).or_default();
        if *held >= self.share_max {
            return Err(Full::Share);
        }
        *held += 1;
        Ok(Place { shares: self.clone(), holder: holder.clone() })
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        match taken.get_mut(&self.holder) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                taken.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = 7;
    const SHARE: usize = 3;

    /// The places that this holder gets until there is none.
    fn all_for(shares: &Shares<usize>, holder: usize) -> Vec<Place<usize>> {
        std::iter::from_fn(|| shares.take(&holder).ok()).collect()
    }

    #[test]
    fn who_asks_for_all_leaves_some_to_the_others() {
        let shares = Shares::new(ALL, SHARE);
        let greedy = all_for(&shares, 0);
        assert_eq!(greedy.len(), SHARE);
        assert_eq!(shares.take(&0).err(), Some(Full::Share));
        assert!(shares.take(&1).is_ok());
    }

    #[test]
    fn all_together_get_no_more_than_there_is() {
        let shares = Shares::new(ALL, SHARE);
        let held: Vec<_> = (0..ALL).flat_map(|holder| all_for(&shares, holder)).collect();
        assert_eq!(held.len(), ALL);
        assert_eq!(shares.take(&ALL).err(), Some(Full::All));
    }

    #[test]
    fn a_place_that_is_left_is_free_again_and_nobody_is_remembered_for_it() {
        let shares = Shares::new(ALL, SHARE);
        let mut held = all_for(&shares, 0);
        held.pop();
        held.push(shares.take(&0).unwrap());
        drop(held);
        assert!(shares.taken.lock().is_empty());
    }
}
