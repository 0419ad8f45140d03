//! Bodies in files.
//!
//! A file that is not whole has a name of its own, so nobody takes it for the body; what is left of it after a crash is
//! where the next fetch goes on.

use std::{
    fs::{File, TryLockError},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use updraft_transport::body::Digest;

use super::{Algorithm, Hasher, Sink, SinkError, Source};
use crate::{
    Env,
    rpc::{Fault, FaultKind},
};

/// What is read at once to make a digest.
const READ_BYTES: usize = 1024 * 1024;

/// How often it is looked whether a part is free, and how many times: a fetch that was dropped may still write its last
/// piece.
const LOCK_LOOK: Duration = Duration::from_millis(50);
const LOCK_LOOKS: usize = 40;

/// A file to send. It must not change while it is offered.
#[derive(Debug)]
pub struct FileSource {
    env: Env,
    path: PathBuf,
    file: Arc<File>,
    size_bytes: u64,
    digest: Digest,
}

impl FileSource {
    /// A file whose digest is known.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub async fn open(env: &Env, path: &Path, digest: Digest) -> Result<Self, Fault> {
        let file = path.to_owned();
        let opened = blocking(env, path, move || {
            let file = File::open(file)?;
            let size_bytes = file.metadata()?.len();
            Ok((Arc::new(file), size_bytes))
        });
        let (file, size_bytes) = opened.await.map_err(|error| unavailable(&error))?;
        Ok(Self { env: env.clone(), path: path.to_owned(), file, size_bytes, digest })
    }

    /// The digest of a file, for [`open`](Self::open): reads all of it. Do it once, and keep the digest.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub async fn digest_of(env: &Env, path: &Path, algorithm: Algorithm) -> Result<Digest, Fault> {
        let file = path.to_owned();
        let made = blocking(env, path, move || {
            let (mut file, mut hasher) = (File::open(file)?, Hasher::new(algorithm));
            let mut buffer = vec![0; READ_BYTES];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(hasher.finish()),
                    count => hasher.update(&buffer[..count]),
                }
            }
        });
        made.await.map_err(|error| unavailable(&error))
    }
}

#[async_trait]
impl Source for FileSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    async fn read(&self, offset_bytes: u64, length_bytes: usize) -> Result<Bytes, Fault> {
        let file = Arc::clone(&self.file);
        let read = blocking(&self.env, &self.path, move || read(&file, offset_bytes, length_bytes));
        read.await.map_err(|error| unavailable(&error))
    }
}

/// Takes a body into a file: under one name until it is whole, under the other from then on.
#[derive(Debug)]
pub struct FileSink {
    env: Env,
    part: PathBuf,
    path: PathBuf,
    open: Option<Open>,
}

/// The part, while it is written.
#[derive(Debug)]
struct Open {
    file: Arc<File>,
    length_bytes: u64,
}

impl FileSink {
    /// A sink that writes to `part`, and renames it to `path`, durably, when it is whole and right. Both are in
    /// the same folder, which exists. Name the part after what is fetched: what is there already is gone on with. One sink at
    /// a time writes to a part; another is refused.
    #[must_use]
    pub fn new(env: &Env, part: PathBuf, path: PathBuf) -> Self {
        Self { env: env.clone(), part, path, open: None }
    }

    /// The part, opened and locked.
    async fn opened(&mut self) -> Result<&mut Open, SinkError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let mut looks = 0;
                loop {
                    let part = self.part.clone();
                    match self.work(move || open(&part)).await? {
                        Some(open) => break open,
                        None if looks < LOCK_LOOKS => looks += 1,
                        None => return Err(self.taken()),
                    }
                    self.env.sleep(LOCK_LOOK).await;
                }
            }
        };
        Ok(self.open.insert(open))
    }

    fn taken(&self) -> SinkError {
        let part = self.part.display();
        SinkError::Failed(format!(
            "{part}: another fetch writes to it; let it end before the next begins"
        ))
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, SinkError> {
        blocking(&self.env, &self.part, work).await.map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SinkError::Full(error.to_string()),
            _ => SinkError::Failed(error.to_string()),
        })
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn kept_bytes(&mut self) -> Result<u64, SinkError> {
        Ok(self.opened().await?.length_bytes)
    }

    async fn read_kept(
        &mut self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> Result<Bytes, SinkError> {
        let file = Arc::clone(&self.opened().await?.file);
        self.work(move || read(&file, offset_bytes, length_bytes)).await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        let open = self.opened().await?;
        let (file, at) = (Arc::clone(&open.file), open.length_bytes);
        // Opened anew after a write that failed or was dropped: then its length tells what is there.
        let mut open = self.open.take();
        let count = bytes.len() as u64;
        self.work(move || file.write_all_at(&bytes, at)).await?;
        if let Some(open) = &mut open {
            open.length_bytes += count;
        }
        self.open = open;
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        let file = Arc::clone(&self.opened().await?.file);
        let (part, path) = (self.part.clone(), self.path.clone());
        let kept = self.work(move || {
            file.sync_all()?;
            std::fs::rename(part, &path)?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        });
        kept.await?;
        self.open = None;
        Ok(())
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        let open = self.opened().await?;
        open.length_bytes = 0;
        let file = Arc::clone(&open.file);
        self.work(move || file.set_len(0)).await
    }
}

/// The part; `None` while another fetch has it. It has it until it is closed: by the end of its process at the latest.
fn open(part: &Path) -> io::Result<Option<Open>> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(part)?;
    locked(file, part)
}

/// The same of a file that was opened as the part.
fn locked(file: File, part: &Path) -> io::Result<Option<Open>> {
    match file.try_lock() {
        Ok(()) if is_at(&file, part)? => {
            let length_bytes = file.metadata()?.len();
            Ok(Some(Open { file: Arc::new(file), length_bytes }))
        }
        // Who had it when it was opened has given it its name, or removed it, and let go: what is locked is no part.
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether this file still has this name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let there = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let here = file.metadata()?;
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// At least one byte and at most so many.
fn read(file: &File, offset_bytes: u64, length_bytes: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length_bytes];
    let count = file.read_at(&mut bytes, offset_bytes)?;
    if count == 0 && length_bytes > 0 {
        let words = format!("it ends at {offset_bytes} or before, and should not");
        return Err(io::Error::new(ErrorKind::UnexpectedEof, words));
    }
    bytes.truncate(count);
    Ok(bytes.into())
}

/// Does something with a file off the actors' threads.
async fn blocking<T: Send + 'static>(
    env: &Env,
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = env.blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn unavailable(error: &io::Error) -> Fault {
    Fault::new(FaultKind::Unavailable, "File", error.to_string())
}

#[cfg(test)]
mod tests;
