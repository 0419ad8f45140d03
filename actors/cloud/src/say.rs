//! Everything that the command prints, and the codes that it ends with.
//!
//! Promises that a reader who has gone ends the command quietly, as in `updraft trace ID | head -1`, and that
//! an error is one sentence behind the program's name.

use std::{
    fmt::{Display, Write as _},
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::error::{ContextKind, ContextValue};
use updraft_cloud::{
    control::StartError,
    machine::{
        AddressError, DataDirError, EnrolError, NoCloud, config::ConfigError,
        database::DatabaseError,
    },
    membership::SeatError,
};
use updraft_runtime::store::OpenError;

use crate::{command::Failure, progress};

/// It did not succeed; the reason is printed.
const FAILED: u8 = 1;
/// The command line, a variable or the configuration file is wrong.
const WRONG_USE: u8 = 2;
/// Nothing runs where something was expected to.
pub(crate) const NOTHING_RUNS: u8 = 3;
/// The data directory cannot be used.
const DATA_DIR: u8 = 4;
/// An address cannot be listened on.
const ADDRESS: u8 = 5;
/// The machine did not join.
const NOT_JOINED: u8 = 6;

/// The codes, for `--help`.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done
  1  it did not succeed; the reason is printed
  2  the command line, an environment variable or the configuration file is wrong
  3  nothing runs there, or not all that should
  4  the data directory or the database cannot be used: of another version, in use, damaged, not writable, full
  5  an address cannot be listened on
  6  the machine did not join: its token is used, expired, damaged, of another cloud or for something else; or it was
     removed";

/// Whoever reads the output has gone. Nothing is wrong.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output")]
struct ReaderGone;

/// A process that was started in the background ended at once.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub(crate) struct Ended {
    /// Its exit code.
    pub(crate) code: u8,
    /// The last it said.
    pub(crate) said: String,
}

/// Prints a line of what was asked for.
pub(crate) fn say(line: impl Display) -> Result<(), Failure> {
    print(&format!("{line}\n"))
}

/// Prints what was asked for, as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let written = progress::above(|| {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    });
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(format!("the output cannot be written: {error}").into()),
    }
}

/// Tells the user something beside what was asked for.
pub(crate) fn note(line: impl Display) {
    // Who closes it does not want to be told.
    let _ = progress::above(|| writeln!(io::stderr().lock(), "{line}"));
}

/// Says why the command failed.
pub(crate) fn failed(error: &Failure) -> ExitCode {
    if error.is::<ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    note(format!("updraft: {}", sentence(error)));
    ExitCode::from(code(error))
}

/// Says what is wrong with the command line; or what `--help` asked for.
pub(crate) fn refused(error: &clap::Error) -> ExitCode {
    // Who closes the output does not want to be told.
    let _ = error.print();
    if let Some(variable) = variable(error) {
        note(format!("\nThe value stands in the environment variable {variable}."));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USE))
}

/// The environment variable that a refused value came from, if the command line does not have the option.
fn variable(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = argument.split([' ', '=']).next()?;
    let typed = |given: String| given == option || given.starts_with(&format!("{option}="));
    if std::env::args().any(typed) {
        return None;
    }
    let name = option.trim_start_matches('-').replace('-', "_").to_uppercase();
    let variable = format!("UPDRAFT_{name}");
    std::env::var_os(&variable).map(|_| variable)
}

/// An error with whatever its causes add.
pub(crate) fn sentence(error: &Failure) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            // Writing into a string cannot fail.
            let _ = write!(text, ": {words}");
        }
        cause = next.source();
    }
    text
}

fn code(error: &Failure) -> u8 {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        ended.code
    } else if error.is::<ConfigError>() {
        WRONG_USE
    } else if matches!(error.downcast_ref(), Some(DataDirError::Nothing(_)))
        || error.is::<NoCloud>()
    {
        NOTHING_RUNS
    } else if error.is::<DataDirError>()
        || error.is::<OpenError>()
        || error.is::<DatabaseError>()
        || error.is::<SeatError>()
        || matches!(error.downcast_ref(), Some(StartError::Rows(_)))
    {
        DATA_DIR
    } else if error.is::<AddressError>() {
        ADDRESS
    } else if error.is::<EnrolError>() {
        NOT_JOINED
    } else {
        FAILED
    }
}
