//! The newest generation that was asked for of each file, kept on the host's disk.
//!
//! Promises that what is done for an older generation than has been seen is not done, whether it comes late by itself, was
//! under way when the newer one came, or comes after a restart of the process or of the host. A generation is durable
//! before anything is done for it. That of a file that is gone is kept for [`KEPT`], and then forgotten.

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use updraft_runtime::{Env, folder::Folder};
use uuid::Uuid;

/// Where they are, in the folder of the files.
pub(super) const GENERATIONS: &str = "generations";

/// How long the generation of a file that is gone is kept: far longer than any operation takes.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// How often it is looked for those that may be forgotten: each of them is read for it.
const FORGOTTEN_EVERY: Duration = Duration::from_secs(3_600);

/// A folder with a small file for each volume or snapshot; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Fences {
    env: Env,
    folder: Folder,
    /// Held while a generation is judged and what it is judged for is done.
    turn: Arc<Mutex<()>>,
    /// When it was last looked for those that may be forgotten, since the node started.
    looked_at: Arc<Mutex<Option<Duration>>>,
}

impl Fences {
    /// The fences in this folder, which is made if there is none. Blocks; call it at start-up.
    pub(super) fn open(env: &Env, folder: &Path) -> io::Result<Self> {
        let (env, folder) = (env.clone(), env.folder(folder)?);
        Ok(Self { env, folder, turn: Arc::default(), looked_at: Arc::default() })
    }

    /// Does something short for this generation of a file, unless a newer one has been seen: then it does nothing, and
    /// `None` says so. Blocks.
    pub(super) fn pass<T>(
        &self,
        id: Uuid,
        generation: u64,
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let _turn = self.turn.lock();
        let newest = self.newest(id)?;
        if generation < newest {
            return Ok(None);
        }
        if generation > newest {
            self.write(id, generation)?;
        }
        work().map(Some)
    }

    /// Forgets those that were written long ago and whose file is gone, at most once an hour. Blocks.
    pub(super) fn forget(&self, is_gone: impl Fn(Uuid) -> bool) -> io::Result<()> {
        if !self.is_time_to_look() {
            return Ok(());
        }
        let _turn = self.turn.lock();
        let now = self.env.wall();
        for name in self.folder.names()? {
            let old = now.since(self.folder.written_at(&name)?) >= KEPT;
            // The rest of an attempt to write one has another name.
            if old && name.parse().map_or(true, &is_gone) {
                self.folder.remove(&name)?;
            }
        }
        Ok(())
    }

    /// One look fails like another: the next is an hour later all the same.
    fn is_time_to_look(&self) -> bool {
        let (mut looked_at, now) = (self.looked_at.lock(), self.env.now());
        let due = looked_at.is_none_or(|at| now.saturating_sub(at) >= FORGOTTEN_EVERY);
        if due {
            *looked_at = Some(now);
        }
        due
    }

    fn newest(&self, id: Uuid) -> io::Result<u64> {
        let name = id.to_string();
        let Some(content) = self.folder.read(&name)? else { return Ok(0) };
        let number = std::str::from_utf8(&content).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| {
            let words = format!("{} is damaged", self.folder.path(&name).display());
            io::Error::new(ErrorKind::InvalidData, words)
        })
    }

    fn write(&self, id: Uuid, generation: u64) -> io::Result<()> {
        self.folder.replace(&id.to_string(), format!("{generation}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::{any::Any, fs, time::SystemTime};

    use updraft_runtime::env::{BlockingWork, BoxFuture, Gone, UnixMicros, World};

    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    /// A clock that a test sets, in microseconds on the wall; the node has started at the beginning of time.
    #[derive(Clone, Default)]
    struct Clock(Arc<Mutex<UnixMicros>>);

    impl World for Clock {
        fn now(&self) -> Duration {
            Duration::from_micros(self.wall().0)
        }
        fn wall(&self) -> UnixMicros {
            *self.0.lock()
        }
        fn seed(&self, _: &'static str) -> [u8; 32] {
            [0; 32]
        }
        fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {}
        fn blocking(
            &self,
            work: BlockingWork,
        ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
            Box::pin(async move { Ok(work()) })
        }
    }

    fn open(folder: &Path, clock: &Clock) -> Fences {
        Fences::open(&Env::new(clock.clone()), folder).unwrap()
    }

    fn passes(fences: &Fences, generation: u64) -> bool {
        fences.pass(ID, generation, || Ok(())).unwrap().is_some()
    }

    #[test]
    fn an_older_generation_does_not_pass_also_in_another_life() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::default());
        let fences = open(folder.path(), &clock);
        assert!(passes(&fences, 2) && passes(&fences, 2) && !passes(&fences, 1));
        let next = open(folder.path(), &clock);
        assert!(!passes(&next, 1) && passes(&next, 3) && !passes(&fences, 2));
    }

    #[test]
    fn what_was_not_done_is_fenced_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let fences = open(folder.path(), &Clock::default());
        fences.pass(ID, 2, || Err::<(), _>(io::Error::other("no"))).unwrap_err();
        assert!(!passes(&fences, 1));
    }

    /// When the fence was written.
    fn written_at(folder: &Path) -> UnixMicros {
        let written = fs::metadata(folder.join(ID.to_string())).unwrap().modified().unwrap();
        let written = written.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        UnixMicros(u64::try_from(written.as_micros()).unwrap())
    }

    #[test]
    fn a_fence_is_forgotten_long_after_its_file_is_gone_and_not_before() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::default());
        let fences = open(folder.path(), &clock);
        assert!(passes(&fences, 2));
        let at = written_at(folder.path());
        for (later, is_gone) in [(KEPT / 2, true), (KEPT * 2, false)] {
            *clock.0.lock() = at.plus(later);
            fences.forget(|_| is_gone).unwrap();
        }
        assert!(!passes(&fences, 1));
        *clock.0.lock() = at.plus(KEPT * 3);
        fences.forget(|_| true).unwrap();
        assert!(passes(&fences, 1));
    }

    #[test]
    fn it_is_looked_for_what_may_be_forgotten_at_the_first_time_and_then_once_an_hour() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::default());
        let fences = open(folder.path(), &clock);
        assert!(passes(&fences, 2));
        let at = written_at(folder.path()).plus(KEPT * 2);
        let mut looks = Vec::new();
        for minutes in [0, 1, 59, 61, 62, 119, 122] {
            *clock.0.lock() = at.plus(Duration::from_secs(60 * minutes));
            let looked = Mutex::new(false);
            fences
                .forget(|_| {
                    *looked.lock() = true;
                    false
                })
                .unwrap();
            looks.extend(looked.into_inner().then_some(minutes));
        }
        assert_eq!(looks, [0, 61, 122]);
    }

    #[test]
    fn the_rest_of_an_attempt_is_forgotten_too() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::default());
        let fences = open(folder.path(), &clock);
        assert!(passes(&fences, 2));
        fs::write(folder.path().join(format!("{ID}.new")), "3").unwrap();
        *clock.0.lock() = written_at(folder.path()).plus(KEPT * 2);
        fences.forget(|_| false).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_fence_lets_nothing_pass() {
        let folder = tempfile::tempdir().unwrap();
        let fences = open(folder.path(), &Clock::default());
        fs::write(folder.path().join(ID.to_string()), "two").unwrap();
        fences.pass(ID, 9, || Ok(())).unwrap_err();
    }
}
