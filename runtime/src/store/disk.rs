//! The redb file of a store: rows, logs and the number of the last commit.
//!
//! Everything here blocks and is called through `Env::blocking`. Two-phase commit stays off: it would double the
//! syncs to protect from someone who controls both the order of page writes and the moment of a crash.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    TableHandle, backends::FileBackend,
};

use super::{
    Entry,
    copy::Piece,
    error::OpenError,
    group::Group,
    limits::{DISK_CACHE_MAX_BYTES, FORMAT_VERSION},
    log::LogEntry,
    reads::Rows,
    renew::Renewed,
};

/// Key to version and JSON value.
const ROWS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("rows");
/// Log and sequence number to value.
const LOGS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("logs");
/// `format` and `sequence`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT: &str = "format";
const SEQUENCE: &str = "sequence";

/// An open file.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    path: PathBuf,
}

/// What a file holds when it is opened.
pub(super) struct Loaded {
    pub(super) disk: Arc<Disk>,
    pub(super) rows: Rows,
    pub(super) sequence: u64,
}

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub(super) struct DiskError {
    path: PathBuf,
    source: redb::Error,
}

impl DiskError {
    /// Whether it is the disk's, which may work again, and not what the file holds.
    pub(super) fn is_of_the_disk(&self) -> bool {
        matches!(self.source, redb::Error::Io(_) | redb::Error::PreviousIo)
    }

    pub(super) fn is_for_want_of_space(&self) -> bool {
        matches!(&self.source, redb::Error::Io(error) if is_full(error))
    }

