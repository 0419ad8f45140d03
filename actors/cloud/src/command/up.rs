//! `updraft up`.

use std::{process::ExitCode, time::Duration};

use updraft_cloud::machine::{
    self, ADDRESS_FILE, COMPUTE, CONTROL, DataDir, Processes, SETTINGS_FILE, config::Settings,
};
use updraft_runtime::Env;

use super::{Failure, detach, in_runtime, log_to_stderr};
use crate::say::{note, say};

/// How long `--detach` waits for the compute process to begin, so that `status` finds it at once.
const COMPUTE_BEGINS_WITHIN: Duration = Duration::from_secs(1);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn foreground(settings: Settings, detached: bool) -> Result<ExitCode, Failure> {
    log_to_stderr();
    if detached {
        detach::leave_terminal()?;
        detach::tell(in_runtime(machine::run_control(settings)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let data = DataDir::open(&settings.data_dir)?;
    note(format!("Starting a cloud in {}; Ctrl-C ends it.", data.root().display()));
    if let Some(lacks) = machine::lacks(&settings, &data) {
        note(lacks);
    }
    in_runtime(machine::run_control(settings))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the cloud as a process of its own and waits until it answers.
pub(super) fn detached(settings: &Settings) -> Result<ExitCode, Failure> {
    let data = DataDir::open(&settings.data_dir)?;
    let processes = Processes::of(&data);
    if processes.running(CONTROL).is_some() {
        let in_force = Settings::read(&data.path(SETTINGS_FILE)).ok();
        if in_force.is_some_and(|in_force| in_force != resolved(settings, &data)) {
            note(
                "It runs already, with other settings; 'updraft down' first lets these take effect.",
            );
        }
    } else {
        // One of an earlier run that was killed would be taken for an answer.
        data.remove(ADDRESS_FILE)?;
        detach::detach("up", settings, &data, "control.log", || answers(&data))?;
        in_runtime(compute_begins(&processes))?;
    }
    say(summary(settings, &data)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The settings as they are written down, with the folder in full.
fn resolved(settings: &Settings, data: &DataDir) -> Settings {
    Settings { data_dir: data.root().to_owned(), ..settings.clone() }
}

fn answers(data: &DataDir) -> bool {
    let address = data.read(ADDRESS_FILE).ok().flatten();
    address.is_some() && Processes::of(data).running(CONTROL).is_some()
}

async fn compute_begins(processes: &Processes) -> Result<(), Failure> {
    let env = Env::real();
    let until = env.now() + COMPUTE_BEGINS_WITHIN;
    while processes.running(COMPUTE).is_none() && env.now() < until {
        env.sleep(LOOK).await;
    }
    Ok(())
}

/// What a user needs to know next.
fn summary(settings: &Settings, data: &DataDir) -> Result<String, Failure> {
    let address = data.read(ADDRESS_FILE)?.map(|text| text.trim().to_owned());
    let address = address.unwrap_or_else(|| settings.listen.address().to_string());
    let lacks = machine::lacks(settings, data).map(|lacks| format!("\n{lacks}"));
    let root = data.root().display();
    Ok(format!(
        "The cloud answers at http://{address}\n\
         Its data:    {root}\n\
         Its clients: export OS_CLIENT_CONFIG_FILE={} OS_CLOUD=updraft\n\
         Next:        openstack server list\n\
         More hosts:  updraft invite --data-dir {root}\n\
         To end it:   updraft down --data-dir {root}{}",
        data.path("clouds.yaml").display(),
        lacks.unwrap_or_default(),
    ))
}
