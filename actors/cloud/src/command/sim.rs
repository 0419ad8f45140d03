//! `updraft sim`: starts the program that runs campaigns of the simulated cloud.
//!
//! The simulation overrides entropy and clock of its whole process, so it is a program of its own and never a part of
//! this one.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use super::Failure;

const PROGRAM: &str = "updraft-sim";

/// Runs it with these arguments, and ends as it does.
pub(super) fn run(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let program = beside(&std::env::current_exe()?);
    match Command::new(&program).args(arguments).status() {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(&program).into()),
        Err(error) => Err(format!("{} cannot be started: {error}", program.display()).into()),
    }
}

/// Where the program is: in the same folder as this one.
fn beside(this: &Path) -> PathBuf {
    this.with_file_name(PROGRAM)
}

fn missing(program: &Path) -> String {
    format!(
        "There is no {}. The simulation is a program of its own; build it in Updraft's source with:\n\n  cargo build \
         --release --package updraft-tests --bin {PROGRAM}\n\nand put target/release/{PROGRAM} there.",
        program.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_looked_for_beside_this_one_and_a_missing_one_is_built_by_what_is_said() {
        let program = beside(Path::new("/opt/updraft/bin/updraft"));
        assert_eq!(program, Path::new("/opt/updraft/bin/updraft-sim"));
        let words = missing(&program);
        assert!(words.contains("/opt/updraft/bin/updraft-sim") && words.contains("cargo build"));
    }
}
