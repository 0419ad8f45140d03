//! One file: what its node sees of it, and what of that is there when the power fails.
//!
//! Pure: whoever draws chance and reads time hands both in.

use std::{collections::VecDeque, io, ops::Range, time::Duration};

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What a power failure makes of a write that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Lost,
    /// Each of its sectors is kept or lost by itself.
    Torn,
}

/// Decides over what is not synced.
pub(super) trait Chance {
    /// Of a write.
    fn fate(&mut self) -> Fate;
    /// Whether a sector of a torn write is kept, or whether a write reached the disk whose sync failed.
    fn coin(&mut self) -> bool;
}

/// Something done to a file.
#[derive(Debug)]
enum Change {
    Bytes { at: usize, data: Vec<u8> },
    Length(usize),
}

/// A sync under way.
#[derive(Debug)]
struct Sync {
    ends_at: Duration,
    /// How many of the changes that wait now it makes durable.
    covers: usize,
}

/// A file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// As its node sees it.
    seen: Vec<u8>,
    /// As it is whatever happens.
    durable: Vec<u8>,
    /// What was done since, in order.
    waiting: VecDeque<Change>,
    /// In order.
    syncs: VecDeque<Sync>,
}

impl File {
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn read(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        let part = self.seen.get(range(at, out.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    /// Writes within the file's length.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) -> io::Result<()> {
        let part = self.seen.get_mut(range(at, data.len())).ok_or(io::ErrorKind::InvalidInput)?;
        part.copy_from_slice(data);
        self.waiting.push_back(Change::Bytes { at, data: data.to_vec() });
        Ok(())
    }

    pub(super) fn set_len(&mut self, length: usize) {
        self.seen.resize(length, 0);
        self.waiting.push_back(Change::Length(length));
    }

    /// Begins to make durable what was done until now; done at that time.
    pub(super) fn sync(&mut self, now: Duration, ends_at: Duration) {
        self.syncs.push_back(Sync { ends_at, covers: self.waiting.len() });
        self.settle(now);
    }

    /// A sync fails. What waited reached the disk or did not, and no later sync writes it: its node is told once, and
    /// sees what it wrote for as long as the power lasts.
    pub(super) fn fail_sync(&mut self, chance: &mut impl Chance) {
        // Those before it were told to have succeeded, whenever they end.
        self.settle(Duration::MAX);
        for change in std::mem::take(&mut self.waiting) {
            if matches!(change, Change::Length(_)) || chance.coin() {
                change.apply(&mut self.durable);
            }
        }
    }

    /// The power fails: what is left is what the node sees from now on.
    pub(super) fn fail_power(&mut self, now: Duration, chance: &mut impl Chance) {
        self.settle(now);
        // What its node did behind a sync that has not ended, it had yet to do.
        let done = self.syncs.front().map_or(self.waiting.len(), |sync| sync.covers);
        self.syncs.clear();
        for change in std::mem::take(&mut self.waiting).into_iter().take(done) {
            match chance.fate() {
                Fate::Kept => change.apply(&mut self.durable),
                Fate::Lost => {}
                Fate::Torn => change.tear(&mut self.durable, || chance.coin()),
            }
        }
        self.seen.clone_from(&self.durable);
    }

    /// Makes durable what syncs have covered that have ended.
    fn settle(&mut self, now: Duration) {
        while self.syncs.front().is_some_and(|sync| sync.ends_at <= now) {
            let Some(sync) = self.syncs.pop_front() else { return };
            for change in self.waiting.drain(..sync.covers) {
                change.apply(&mut self.durable);
            }
            for later in &mut self.syncs {
                later.covers -= sync.covers;
            }
        }
    }
}

impl Change {
    fn apply(self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(length, 0),
            Self::Bytes { at, data } => put(to, at, &data),
        }
    }

    fn tear(self, to: &mut Vec<u8>, mut is_kept: impl FnMut() -> bool) {
        let Self::Bytes { at, data } = self else {
            // A length has no sectors.
            if is_kept() {
                self.apply(to);
            }
            return;
        };
        let mut begin = 0;
        while begin < data.len() {
            let end = data.len().min(begin + SECTOR_BYTES - (at + begin) % SECTOR_BYTES);
            if is_kept() {
                put(to, at + begin, &data[begin..end]);
            }
            begin = end;
        }
    }
}

/// Writes as far as there is a file: the length that it was written for may be lost.
fn put(to: &mut [u8], at: usize, data: &[u8]) {
    let end = to.len().min(at + data.len());
    if let Some(part) = to.get_mut(at..end) {
        part.copy_from_slice(&data[..part.len()]);
    }
}

fn range(at: usize, length: usize) -> Range<usize> {
    at..at.saturating_add(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is drawn, over and over.
    struct Drawn(Fate, bool);

    impl Chance for Drawn {
        fn fate(&mut self) -> Fate {
            self.0
        }

        fn coin(&mut self) -> bool {
            // Every other one.
            self.1 = !self.1;
            self.1
        }
    }

    const NOW: Duration = Duration::from_secs(1);
    const LATER: Duration = Duration::from_secs(2);

    fn file(bytes: usize) -> File {
        let mut file = File::default();
        file.set_len(bytes);
        file.sync(NOW, NOW);
        file
    }

    fn bytes(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.len()];
        file.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_synced_is_kept_and_the_rest_as_drawn() {
        for (fate, left) in [(Fate::Kept, [1, 2]), (Fate::Lost, [1, 0])] {
            let mut file = file(2);
            file.write(0, &[1]).unwrap();
            file.sync(NOW, NOW);
            file.write(1, &[2]).unwrap();
            assert_eq!(bytes(&file), [1, 2]);
            file.fail_power(NOW, &mut Drawn(fate, false));
            assert_eq!(bytes(&file), left, "{fate:?}");
        }
    }

    #[test]
    fn sectors_of_a_torn_write_are_whole() {
        let mut file = file(3 * SECTOR_BYTES);
        file.write(100, &[7; 2 * SECTOR_BYTES]).unwrap();
        file.fail_power(NOW, &mut Drawn(Fate::Torn, false));
        let left = bytes(&file);
        let of = |sector: usize| &left[sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES];
        assert!(of(0)[..100].iter().all(|byte| *byte == 0) && of(0)[100..].iter().all(|b| *b == 7));
        assert!(of(1).iter().all(|byte| *byte == 0));
        assert!(of(2)[..100].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_sync_under_way_has_made_nothing_durable_and_nothing_behind_it_is_done() {
        let mut file = file(2);
        file.write(0, &[1]).unwrap();
        file.sync(NOW, LATER);
        file.write(1, &[2]).unwrap();
        file.fail_power(NOW, &mut Drawn(Fate::Kept, false));
        assert_eq!(bytes(&file), [1, 0]);

        file.write(0, &[3]).unwrap();
        file.sync(NOW, LATER);
        file.write(1, &[4]).unwrap();
        file.fail_power(LATER, &mut Drawn(Fate::Lost, false));
        assert_eq!(bytes(&file), [3, 0]);
    }

    #[test]
    fn no_later_sync_writes_what_a_failed_one_left() {
        let mut file = file(2);
        file.write(0, &[1]).unwrap();
        file.write(1, &[2]).unwrap();
        file.fail_sync(&mut Drawn(Fate::Kept, false));
        assert_eq!(bytes(&file), [1, 2], "the node sees what it wrote");
        file.sync(NOW, NOW);
        file.fail_power(NOW, &mut Drawn(Fate::Kept, false));
        assert_eq!(bytes(&file), [1, 0]);
    }

    #[test]
    fn a_sync_that_fails_takes_nothing_from_those_before_it() {
        let mut file = file(2);
        file.write(0, &[1]).unwrap();
        file.sync(NOW, LATER);
        file.write(1, &[2]).unwrap();
        // The first coin is kept, the second lost: it is not drawn for what was synced.
        file.fail_sync(&mut Drawn(Fate::Kept, true));
        file.fail_power(NOW, &mut Drawn(Fate::Kept, false));
        assert_eq!(bytes(&file), [1, 0]);
    }

    #[test]
    fn nothing_is_read_or_written_behind_the_end() {
        let mut file = file(1);
        assert!(file.write(1, &[1]).is_err());
        assert!(file.read(0, &mut [0; 2]).is_err());
        // Its length is lost, and what was written there with it.
        file.set_len(2);
        file.write(0, &[1, 2]).unwrap();
        file.fail_power(NOW, &mut Drawn(Fate::Lost, false));
        assert_eq!(bytes(&file), [0]);
    }
}
