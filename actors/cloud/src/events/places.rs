//! How many listen on one control node, all together and each user.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// Streams at once on one control node: each costs some kilobytes and a question to the store now and then.
pub const SUBSCRIBERS_MAX: usize = 256;

/// Streams at once of one user on one control node: a few programs with a few streams each, and no user alone takes
/// more than an eighth of all places.
pub const SUBSCRIBERS_PER_USER_MAX: usize = 32;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken.
    Node,
    /// The user's own share is.
    User,
}

/// Who listens, by user.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<BTreeMap<String, usize>>>);

/// One place; it is free again when this is dropped.
pub(super) struct Place {
    places: Places,
    user: String,
}

impl Places {
    pub(super) fn take(&self, user: &str) -> Result<Place, Full> {
        let mut taken = self.0.lock();
        if taken.values().sum::<usize>() >= SUBSCRIBERS_MAX {
            return Err(Full::Node);
        }
        let own = taken.entry(user.to_owned()).or_default();
        if *own >= SUBSCRIBERS_PER_USER_MAX {
            return Err(Full::User);
        }
        *own += 1;
        Ok(Place { places: self.clone(), user: user.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_takes_no_more_than_a_share_and_leaves_the_rest_to_others() {
        let places = Places::default();
        let mut held = Vec::from_iter((0..SUBSCRIBERS_PER_USER_MAX).map(|_| places.take("a").ok()));
        assert_eq!(places.take("a").err(), Some(Full::User));
        assert!(places.take("b").is_ok());
        held.pop();
        assert!(places.take("a").is_ok(), "a place that is left is free again");
    }

    #[test]
    fn a_node_has_no_more_than_its_places() {
        let places = Places::default();
        let user = |number: usize| (number / SUBSCRIBERS_PER_USER_MAX).to_string();
        let held = Vec::from_iter((0..SUBSCRIBERS_MAX).map(|number| places.take(&user(number))));
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(places.take("late").err(), Some(Full::Node));
        drop(held);
        assert!(places.0.lock().is_empty(), "nobody is remembered who does not listen");
    }
}
