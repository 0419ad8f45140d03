//! Where the store of the control services is: a file in the folder, or a PostgreSQL database.
//!
//! Promises that a cloud is never begun anew beside one that is there: a folder remembers that its cloud is in a
//! database, and one that holds a cloud is not started with another.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use updraft_runtime::{
    Env,
    store::{Filling, OpenError, Piece, PostgresSettings, Record as _, Store},
};
use zeroize::Zeroizing;

use super::{
    admin::AdminClient, config::Settings, control::CONTROL, data_dir::DataDir,
    keeper::SETTINGS_FILE, link::Failure, processes::Processes,
};
use crate::{
    backup::{self, Decoder},
    membership::{CloudRow, ControlRow},
};

/// The store, if it is a file.
const FILE: &str = "control.redb";

/// The store's file once it is in a database.
const MOVED: &str = "control.redb.moved";

/// Bytes of a backup that are read at once.
const READ_BYTES: usize = 1 << 16;

/// Which database the store is in, if it is in one.
const MARK: &str = "database";

/// Whether the control services of a cloud run, or have run, from this folder.
#[must_use]
pub fn has_control(data: &DataDir) -> bool {
    data.path(FILE).exists() || data.path(MARK).exists()
}

/// Why a database is not the one to use; each names it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It is another cloud's, or this folder is not of it.
    #[error(
        "the database {place} holds a cloud that {folder} is no part of: give another database, or make this machine a \
         further control node of that cloud with 'updraft control' and a token that 'updraft invite --control' prints"
    )]
    OtherCloud {
        /// The database.
        place: String,
        /// The folder.
        folder: String,
    },
    /// It is not the one that the token's cloud is in.
    #[error(
        "the database {place} holds another cloud than the join token is of; the token is not used up: give the database \
         that the control nodes of its cloud use"
    )]
    NotTheTokens {
        /// The database.
        place: String,
    },
    /// It holds no cloud.
    #[error(
        "the database {place} holds no cloud: give the database that the other control nodes of the cloud use"
    )]
    Empty {
        /// The database.
        place: String,
    },
}

/// Opens the store where the settings have it, unless the cloud of this folder is elsewhere; says which database it is
/// in, if it is in one.
pub(super) async fn open(
    env: &Env,
    settings: &Settings,
    data: &DataDir,
) -> Result<(Store, Option<String>), Failure> {
    let marked = data.read(MARK)?;
    let Some(database) = database(settings)? else {
        if let Some(place) = marked {
            return Err(format!(
                "the cloud of {} is in the database {}: say so with --database-url",
                data.root().display(),
                place.trim()
            )
            .into());
        }
        return Ok((Store::redb(env.clone(), &data.path(FILE)).await?, None));
    };
    if data.path(FILE).exists() && marked.is_none() {
        return Err(format!(
            "{} holds a cloud, and would be left behind: start it without --database-url, move it with 'updraft db \
             move', or give another folder with --data-dir",
            data.path(FILE).display()
        )
        .into());
    }
    let place = database.place().to_owned();
    let store = Store::postgres(env.clone(), database).await?;
    Ok((store, Some(place)))
}

/// Notes that the cloud of this folder is in this database.
pub(super) fn mark(data: &DataDir, place: &str) -> Result<(), Failure> {
    Ok(data.write(MARK, place)?)
}

/// The database of the settings, with its password.
fn database(settings: &Settings) -> Result<Option<PostgresSettings>, Failure> {
    let Some(url) = settings.database_url.named() else { return Ok(None) };
    let database = PostgresSettings::parse(url)?;
    let file = &settings.database_password_file;
    if file.as_os_str().is_empty() {
        return Ok(Some(database));
    }
    let password = fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
        let reason = format!("its password in {}: {error}", file.display());
        OpenError::Database { database: database.place().to_owned(), reason }
    })?;
    // Whoever writes one with an editor ends its line.
    Ok(Some(database.password(password.trim_end_matches(['\r', '\n']))))
}

/// Hands a backup of the cloud in this folder to `take`: from the process that runs it, or without one from what it
/// has left.
pub async fn read(
    data: &DataDir,
    take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    read_part(data, None, take).await
}

/// The same of the rows alone whose keys begin so; of everything, if all do.
pub async fn read_rows(
    data: &DataDir,
    prefix: &str,
    take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    read_part(data, Some(prefix).filter(|prefix| !prefix.is_empty()), take).await
}

