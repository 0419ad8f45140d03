//! The `updraft` command.

mod command;
mod progress;
mod say;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use nix::sys::stat::{Mode, umask};

/// A message is many small allocations: they cost less with this allocator than with that of the C library.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // What a cloud keeps holds keys and tokens: stores, logs and disks are for nobody but its owner, and so is what
    // the programs make that it starts.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let arguments = match command::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return say::refused(&error),
    };
    match command::run(arguments) {
        Ok(code) => code,
        Err(error) => say::failed(&error),
    }
}
