//! Every limit of the store, with its unit and its reason.

use std::time::Duration;

#[cfg(feature = "postgres")]
mod postgres;

#[cfg(feature = "postgres")]
pub use postgres::*;

/// Longest key, in bytes: what an index row of PostgreSQL (2.7 kB) still holds with room for its own header.
pub const KEY_MAX_BYTES: usize = 2_048;

/// Largest value, in bytes: rows and events are small; bytes of images and volumes live elsewhere.
pub const VALUE_MAX_BYTES: usize = 1 << 20;

/// Largest transaction, in bytes of the keys and values it writes: it is held in memory until it is on disk.
pub const TXN_MAX_BYTES: usize = 10 << 20;

/// Most keys and ranges one transaction may read: each is compared again when it commits.
pub const TXN_READS_MAX: usize = 100_000;

/// Most owners of one row: what a thing belongs to can be counted on two hands.
pub const OWNERS_MAX: usize = 16;

/// Most rows that may belong to a row, near and far, when it gains an owner: all of them are looked at, since none of
/// them may be the new owner. A row that is new owns none.
pub const OWNED_WALK_MAX: usize = 1_000;

/// How often [`Store::transact`](super::Store::transact) runs its function before it reports the conflict.
pub const TRANSACT_ATTEMPTS_MAX: u32 = 16;

/// First pause between two attempts of `transact`; it doubles with every attempt and is jittered.
pub const TRANSACT_BACKOFF: Duration = Duration::from_micros(200);

/// Longest pause between two attempts of `transact`: long enough for any other transaction to end.
pub const TRANSACT_BACKOFF_MAX: Duration = Duration::from_millis(20);

/// Most bytes of commits that may wait for the disk: more means that it is stuck, and commits are refused.
pub const WAITING_MAX_BYTES: usize = 64 << 20;

/// Longest time a relaxed commit stays in memory alone.
pub const RELAXED_FLUSH_DELAY: Duration = Duration::from_millis(50);

/// Most changed keys a watch remembers between two looks; beyond it the watcher has to scan.
pub const WATCH_KEYS_MAX: usize = 1_024;

/// Most entries one `log_read` returns, whatever is asked for.
pub const LOG_READ_MAX_ENTRIES: usize = 1_000;

/// Entries of one log that are kept in memory for readers who follow closely; older ones come from disk.
pub const LOG_TAIL_MAX_ENTRIES: usize = 1_024;

/// Bytes of one log that are kept in memory for readers who follow closely.
pub const LOG_TAIL_MAX_BYTES: usize = 4 << 20;

/// How long opening waits for another process to let go of the file: the time a predecessor takes to shut down.
pub const OPEN_LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Pause between two attempts to lock the file.
pub const OPEN_LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Pause between two attempts to serve again after the disk was full or has failed.
pub const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// Memory that the file's page cache may take, in bytes: reads come from the mirror, so only writes use it.
pub const DISK_CACHE_MAX_BYTES: usize = 16 << 20;

/// Pieces of a copy that are read ahead of whoever takes them.
pub const COPY_AHEAD_MAX_PIECES: usize = 64;

/// Bytes of a copy that are written at once into the store that it fills.
pub const FILL_STEP_MAX_BYTES: usize = 4 << 20;

/// Most rows that one transaction of a migration changes: nobody waits long behind it.
pub const MIGRATION_PAGE_MAX_ROWS: usize = 500;

/// Most bytes of values that one transaction of a migration changes, unless a single one has more: rows may grow, and
/// still fit into [`TXN_MAX_BYTES`].
pub const MIGRATION_PAGE_MAX_BYTES: usize = 2 << 20;

/// Version of the file's layout that this program reads and writes.
pub const FORMAT_VERSION: u64 = 1;
