//! `updraft down`.

use std::{
    process::{Command, ExitCode},
    time::Duration,
};

use updraft_cloud::machine::{self, COMPUTE, CONTROL, DataDir, Processes};
use updraft_runtime::Env;

use super::{Failure, in_runtime};
use crate::{
    progress::Progress,
    say::{NOTHING_RUNS, say},
};

/// How long a process may take to end by itself: the control process waits for requests and for its compute
/// process, each within a limit of its own.
const GRACE: Duration = Duration::from_secs(30);

/// How often it is shown that it goes on.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(data: &DataDir) -> Result<ExitCode, Failure> {
    let processes = Processes::of(data);
    let ran = in_runtime(async {
        let env = Env::real();
        let progress = Progress::waiting("Ending what runs here");
        let ending = end(&env, data, &processes);
        tokio::pin!(ending);
        loop {
            match env.timeout(LOOK, &mut ending).await {
                Some(ended) => return ended,
                None => progress.goes_on(),
            }
        }
    })?;
    stop_libvirtd(data)?;
    let root = data.root().display();
    if !ran {
        say(format!("Nothing ran in {root}."))?;
        return Ok(ExitCode::from(NOTHING_RUNS));
    }
    let again = match machine::further_control(data)? {
        Some(_) => "control",
        None if machine::database::has_control(data) => "up",
        None => "node",
    };
    say(format!(
        "What ran in {root} has ended; its data is kept. 'updraft {again}' starts it again."
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Ends both processes, and removes what they made; says whether either ran.
async fn end(env: &Env, data: &DataDir, processes: &Processes) -> Result<bool, Failure> {
    let control = processes.stop(env, CONTROL, GRACE).await?;
    let compute = processes.stop(env, COMPUTE, GRACE).await?;
    machine::purge(env, data).await?;
    Ok(control || compute)
}

/// Ends the cloud's own libvirtd and its guests, if it ever had one.
fn stop_libvirtd(data: &DataDir) -> Result<(), Failure> {
    let script = data.path("bin/libvirtd.sh");
    if !script.exists() {
        return Ok(());
    }
    let folder = data.path("libvirt");
    let status =
        Command::new("bash").arg(&script).arg("stop").arg(folder).arg("--guests").status()?;
    if status.success() {
        return Ok(());
    }
    Err("the cloud's libvirtd did not end; what it said stands above".into())
}