    /// What happened and what to do about it.
    pub(super) fn remedy(&self) -> String {
        if self.is_for_want_of_space() {
            format!("no space left on the disk ({self}): free some, and it serves again")
        } else if self.is_of_the_disk() {
            format!("the disk failed ({self}): check it; once it works, it serves again")
        } else {
            format!("writing failed ({self}): restore it from a backup and start again")
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Opens or creates a file.
pub(super) fn open(path: &Path) -> Result<Loaded, OpenError> {
    if !path.try_exists().map_err(|source| io_refused(path, source))? {
        create(path)?;
    }
    check_unopened(path)?;
    let file = FileBackend::new(open_file(path)?).map_err(|error| refused(path, error.into()))?;
    open_on(file, path)
}

/// Opens a file that has something in it: an empty one would be taken for a new store.
fn open_file(path: &Path) -> Result<File, OpenError> {
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(|source| io_refused(path, source))?;
    match file.metadata().map_err(|source| io_refused(path, source))?.len() {
        0 => {
            let reason = "the file is empty".to_owned();
            Err(OpenError::Damaged { path: path.to_owned(), reason })
        }
        _ => Ok(file),
    }
}

/// Creates a file under another name first: killed half-way, redb leaves one that it refuses for ever.
fn create(path: &Path) -> Result<(), OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let unfinished = PathBuf::from(name);
    let created = create_as(&unfinished, path);
    let removed = fs::remove_file(&unfinished);
    created?;
    removed.map_err(|source| io_refused(path, source))
}

fn create_as(unfinished: &Path, path: &Path) -> Result<(), OpenError> {
    let database = builder().create(unfinished).map_err(|error| refused(path, error.into()))?;
    check_format(&database, path)?;
    drop(database);
    match fs::hard_link(unfinished, path) {
        // Somebody else was faster, and theirs is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked.map_err(|source| io_refused(path, source))?,
    }
    // The file's name is durable only when its directory is.
    sync_directory(path).map_err(|source| io_refused(path, source))
}

/// Creates a file that becomes `path` by [`publish`], and refuses if that exists.
pub(super) fn create_aside(unfinished: &Path, path: &Path) -> Result<Loaded, OpenError> {
    if path.try_exists().map_err(|source| io_refused(path, source))? {
        return Err(io_refused(path, io::ErrorKind::AlreadyExists.into()));
    }
    // One that an earlier attempt left when it was killed: nothing of it shall be in this one.
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(|source| io_refused(unfinished, source))?,
    }
    let database =
        builder().create(unfinished).map_err(|error| refused(unfinished, error.into()))?;
    load(database, unfinished)
}

/// Gives a finished file its name, unless that is taken.
pub(super) fn publish(unfinished: &Path, path: &Path) -> Result<(), OpenError> {
    let linked = fs::hard_link(unfinished, path).and_then(|()| sync_directory(path));
    linked.map_err(|source| io_refused(path, source))
}

/// Opens or creates a store on any storage.
pub(super) fn open_on(backend: impl StorageBackend, name: &Path) -> Result<Loaded, OpenError> {
    let storage = Renewed::new(backend);
    let (mut builder, to_renew) = (builder(), storage.clone());
    builder.set_repair_callback(move |session| to_renew.renew_once(session));
    let opened = builder.create_with_backend(storage.clone());
    if let Some(source) = storage.failure() {
        return Err(io_refused(name, source));
    }
    load(opened.map_err(|error| refused(name, error.into()))?, name)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(DISK_CACHE_MAX_BYTES);
    builder
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let parent = fs::canonicalize(file)?;
    parent.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn load(database: Database, path: &Path) -> Result<Loaded, OpenError> {
    check_format(&database, path)?;
    let (rows, sequence) = read_all(&database).map_err(|error| refused(path, error))?;
    let disk = Arc::new(Disk { database, path: path.to_owned() });
    Ok(Loaded { disk, rows, sequence })
}

/// What a file says of itself.
enum Stamp {
    /// Nothing: it is new.
    None,
    Format(u64),
    /// Another program has written it.
    Foreign,
}

impl Stamp {
    fn of(database: &impl ReadableDatabase) -> Result<Self, redb::Error> {
        let reading = database.begin_read()?;
        let tables: Vec<String> = reading.list_tables()?.map(|t| t.name().to_owned()).collect();
        if !tables.iter().any(|name| name == META.name()) {
            return Ok(if tables.is_empty() { Self::None } else { Self::Foreign });
        }
        let format = reading.open_table(META)?.get(FORMAT)?.map(|found| found.value());
        Ok(format.map_or(Self::Foreign, Self::Format))
    }

    /// Refuses what another version, or another program, has written.
    fn check(&self, path: &Path) -> Result<(), OpenError> {
        let path = path.to_owned();
        match self {
            Self::None | Self::Format(FORMAT_VERSION) => Ok(()),
            Self::Format(other) => Err(OpenError::Format { path, found: other.to_string() }),
            Self::Foreign => {
                let reason = "it is a database of another program".to_owned();
                Err(OpenError::Damaged { path, reason })
            }
        }
    }
}

/// Refuses a file that is not ours before anything is written to it: opening it for writing does.
fn check_unopened(path: &Path) -> Result<(), OpenError> {
    // What cannot be opened so is damaged, locked or was not closed; opening it for writing mends it or says why not.
    let Ok(database) = builder().open_read_only(path) else { return Ok(()) };
    Stamp::of(&database).map_err(|error| refused(path, error))?.check(path)
}

/// Stamps a new file; refuses one that is not ours.
fn check_format(database: &Database, path: &Path) -> Result<(), OpenError> {
    let stamp = Stamp::of(database).map_err(|error| refused(path, error))?;
    stamp.check(path)?;
    match stamp {
        Stamp::None => stamp_new(database).map_err(|error| refused(path, error)),
        Stamp::Format(_) | Stamp::Foreign => Ok(()),
    }
}

fn stamp_new(database: &Database) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    writing.open_table(ROWS)?;
    writing.open_table(LOGS)?;
    writing.open_table(META)?.insert(FORMAT, FORMAT_VERSION)?;
    Ok(writing.commit()?)
}

fn read_all(database: &Database) -> Result<(Rows, u64), redb::Error> {
    let reading = database.begin_read()?;
    let sequence = reading.open_table(META)?.get(SEQUENCE)?.map_or(0, |found| found.value());
    let mut rows = Rows::new();
    for row in reading.open_table(ROWS)?.iter()? {
        let (key, stored) = row?;
        let (version, value) = stored.value();
        rows.insert(key.value().into(), Entry { value: Bytes::copy_from_slice(value), version });
    }
    Ok((rows, sequence))
}

impl Disk {
    /// Makes a group durable, whole or not at all.
    pub(super) fn write(&self, group: &Group) -> Result<(), DiskError> {
        self.try_write(group).map_err(|source| self.failed(source))
    }

