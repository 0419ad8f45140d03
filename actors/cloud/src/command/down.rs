//! `updraft down`.

use std::{
    process::{Command, ExitCode},
    time::Duration,
};

use updraft_cloud::machine::{self, DataDir, Processes};
use updraft_runtime::Env;

use super::{Failure, NOTHING_RUNS, Options, in_runtime};

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let settings = options.settings()?;
    let data = DataDir::open(&settings.data_dir)?;
    let processes = Processes::of(&data);
    let mut ran = false;
    in_runtime(async {
        let env = Env::real();
        ran |= processes.stop(&env, "control", GRACE).await?;
        ran |= processes.stop(&env, "compute", GRACE).await?;
        machine::purge(&env, &data).await
    })?;
    let script = data.path("bin/libvirtd.sh");
    if script.exists() {
        let status = Command::new("bash")
            .arg(&script)
            .arg("stop")
            .arg(data.path("libvirt"))
            .arg("--guests")
            .status()?;
        if !status.success() {
            return Err("the cloud's libvirtd did not end; what it said stands above".into());
        }
    }
    if !ran {
        println!("No cloud ran in {}.", data.root().display());
        return Ok(ExitCode::from(NOTHING_RUNS));
    }
    println!(
        "The cloud in {} has ended; its data is kept. 'updraft up' starts it again.",
        data.root().display()
    );
    Ok(ExitCode::SUCCESS)
}
