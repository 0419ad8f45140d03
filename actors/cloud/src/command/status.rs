//! `updraft status`.

use std::process::ExitCode;

use updraft_cloud::machine::{self, DataDir, Processes};

use super::{Failure, NOTHING_RUNS, Options};

pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let settings = options.settings()?;
    let data = DataDir::open(&settings.data_dir)?;
    let processes = Processes::of(&data);
    let mut code = ExitCode::SUCCESS;
    for name in ["control", "compute"] {
        match processes.running(name) {
            Some(pid) => println!("{name:8} runs as process {pid}"),
            None => {
                println!("{name:8} does not run");
                code = ExitCode::from(NOTHING_RUNS);
            }
        }
    }
    if let Some(address) = data.read("run/address")? {
        println!("APIs     http://{}", address.trim());
    }
    println!("data     {}", data.root().display());
    if let Some(lacks) = machine::lacks(&settings, &data) {
        println!("{lacks}");
    }
    Ok(code)
}