async fn read_part(
    data: &DataDir,
    rows: Option<&str>,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if Processes::of(data).running(CONTROL).is_some() {
        let client = AdminClient::log_in(data).await?;
        let wanted = rows.map(|prefix| format!("?rows={}", encoded(prefix)));
        let path = format!("/updraft/v1/database{}", wanted.unwrap_or_default());
        return client.download(&path, take).await;
    }
    let env = Env::real();
    let _held = Processes::of(data).hold(&env, CONTROL).await?;
    if !has_control(data) {
        return Err(nothing(data));
    }
    let (store, _) = open(&env, &Settings::read(&data.path(SETTINGS_FILE))?, data).await?;
    let copy = match rows {
        Some(prefix) => store.copy_rows(prefix).await?,
        None => store.copy().await?,
    };
    backup::encode(copy, |line| take(line.as_bytes())).await?;
    store.close().await;
    Ok(())
}

/// As it stands in a query.
fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn nothing(data: &DataDir) -> Failure {
    format!("{} holds no store of control services", data.root().display()).into()
}

/// Makes what a backup holds the store of a folder that has none; says how many rows and log entries it had.
pub async fn restore(settings: &Settings, file: &Path) -> Result<u64, Failure> {
    let env = Env::real();
    let data = DataDir::open(&settings.data_dir)?;
    let _held = Processes::of(&data).hold(&env, CONTROL).await?;
    if has_control(&data) {
        return Err(format!(
            "{} holds a cloud already: give another folder with --data-dir",
            data.root().display()
        )
        .into());
    }
    let database = database(settings)?;
    let place = database.as_ref().map(|database| database.place().to_owned());
    let mut filling = match database {
        Some(database) => Filling::postgres(env, database).await?,
        None => Filling::redb(env, &data.path(FILE)).await?,
    };
    let (mut decoder, mut pieces) = (Decoder::default(), 0);
    let mut file = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut bytes)?;
        if count == 0 {
            break;
        }
        for piece in decoder.feed(&bytes[..count])? {
            pieces += 1;
            // Which control nodes served the cloud that was saved says nothing of the one that it becomes: the first
            // that is started with it has it.
            if !is_of_control_nodes(&piece) {
                filling.add(piece).await?;
            }
        }
    }
    filling.finish(decoder.finish()?).await?;
    if let Some(place) = place {
        data.write(MARK, &place)?;
    }
    let settings = Settings { data_dir: data.root().to_owned(), ..settings.clone() };
    data.write(SETTINGS_FILE, &settings.to_file()?)?;
    Ok(pieces)
}

/// Whether a piece of a backup says which authority and which processes the cloud had.
fn is_of_control_nodes(piece: &Piece) -> bool {
    let of =
        |table: &str, key: &str| key.strip_prefix(table).is_some_and(|rest| rest.starts_with('/'));
    match piece {
        Piece::Row { key, .. } => of(CloudRow::TABLE, key) || of(ControlRow::TABLE, key),
        Piece::Log { .. } => false,
    }
}

/// Moves the store of a folder into the database of the settings; says where that is.
pub async fn move_into(settings: &Settings) -> Result<String, Failure> {
    let env = Env::real();
    let data = DataDir::existing(&settings.data_dir)?;
    let _held = Processes::of(&data).hold(&env, CONTROL).await?;
    if let Some(place) = data.read(MARK)? {
        return Err(format!("the cloud is in the database {} already", place.trim()).into());
    }
    if !data.path(FILE).exists() {
        return Err(nothing(&data));
    }
    let database = database(settings)?.ok_or("say with --database-url where to move the store")?;
    let place = database.place().to_owned();
    let store = Store::redb(env.clone(), &data.path(FILE)).await?;
    let mut filling = Filling::postgres(env, database).await?;
    let mut copy = store.copy().await?;
    while let Some(piece) = copy.next().await {
        filling.add(piece?).await?;
    }
    filling.finish(copy.sequence()).await?;
    store.close().await;
    // From here on the file is what was, whether it is renamed or not.
    data.write(MARK, &place)?;
    fs::rename(data.path(FILE), data.path(MOVED))?;
    let in_force = Settings {
        database_url: settings.database_url.clone(),
        database_password_file: settings.database_password_file.clone(),
        ..Settings::read(&data.path(SETTINGS_FILE))?
    };
    data.write(SETTINGS_FILE, &in_force.to_file()?)?;
    Ok(place)
}
