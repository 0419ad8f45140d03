//! `updraft up`.

use std::{process::ExitCode, time::Duration};

use serde_json::Value;
use updraft_cloud::machine::{
    self, ADDRESS_FILE, AdminClient, COMPUTE, CONTROL, ControlStart, DataDir, Processes,
    SETTINGS_FILE, config::Settings,
};
use updraft_runtime::Env;

use super::{Failure, detach, in_runtime, log_to_stderr};
use crate::{
    progress::Progress,
    say::{note, say},
};

/// How long `--detach` waits for the compute process to begin, so that `status` finds it at once.
const COMPUTE_BEGINS_WITHIN: Duration = Duration::from_secs(1);

/// How long `--wait` waits: libvirt's first start takes 8 s, and the trial guest that shows what works 10.
const HOST_WITHIN: Duration = Duration::from_secs(120);

/// How long a control process that runs already may take to answer: as long as a large store takes to open.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn foreground(settings: Settings, detached: bool) -> Result<ExitCode, Failure> {
    log_to_stderr();
    if detached {
        detach::leave_terminal()?;
        detach::tell(in_runtime(machine::run_control(settings, ControlStart::First)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let data = DataDir::open(&settings.data_dir)?;
    note(format!("Starting a cloud in {}; Ctrl-C ends it.", data.root().display()));
    if let Some(lacks) = machine::lacks(&settings, &data) {
        note(lacks);
    }
    in_runtime(machine::run_control(settings, ControlStart::First))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the cloud as a process of its own and waits until it answers.
pub(super) fn detached(settings: &Settings, wait: bool) -> Result<ExitCode, Failure> {
    let data = DataDir::open(&settings.data_dir)?;
    let processes = Processes::of(&data);
    if in_runtime(runs_already(&data, &processes))? {
        note_other_settings(settings, &data);
    } else {
        // One of an earlier run that was killed would be taken for an answer.
        data.remove(ADDRESS_FILE)?;
        detach::detach("up", settings, &data, "control.log", |_| answers(&data))?;
        in_runtime(compute_begins(&processes))?;
    }
    if wait {
        in_runtime(host_ready(settings, &data))?;
    }
    say(summary(settings, &data)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Says so if what runs has other settings than these.
pub(super) fn note_other_settings(settings: &Settings, data: &DataDir) {
    let in_force = Settings::read(&data.path(SETTINGS_FILE)).ok();
    if in_force.is_some_and(|in_force| in_force != resolved(settings, data)) {
        note("It runs already, with other settings; 'updraft down' first lets these take effect.");
    }
}

/// Whether a control process of this folder runs and answers. One that was just killed holds its place for a moment
/// still, and one that begins does not answer yet: both are waited for.
pub(super) async fn runs_already(data: &DataDir, processes: &Processes) -> Result<bool, Failure> {
    let env = Env::real();
    let until = env.now() + ANSWERS_WITHIN;
    while let Some(pid) = processes.running(CONTROL) {
        if AdminClient::is_answered(data).await {
            return Ok(true);
        }
        if env.now() >= until {
            return Err(format!(
                "process {pid} holds {} and does not answer; 'updraft down' ends it",
                data.root().display()
            )
            .into());
        }
        env.sleep(LOOK).await;
    }
    Ok(false)
}

/// Waits until a host can run guests.
async fn host_ready(settings: &Settings, data: &DataDir) -> Result<(), Failure> {
    let env = Env::real();
    let progress = Progress::waiting("Waiting until a host can run guests");
    let client = AdminClient::log_in(data).await?;
    let until = env.now() + HOST_WITHIN;
    loop {
        let hypervisors: Value = client.get("/compute/v2.1/os-hypervisors/detail").await?;
        let listed = hypervisors["hypervisors"].as_array();
        if listed.is_some_and(|listed| listed.iter().any(|hypervisor| hypervisor["state"] == "up"))
        {
            return Ok(());
        }
        if env.now() >= until {
            let lacks = machine::lacks(settings, data);
            let why =
                lacks.unwrap_or_else(|| "'updraft status' and the logs may say why.".to_owned());
            return Err(format!("no host can run guests after {HOST_WITHIN:?}. {why}").into());
        }
        progress.goes_on();
        env.sleep(LOOK * 10).await;
    }
}

/// The settings as they are written down, with the folder in full.
fn resolved(settings: &Settings, data: &DataDir) -> Settings {
    Settings { data_dir: data.root().to_owned(), ..settings.clone() }
}

pub(super) fn answers(data: &DataDir) -> bool {
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
