//! `updraft config`.

use std::process::ExitCode;

use updraft_cloud::machine::config::Settings;

use super::Failure;
use crate::say;

/// What stands above the settings.
const HEAD: &str = "\
# Settings of Updraft. The command line goes before the environment, and both before this file; a key that is left
# away has its default. 'updraft up --config FILE' uses it.

";

pub(super) fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    say::print(&format!("{HEAD}{}", settings.to_file()?))?;
    Ok(ExitCode::SUCCESS)
}
