//! The `updraft` command.

mod command;
mod progress;
mod say;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = match command::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return say::refused(&error),
    };
    match command::run(arguments) {
        Ok(code) => code,
        Err(error) => say::failed(&error),
    }
}
