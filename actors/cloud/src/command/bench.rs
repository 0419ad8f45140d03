//! `updraft bench`: the figures of a simulated cloud over its public paths.
//!
//! A cloud of its own is started in a temporary folder, as a user would start it: REST over TCP, QUIC and TLS
//! between the two processes, durable commits. Each figure stands beside what real OpenStack measured on such
//! a machine, and beside the floor of this run: the cheapest request that the same server answers.

mod client;
mod figures;

use std::{
    path::Path,
    process::{ExitCode, Stdio},
    time::Duration,
};

use updraft_cloud::machine::{DataDir, Processes, this_program, told_to_end};
use updraft_runtime::Env;

use self::client::Client;
use super::{Failure, in_runtime};
use crate::{progress::Progress, say::say};

/// What is measured, step by step.
const STEPS: u64 = 7;

/// The pause in which an idle cloud becomes idle.
const IDLE: Duration = Duration::from_secs(3);

pub(super) fn run() -> Result<ExitCode, Failure> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("cloud");
    let mut cloud = Cloud { data: data.clone() };
    let measured = in_runtime(async {
        tokio::select! {
            biased;
            () = told_to_end() => Err("it was told to end".into()),
            measured = measure(&data) => measured,
        }
    });
    cloud.stop();
    measured?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the cloud also when a measurement fails.
struct Cloud {
    data: std::path::PathBuf,
}

impl Cloud {
    fn stop(&mut self) {
        if let Ok(mut program) = this_program() {
            // The cloud may not have started; then there is nothing to end.
            let _ =
                program.args(["down", "--data-dir"]).arg(&self.data).stdout(Stdio::null()).status();
        }
    }
}

async fn measure(data: &Path) -> Result<(), Failure> {
    let env = Env::real();
    let progress = Progress::steps(STEPS, "start-up");
    let begun = env.now();
    start(data)?;
    let started = env.now() - begun;
    let data = DataDir::open(data)?;
    let mut client = Client::log_in(&data).await?;
    progress.step("the idle cloud");
    env.sleep(IDLE).await;
    let idle_bytes = resident_bytes(&data)?;
    say(figures::heading())?;
    progress.step("the cheapest request");
    let floor = figures::floor(&mut client).await?;
    figures::print("start-up until REST answers", started.as_secs_f64(), "s", Some(80.0), None)?;
    let megabytes = idle_bytes / 1e6;
    figures::print("memory of the idle cloud", megabytes, "MB", Some(3_270.0), None)?;
    progress.step("tokens");
    figures::tokens(&mut client, floor).await?;
    progress.step("servers, one after the other");
    figures::servers(&mut client, floor).await?;
    progress.step("200 servers at once");
    figures::burst(&mut client).await?;
    progress.step("1,000 servers listed");
    figures::listing(&mut client, floor).await?;
    Ok(())
}

/// Room for every server that is asked for: how many a host holds is not what is measured.
const SETTINGS: &str = "simulated_host = [1024, 1048576, 65536]\n";

fn start(data: &Path) -> Result<(), Failure> {
    let settings = data.with_extension("toml");
    std::fs::write(&settings, SETTINGS)?;
    let output = this_program()?
        .args(["up", "--detach", "--hypervisor", "simulated", "--config"])
        .arg(settings)
        .args(["--listen", "127.0.0.1:0", "--quic-listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}

/// What the processes of the cloud hold in memory.
fn resident_bytes(data: &DataDir) -> Result<f64, Failure> {
    let processes = Processes::of(data);
    let mut kibibytes = 0.0;
    for pid in ["control", "compute"].into_iter().filter_map(|name| processes.running(name)) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let amount = line.and_then(|line| line.split_whitespace().next());
        kibibytes += amount.unwrap_or("0").parse::<f64>()?;
    }
    Ok(kibibytes * 1_024.0)
}
