//! Hints that keys under a prefix have changed.
//!
//! A watch promises to wake up at some time after a change under its prefix has become visible. It never
//! promises one wake-up per change, nor an order, and it never blocks a commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::limits::WATCH_KEYS_MAX;

/// What changed since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys (and names of logs) that were written or deleted, in order; empty if too many were.
    pub keys: Vec<Arc<str>>,
    /// More changed than is remembered, or the store has ended: scan again.
    pub overflowed: bool,
}

/// A subscription to changes under a prefix; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    watched: Arc<Watched>,
    registry: Weak<Registry>,
    id: u64,
}

impl Watch {
    /// Waits until something under the prefix has changed and takes the news. Loses nothing when cancelled.
    pub async fn changed(&mut self) -> Changes {
        loop {
            if let Some(changes) = self.watched.take() {
                return changes;
            }
            self.watched.wake.notified().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.remove(&self.watched.prefix, self.id);
        }
    }
}

#[derive(Debug)]
struct Watched {
    prefix: Arc<str>,
    news: Mutex<News>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct News {
    keys: BTreeSet<Arc<str>>,
    overflowed: bool,
}

impl Watched {
    fn take(&self) -> Option<Changes> {
        let News { keys, overflowed } = mem::take(&mut *self.news.lock());
        (overflowed || !keys.is_empty())
            .then(|| Changes { keys: keys.into_iter().collect(), overflowed })
    }

    fn tell<'a>(&self, keys: impl Iterator<Item = &'a Arc<str>>) {
        let mut news = self.news.lock();
        for key in keys {
            if news.overflowed {
                break;
            }
            news.keys.insert(Arc::clone(key));
            if news.keys.len() > WATCH_KEYS_MAX {
                *news = News { keys: BTreeSet::new(), overflowed: true };
            }
        }
        drop(news);
        self.wake.notify_one();
    }

    fn overflow(&self) {
        *self.news.lock() = News { keys: BTreeSet::new(), overflowed: true };
        self.wake.notify_one();
    }
}

/// All watches of a store, by prefix.
#[derive(Debug, Default)]
pub(super) struct Registry {
    watches: Mutex<Watches>,
}

#[derive(Debug, Default)]
struct Watches {
    by_prefix: BTreeMap<Arc<str>, BTreeMap<u64, Arc<Watched>>>,
    last_id: u64,
    ended: bool,
}

impl Registry {
    pub(super) fn watch(self: &Arc<Self>, prefix: &str) -> Watch {
        let mut watches = self.watches.lock();
        watches.last_id += 1;
        let id = watches.last_id;
        let prefix: Arc<str> = prefix.into();
        let news = News { overflowed: watches.ended, ..News::default() };
        let watched = Arc::new(Watched {
            prefix: Arc::clone(&prefix),
            news: Mutex::new(news),
            wake: Notify::new(),
        });
        watches.by_prefix.entry(prefix).or_default().insert(id, Arc::clone(&watched));
        Watch { watched, registry: Arc::downgrade(self), id }
    }

    /// A watch that nothing wakes.
    pub(super) fn never(self: &Arc<Self>) -> Watch {
        let watched = Watched { prefix: "".into(), news: Mutex::default(), wake: Notify::new() };
        Watch { watched: Arc::new(watched), registry: Weak::new(), id: 0 }
    }

    fn remove(&self, prefix: &Arc<str>, id: u64) {
        let mut watches = self.watches.lock();
        if let Some(same_prefix) = watches.by_prefix.get_mut(prefix) {
            same_prefix.remove(&id);
            if same_prefix.is_empty() {
                watches.by_prefix.remove(prefix);
            }
        }
    }

    /// Tells every watch whose prefix one of these keys has.
    pub(super) fn tell(&self, keys: &[Arc<str>]) {
        let watches = self.watches.lock();
        for (prefix, same_prefix) in &watches.by_prefix {
            if keys.iter().any(|key| key.starts_with(&**prefix)) {
                for watched in same_prefix.values() {
                    watched.tell(keys.iter().filter(|key| key.starts_with(&**prefix)));
                }
            }
        }
    }

    /// Wakes everyone: a scan will say what has become of the store. With `ended`, so will every later watch.
    pub(super) fn overflow(&self, ended: bool) {
        let mut watches = self.watches.lock();
        watches.ended |= ended;
        for watched in watches.by_prefix.values().flat_map(BTreeMap::values) {
            watched.overflow();
        }
    }
}
