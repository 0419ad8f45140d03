//! Limits of the engine on PostgreSQL.

use std::time::Duration;

/// Most bytes of keys and values that one group of commits carries: the group travels to the server at once.
pub const GROUP_MAX_BYTES: usize = 16 << 20;

/// Most commits in one group: one answer from the server tells that many that they are durable.
pub const GROUP_MAX_COMMITS: usize = 1_024;

/// Most sequence numbers that the journal of commits reaches back; a process further behind reads all rows anew.
pub const JOURNAL_MAX_SEQUENCES: u64 = 20_000;

/// Most bytes of keys and values in the journal of commits: what a process that follows has to take in at once.
pub const JOURNAL_MAX_BYTES: u64 = 64 << 20;

/// Most entries of the journal in one answer.
pub const JOURNAL_PAGE_MAX_ENTRIES: i64 = 500;

/// How many groups a process commits between two looks at what of the journal can go.
pub const JOURNAL_TRIM_EVERY_GROUPS: u64 = 16;

/// Most entries of the journal that go at once; more than are written between two looks.
pub const JOURNAL_TRIM_MAX_ENTRIES: i64 = 64;

/// Most entries of a log that one statement forgets, so that nobody waits long behind it.
pub const LOG_TRIM_MAX_ENTRIES: i64 = 1_000;

/// How long a connection may take from the first packet until it can be used.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the server may work on one statement.
pub const STATEMENT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a group waits for the commits of other processes.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long the server waits for the next word of a process that holds up the commits of all others.
pub const IDLE_PATIENCE: Duration = Duration::from_secs(3);

/// How long an answer may take before the connection counts as lost; longer than [`STATEMENT_PATIENCE`], so that
/// the server's own words come first.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// How long reading all rows may take.
pub const LOAD_PATIENCE: Duration = Duration::from_secs(120);

/// How long a commit whose answer was lost is looked for before its outcome is reported as unknown; longer than
/// [`IDLE_PATIENCE`], after which the server has ended what was under way.
pub const OUTCOME_PATIENCE: Duration = Duration::from_secs(10);

/// How long opening waits for a server that does not answer, such as one that starts at the same time.
pub const DATABASE_OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two looks at the journal when no notification comes: they are hints and may be lost.
pub const POLL_PAUSE: Duration = Duration::from_secs(5);

/// First pause before connecting again; it doubles with every failure and is jittered.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause before connecting again: what a server that is back may go unnoticed.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// First pause between two attempts of `transact`, as [`TRANSACT_BACKOFF`](super::TRANSACT_BACKOFF): about what a
/// commit takes.
pub const SHARED_TRANSACT_BACKOFF: Duration = Duration::from_millis(1);

/// Longest pause between two attempts of `transact`: time for the commits of a dozen rivals one after the other.
pub const SHARED_TRANSACT_BACKOFF_MAX: Duration = Duration::from_millis(250);
