//! Which files of a folder have which names: what its node sees, and what of that is there when the power fails.
//!
//! A journal: what was done to names reaches the disk in order, so that with one change those behind it are lost. When
//! the journal could not be written, the next sync writes it. Pure: whoever draws chance and reads time hands both in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::file::{Chance, Fate};

/// A file, whatever its name.
pub(super) type Inode = u64;

type Named = BTreeMap<String, Inode>;

/// Something done to names.
#[derive(Debug)]
enum Change {
    Named(String, Inode),
    Renamed { from: String, to: String, file: Inode },
    Removed(String),
}

#[derive(Debug)]
struct Entry {
    change: Change,
    /// When it is done: what its node's disk works on it waits for first.
    done_at: Duration,
    /// When a sync that covers it ends.
    durable_at: Option<Duration>,
}

/// The names in a folder.
#[derive(Debug, Default)]
pub(super) struct Names {
    seen: Named,
    durable: Named,
    /// What was done since, in order.
    journal: Vec<Entry>,
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<Inode> {
        self.seen.get(name).copied()
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.keys().cloned().collect()
    }

    /// A file has this name from then on, in place of any that had it.
    pub(super) fn name(&mut self, name: &str, file: Inode, done_at: Duration) {
        self.change(Change::Named(name.to_owned(), file), done_at);
    }

    /// A file that is there has another name from then on, in place of any that had it.
    pub(super) fn rename(&mut self, from: &str, to: &str, file: Inode, done_at: Duration) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change(Change::Renamed { from, to, file }, done_at);
    }

    pub(super) fn remove(&mut self, name: &str, done_at: Duration) {
        self.change(Change::Removed(name.to_owned()), done_at);
    }

    fn change(&mut self, change: Change, done_at: Duration) {
        change.apply(&mut self.seen);
        self.journal.push(Entry { change, done_at, durable_at: None });
    }

    /// Makes durable what was done when it begins, once it ends.
    pub(super) fn sync(&mut self, begins_at: Duration, ends_at: Duration) {
        let covered = self.journal.iter_mut().filter(|entry| entry.done_at <= begins_at);
        for entry in covered {
            entry.durable_at = Some(entry.durable_at.map_or(ends_at, |at| at.min(ends_at)));
        }
    }

    /// Makes durable what syncs have covered that have ended.
    pub(super) fn settle(&mut self, now: Duration) {
        let durable = &mut self.durable;
        self.journal.retain(|entry| {
            let is_durable = entry.durable_at.is_some_and(|at| at <= now);
            if is_durable {
                entry.change.apply(durable);
            }
            !is_durable
        });
    }

    /// The power fails: what is left is what the node sees from now on.
    pub(super) fn fail_power(&mut self, now: Duration, chance: &mut impl Chance) {
        self.settle(now);
        let done = std::mem::take(&mut self.journal).into_iter().filter(|one| one.done_at <= now);
        for Entry { change, .. } in done {
            let is_kept = match chance.fate() {
                Fate::Kept => true,
                Fate::Lost => false,
                // A name has no parts.
                Fate::Torn => chance.coin(),
            };
            if !is_kept {
                break;
            }
            change.apply(&mut self.durable);
        }
        self.seen.clone_from(&self.durable);
    }

    /// The files that have a name or may have one again.
    pub(super) fn files(&self) -> BTreeSet<Inode> {
        let named = self.seen.values().chain(self.durable.values()).copied();
        let waiting = self.journal.iter().filter_map(|entry| match entry.change {
            Change::Named(_, file) | Change::Renamed { file, .. } => Some(file),
            Change::Removed(_) => None,
        });
        named.chain(waiting).collect()
    }
}

impl Change {
    fn apply(&self, to: &mut Named) {
        match self {
            Self::Named(name, file) => {
                to.insert(name.clone(), *file);
            }
            Self::Renamed { from, to: name, file } => {
                to.remove(from);
                to.insert(name.clone(), *file);
            }
            Self::Removed(name) => {
                to.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fates in this order, and the last one from then on.
    struct Drawn(Vec<Fate>);

    impl Chance for Drawn {
        fn fate(&mut self) -> Fate {
            if self.0.len() > 1 { self.0.remove(0) } else { self.0[0] }
        }

        fn coin(&mut self) -> bool {
            true
        }
    }

    const NOW: Duration = Duration::from_secs(1);
    const SOON: Duration = Duration::from_secs(2);
    const LATER: Duration = Duration::from_secs(3);

    fn seen(names: &Names) -> Vec<(&str, Inode)> {
        names.seen.iter().map(|(name, file)| (name.as_str(), *file)).collect()
    }

    fn replaced(names: &mut Names, file: Inode, done_at: Duration) {
        names.name("a.new", file, done_at);
        names.rename("a.new", "a", file, done_at);
    }

    #[test]
    fn what_is_synced_is_kept_and_the_rest_up_to_the_first_that_is_lost() {
        let lost_second = || Drawn(vec![Fate::Kept, Fate::Lost, Fate::Kept]);
        let mut names = Names::default();
        replaced(&mut names, 1, NOW);
        names.sync(NOW, NOW);
        replaced(&mut names, 2, NOW);
        names.remove("a", NOW);
        assert_eq!(seen(&names), []);
        names.fail_power(NOW, &mut lost_second());
        assert_eq!(seen(&names), [("a", 1), ("a.new", 2)]);
        names.remove("a", NOW);
        names.remove("a.new", NOW);
        names.fail_power(NOW, &mut Drawn(vec![Fate::Torn]));
        assert_eq!(seen(&names), []);
    }

    #[test]
    fn what_waits_for_the_disk_is_not_done_yet_and_no_sync_that_began_before_covers_it() {
        let mut names = Names::default();
        replaced(&mut names, 1, SOON);
        names.sync(NOW, LATER);
        names.fail_power(NOW, &mut Drawn(vec![Fate::Kept]));
        assert_eq!(seen(&names), []);
        replaced(&mut names, 2, SOON);
        names.sync(NOW, SOON);
        names.fail_power(LATER, &mut Drawn(vec![Fate::Lost]));
        assert_eq!(seen(&names), []);
    }

    #[test]
    fn a_sync_has_made_nothing_durable_before_it_ends() {
        let mut names = Names::default();
        replaced(&mut names, 1, NOW);
        names.sync(NOW, LATER);
        names.settle(SOON);
        names.fail_power(SOON, &mut Drawn(vec![Fate::Lost]));
        assert_eq!(seen(&names), []);
    }

    #[test]
    fn a_file_is_kept_as_long_as_it_may_have_a_name_again() {
        let mut names = Names::default();
        replaced(&mut names, 1, NOW);
        names.sync(NOW, NOW);
        names.settle(NOW);
        replaced(&mut names, 2, NOW);
        names.remove("a", NOW);
        assert_eq!(names.files(), [1, 2].into());
        names.sync(NOW, NOW);
        names.settle(NOW);
        assert_eq!(names.files(), [].into());
    }
}
