//! This program, to be started again.

use std::{io, os::unix::process::CommandExt, process::Command};

/// A further process of the program that runs here: of this very file, also when another version has taken its
/// name since.
pub fn this_program() -> io::Result<Command> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(std::env::current_exe()?);
    Ok(command)
}
