//! `updraft db`.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use updraft_cloud::{
    backup::Decoder,
    machine::{DataDir, database},
};
use updraft_runtime::store::Piece;

use super::{
    Failure, in_runtime,
    options::{DatabaseOptions, Place},
};
use crate::say::{note, say};

/// What can be done with a store.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Print the keys of all rows, or of those that begin so
    List {
        #[command(flatten)]
        place: Place,
        /// How the keys begin, such as compute/server/
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Print the row under a key
    Show {
        #[command(flatten)]
        place: Place,
        /// The key, as 'updraft db list' prints it
        key: String,
    },
    /// Write everything that the store holds into a file, while the cloud runs or not
    ///
    /// The file is as secret as the cloud: it holds the keys that tokens are made with. It does not hold the bytes
    /// of images and volumes, nor the certificate authority; they are files in the data folder.
    Backup {
        #[command(flatten)]
        place: Place,
        /// The file; it must not exist
        file: PathBuf,
    },
    /// Make what a backup holds the store of a folder, or of a database, that has none
    Restore {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        database: DatabaseOptions,
        /// The file that 'updraft db backup' has written
        file: PathBuf,
    },
    /// Move the store from its file into an empty PostgreSQL database; the cloud must not run
    Move {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        database: DatabaseOptions,
    },
}

pub(super) fn run(what: What) -> Result<ExitCode, Failure> {
    match what {
        What::List { place, prefix } => list(&place.existing()?, &prefix)?,
        What::Show { place, key } => show(&place.existing()?, &key)?,
        What::Backup { place, file } => backup(&place.existing()?, &file)?,
        What::Restore { place, database, file } => {
            let settings = place.settings(&[&database])?;
            let pieces = in_runtime(database::restore(&settings, &file))?;
            let (file, into) = (file.display(), settings.data_dir.display());
            say(format!("{pieces} rows and log entries of {file} are the store of {into} now."))?;
        }
        What::Move { place, database } => {
            let settings = place.settings(&[&database])?;
            let place = in_runtime(database::move_into(&settings))?;
            say(format!(
                "The store is in the database {place}. Start the cloud with the same --database-url."
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Hands every row whose key begins so to `take`, and fails if not all of them came.
fn rows(
    data: &DataDir,
    prefix: &str,
    mut take: impl FnMut(&str, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut decoder = Decoder::default();
    in_runtime(database::read_rows(data, prefix, |bytes| {
        for piece in decoder.feed(bytes)? {
            if let Piece::Row { key, entry } = piece {
                take(&key, &entry.value)?;
            }
        }
        Ok(())
    }))?;
    decoder.finish()?;
    Ok(())
}

fn list(data: &DataDir, prefix: &str) -> Result<(), Failure> {
    // A control process of an older program answers with every row.
    rows(data, prefix, |key, _| if key.starts_with(prefix) { say(key) } else { Ok(()) })
}

fn show(data: &DataDir, wanted: &str) -> Result<(), Failure> {
    let mut found = None;
    rows(data, wanted, |key, value| {
        if key == wanted {
            found = Some(String::from_utf8_lossy(value).into_owned());
        }
        Ok(())
    })?;
    let row = found.ok_or_else(|| {
        format!("there is no row {wanted:?}; 'updraft db list' prints the keys of all")
    })?;
    say(row)
}

fn backup(data: &DataDir, file: &Path) -> Result<(), Failure> {
    let told = |error: std::io::Error| format!("{}: {error}", file.display());
    let created = File::options().write(true).create_new(true).open(file).map_err(told)?;
    let written = write(data, created);
    if written.is_err() {
        // Half a backup would be taken for one.
        fs::remove_file(file).map_err(told)?;
    }
    let (rows, entries) = written?;
    note(format!("{}: {rows} rows and {entries} log entries; keep it secret.", file.display()));
    Ok(())
}

fn write(data: &DataDir, file: File) -> Result<(u64, u64), Failure> {
    let (mut file, mut decoder) = (BufWriter::new(file), Decoder::default());
    let (mut rows, mut entries) = (0, 0);
    in_runtime(database::read(data, |bytes| {
        for piece in decoder.feed(bytes)? {
            match piece {
                Piece::Row { .. } => rows += 1,
                Piece::Log { .. } => entries += 1,
            }
        }
        Ok(file.write_all(bytes)?)
    }))?;
    decoder.finish()?;
    file.into_inner()?.sync_all()?;
    Ok((rows, entries))
}