    fn try_write(&self, group: &Group) -> Result<(), redb::Error> {
        let writing = self.database.begin_write()?;
        {
            let mut rows = writing.open_table(ROWS)?;
            for (key, row) in &group.rows {
                match &row.value {
                    Some(value) => drop(rows.insert(&**key, (row.sequence, &**value))?),
                    None => drop(rows.remove(&**key)?),
                }
            }
            let mut logs = writing.open_table(LOGS)?;
            for (log, entry) in &group.appends {
                logs.insert((&**log, entry.sequence), &*entry.value)?;
            }
            for (log, up_to) in &group.trims {
                logs.retain_in((&**log, 0)..=(&**log, *up_to), |_, _| false)?;
            }
            writing.open_table(META)?.insert(SEQUENCE, group.sequence)?;
        }
        Ok(writing.commit()?)
    }

    /// Up to `limit` durable entries of a log behind `after`.
    pub(super) fn log_read(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, DiskError> {
        self.try_log_read(log, after, limit).map_err(|source| self.failed(source))
    }

    fn try_log_read(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, redb::Error> {
        let logs = self.database.begin_read()?.open_table(LOGS)?;
        let behind = logs.range((log, after.saturating_add(1))..=(log, u64::MAX))?;
        let entries = behind.take(limit).map(|entry| {
            let (key, value) = entry?;
            let value = Bytes::copy_from_slice(value.value());
            Ok(LogEntry { sequence: key.value().1, value })
        });
        entries.collect()
    }

    /// Everything that is durable at one moment, until `taken` says that it is enough; `began` is
    /// told the last commit first.
    pub(super) fn copy(
        &self,
        began: impl FnOnce(u64),
        taken: impl FnMut(Piece) -> bool,
    ) -> Result<(), DiskError> {
        self.try_copy(began, taken).map_err(|source| self.failed(source))
    }

    fn try_copy(
        &self,
        began: impl FnOnce(u64),
        mut taken: impl FnMut(Piece) -> bool,
    ) -> Result<(), redb::Error> {
        let reading = self.database.begin_read()?;
        began(reading.open_table(META)?.get(SEQUENCE)?.map_or(0, |found| found.value()));
        for row in reading.open_table(ROWS)?.iter()? {
            let (key, stored) = row?;
            let (version, value) = stored.value();
            let entry = Entry { value: Bytes::copy_from_slice(value), version };
            if !taken(Piece::Row { key: key.value().into(), entry }) {
                return Ok(());
            }
        }
        for entry in reading.open_table(LOGS)?.iter()? {
            let (key, value) = entry?;
            let (log, sequence) = key.value();
            let entry = LogEntry { sequence, value: Bytes::copy_from_slice(value.value()) };
            if !taken(Piece::Log { log: log.into(), entry }) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn failed(&self, source: redb::Error) -> DiskError {
        DiskError { path: self.path.clone(), source }
    }
}

fn refused(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            OpenError::Locked { path }
        }
        redb::Error::UpgradeRequired(found) => {
            OpenError::Format { path, found: format!("of storage engine version {found}") }
        }
        redb::Error::Io(source) => io_refused(&path, source),
        other => OpenError::Damaged { path, reason: other.to_string() },
    }
}

fn io_refused(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    match source.kind() {
        _ if is_full(&source) => OpenError::NoSpace { path, source },
        io::ErrorKind::InvalidData => OpenError::Damaged { path, reason: source.to_string() },
        _ => OpenError::Io { path, source },
    }
}
