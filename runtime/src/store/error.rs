//! How a store can refuse, and how opening one can fail.

use std::{io, path::PathBuf};

use super::limits::FORMAT_VERSION;

/// Why a transaction, read or commit did not succeed. Only [`StoreError::Unknown`] leaves open whether it took effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something this transaction read has changed since; nothing was written. Run it again.
    #[error("the transaction conflicts with a later one; nothing was written")]
    Conflict,
    /// The commit may or may not have taken effect: look before acting on either.
    #[error("the outcome of the commit is unknown")]
    Unknown,
    /// The store cannot serve now; nothing was written.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The disk is full. Nothing was written; the store serves again by itself once there is space.
    #[error("the store is unavailable: {0}")]
    NoSpace(String),
    /// The store was closed, as when its process ends. Nothing was written, and nothing will be.
    #[error("the store is closed")]
    Closed,
    /// The handle may not touch this key.
    #[error("key {key:?} is outside the scope {scope:?} of this store handle")]
    OutOfScope {
        /// The key, prefix or log asked for.
        key: String,
        /// The only prefix that the handle may touch.
        scope: String,
    },
    /// Another row already has this value in a unique index.
    #[error("another row of {table} has {index} {value:?}")]
    Duplicate {
        /// The table.
        table: &'static str,
        /// The unique index.
        index: &'static str,
        /// The value both rows would have.
        value: String,
    },
    /// A row with this key exists already.
    #[error("{table} {key:?} exists already")]
    Exists {
        /// The table.
        table: &'static str,
        /// The key within the table.
        key: String,
    },
    /// A row names an owner that it cannot have.
    #[error("{row} cannot belong to {owner}: {reason}")]
    BadOwner {
        /// The row.
        row: String,
        /// The owner that it names.
        owner: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// What is stored under this key is not what it should be.
    #[error("the stored value of {key:?} is damaged: {reason}")]
    Corrupt {
        /// The full key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key or the name of a log has a character that no engine can keep.
    #[error("key {key:?} has a NUL character")]
    BadKey {
        /// The full key.
        key: String,
    },
    /// More than a limit of the store allows.
    #[error("{what} is too large: {size}, at most {limit} allowed")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it is, in bytes unless `what` counts something.
        size: usize,
        /// The limit in the same unit.
        limit: usize,
    },
}

/// Why a store could not be opened, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the file.
    #[error("another process has the store {} open: stop it first or use another data directory", .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by another version of the program.
    #[error(
        "the store {} has format {found} and this program needs format {FORMAT_VERSION}: run the version that wrote it or use another data directory",
        .path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: String,
    },
    /// The file is not a store, or is damaged.
    #[error("{} is damaged or not a store ({reason}): restore it from a backup or use another data directory", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk is full.
    #[error("no space left on the disk for the store {}: free some or use another data directory", .path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file cannot be read or written.
    #[error("could not open the store {}: {source}; check that its directory exists and that this user may write there", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("could not open the store in the database {database}: {reason}")]
    Database {
        /// The database and its server.
        database: String,
        /// What is wrong, and what to do about it.
        reason: String,
    },
}
