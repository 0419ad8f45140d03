//! Filling an empty store with the pieces of a copy.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    OpenError,
    copy::Piece,
    disk::{self, Disk},
    group::Group,
    limits::FILL_STEP_MAX_BYTES,
};
#[cfg(feature = "postgres")]
use super::{PostgresSettings, postgres::Filler};
use crate::Env;

/// A store that is being filled; nobody can open it before that is finished, and dropped it leaves nothing.
pub struct Filling {
    target: Target,
    /// Pieces that are not written yet.
    step: Vec<Piece>,
    bytes: usize,
}

enum Target {
    File(File),
    #[cfg(feature = "postgres")]
    Database(Box<Filler>),
}

impl Filling {
    /// Fills a file that does not exist.
    pub async fn redb(env: Env, path: &Path) -> Result<Self, OpenError> {
        Ok(Self::into(Target::File(File::create(env, path).await?)))
    }

    /// Fills a database that holds no store, or an empty one.
    #[cfg(feature = "postgres")]
    pub async fn postgres(env: Env, settings: PostgresSettings) -> Result<Self, OpenError> {
        Ok(Self::into(Target::Database(Box::new(Filler::begin(env, settings).await?))))
    }

    fn into(target: Target) -> Self {
        Self { target, step: Vec::new(), bytes: 0 }
    }

    /// Adds a piece.
    pub async fn add(&mut self, piece: Piece) -> Result<(), OpenError> {
        self.bytes += piece.bytes();
        self.step.push(piece);
        if self.bytes < FILL_STEP_MAX_BYTES { Ok(()) } else { self.write().await }
    }

    async fn write(&mut self) -> Result<(), OpenError> {
        self.bytes = 0;
        let step = std::mem::take(&mut self.step);
        match &mut self.target {
            Target::File(file) => file.write(group(step, 0)).await,
            #[cfg(feature = "postgres")]
            Target::Database(database) => database.write(&step).await,
        }
    }

    /// Makes it a store that has everything up to and with this commit.
    pub async fn finish(mut self, sequence: u64) -> Result<(), OpenError> {
        self.write().await?;
        match self.target {
            Target::File(mut file) => {
                file.write(Group::empty(sequence)).await?;
                file.publish().await
            }
            #[cfg(feature = "postgres")]
            Target::Database(database) => database.finish(sequence).await,
        }
    }
}

fn group(pieces: Vec<Piece>, sequence: u64) -> Group {
    let mut group = Group::empty(sequence);
    for piece in pieces {
        match piece {
            Piece::Row { key, entry } => group.write(&key, entry.version, Some(&entry.value)),
            Piece::Log { log, entry } => group.append(&log, entry),
        }
    }
    group
}

/// A file under another name until it is whole.
struct File {
    env: Env,
    unfinished: PathBuf,
    path: PathBuf,
    disk: Option<Arc<Disk>>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.disk = None;
        // Gone already if it was published.
        let _ = fs::remove_file(&self.unfinished);
    }
}

impl File {
    async fn create(env: Env, path: &Path) -> Result<Self, OpenError> {
        let (path, mut name) = (path.to_owned(), path.as_os_str().to_owned());
        name.push(".unfinished");
        let unfinished = PathBuf::from(name);
        let (wanted, aside) = (path.clone(), unfinished.clone());
        let opened = env.blocking(move || disk::create_aside(&aside, &wanted)).await;
        let disk = opened.map_err(|gone| damaged(&path, &gone.to_string()))??.disk;
        Ok(Self { env, unfinished, path, disk: Some(disk) })
    }

    async fn write(&mut self, group: Group) -> Result<(), OpenError> {
        let Some(disk) = self.disk.clone() else { return Err(damaged(&self.path, "it is closed")) };
        let written = self.env.blocking(move || disk.write(&group)).await;
        let written = written.map_err(|gone| damaged(&self.path, &gone.to_string()))?;
        written.map_err(|error| damaged(&self.path, &error.remedy()))
    }

    async fn publish(mut self) -> Result<(), OpenError> {
        self.disk = None;
        let (unfinished, path) = (self.unfinished.clone(), self.path.clone());
        let published = self.env.blocking(move || disk::publish(&unfinished, &path)).await;
        published.map_err(|gone| damaged(&self.path, &gone.to_string()))?
    }
}

fn damaged(path: &Path, reason: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}
