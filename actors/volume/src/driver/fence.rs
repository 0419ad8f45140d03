//! The newest generation that was asked for of each file, kept on the host's disk.
//!
//! Promises that what is done for an older generation than has been seen is not done, whether it comes late by itself, was
//! under way when the newer one came, or comes after a restart of the process or of the host. A generation is durable
//! before anything is done for it. That of a file that is gone is kept for [`KEPT`], and then forgotten.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

/// How long the generation of a file that is gone is kept: far longer than any operation takes.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A folder with a small file for each volume or snapshot; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Fences {
    folder: Arc<PathBuf>,
    /// Held while a generation is judged and what it is judged for is done.
    turn: Arc<Mutex<()>>,
}

impl Fences {
    /// The fences in this folder, which is made if there is none. Blocks; call it at start-up.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { folder: Arc::new(folder.to_owned()), turn: Arc::default() })
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

    /// Forgets those that were written long ago and whose file is gone. Blocks.
    pub(super) fn forget(&self, now: UnixMicros, is_gone: impl Fn(Uuid) -> bool) -> io::Result<()> {
        let _turn = self.turn.lock();
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(now.0);
        for entry in fs::read_dir(&*self.folder)? {
            let entry = entry?;
            let written = entry.metadata()?.modified()?;
            let old = now.duration_since(written).is_ok_and(|age| age >= KEPT);
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if old && id.is_none_or(&is_gone) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn newest(&self, id: Uuid) -> io::Result<u64> {
        let path = self.folder.join(id.to_string());
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            read => read?,
        };
        text.trim().parse().map_err(|_| {
            io::Error::new(ErrorKind::InvalidData, format!("{} is damaged", path.display()))
        })
    }

    fn write(&self, id: Uuid, generation: u64) -> io::Result<()> {
        let (path, fresh) =
            (self.folder.join(id.to_string()), self.folder.join(format!("{id}.new")));
        let mut file = File::create(&fresh)?;
        file.write_all(format!("{generation}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(fresh, path)?;
        File::open(&*self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn passes(fences: &Fences, generation: u64) -> bool {
        fences.pass(ID, generation, || Ok(())).unwrap().is_some()
    }

    #[test]
    fn an_older_generation_does_not_pass_also_in_another_life() {
        let folder = tempfile::tempdir().unwrap();
        let fences = Fences::open(folder.path()).unwrap();
        assert!(passes(&fences, 2) && passes(&fences, 2) && !passes(&fences, 1));
        let next = Fences::open(folder.path()).unwrap();
        assert!(!passes(&next, 1) && passes(&next, 3) && !passes(&fences, 2));
    }

    #[test]
    fn what_was_not_done_is_fenced_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let fences = Fences::open(folder.path()).unwrap();
        fences.pass(ID, 2, || Err::<(), _>(io::Error::other("no"))).unwrap_err();
        assert!(!passes(&fences, 1));
    }

    #[test]
    fn a_fence_is_forgotten_long_after_its_file_is_gone_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let fences = Fences::open(folder.path()).unwrap();
        assert!(passes(&fences, 2));
        let written = fs::metadata(folder.path().join(ID.to_string())).unwrap().modified().unwrap();
        let written = written.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = UnixMicros(u64::try_from(written.as_micros()).unwrap());
        fences.forget(at.plus(KEPT / 2), |_| true).unwrap();
        fences.forget(at.plus(KEPT * 2), |_| false).unwrap();
        assert!(!passes(&fences, 1));
        fences.forget(at.plus(KEPT * 2), |_| true).unwrap();
        assert!(passes(&fences, 1));
    }

    #[test]
    fn a_damaged_fence_lets_nothing_pass() {
        let folder = tempfile::tempdir().unwrap();
        let fences = Fences::open(folder.path()).unwrap();
        fs::write(folder.path().join(ID.to_string()), "two").unwrap();
        fences.pass(ID, 9, || Ok(())).unwrap_err();
    }
}
