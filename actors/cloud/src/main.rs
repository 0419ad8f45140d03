//! The `updraft` command.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]

mod command;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = command::Arguments::parse();
    match command::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("updraft: {error}");
            ExitCode::FAILURE
        }
    }
}
