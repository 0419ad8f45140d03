//! `updraft-sim`: runs campaigns of the simulated cloud, and replays what failed.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    updraft_harness::campaign::cli::main(&updraft_tests::scenario::all())
}
