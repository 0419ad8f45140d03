//! `updraft control`.

use std::process::ExitCode;

use updraft_cloud::machine::{
    self, ADDRESS_FILE, ControlRequest, ControlStart, DataDir, Processes, config::Settings,
    further_control,
};

use updraft_transport::NodeId;

use super::{Failure, detach, in_runtime, joining::Joining, log_to_stderr, up};
use crate::{
    progress::Progress,
    say::{note, say},
};

fn request(joining: Joining) -> Result<ControlRequest, Failure> {
    Ok(ControlRequest { token: joining.token()?, name: joining.name })
}

pub(super) fn foreground(
    settings: Settings,
    joining: Joining,
    detached: bool,
) -> Result<ExitCode, Failure> {
    log_to_stderr();
    let start = ControlStart::Further(request(joining)?);
    if detached {
        detach::leave_terminal()?;
        detach::tell(in_runtime(machine::run_control(settings, start)))?;
    } else {
        note("Starting a control node; Ctrl-C ends it.");
        in_runtime(machine::run_control(settings, start))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Joins, and says so.
pub(super) fn join_only(settings: &Settings, joining: Joining) -> Result<ExitCode, Failure> {
    let node = join(settings, request(joining)?)?;
    say(format!("{node} has joined, and does not run yet: 'updraft control' runs it"))?;
    Ok(ExitCode::SUCCESS)
}

fn join(settings: &Settings, request: ControlRequest) -> Result<NodeId, Failure> {
    let _progress = Progress::waiting("Joining");
    in_runtime(machine::enlist_control(settings, request))
}

/// Joins here, where an error is seen, and leaves a process behind that is the control node.
pub(super) fn detached(settings: &Settings, joining: Joining) -> Result<ExitCode, Failure> {
    let request = request(joining)?;
    let data = DataDir::open(&settings.data_dir)?;
    let runs = further_control(&data)?.is_some()
        && in_runtime(up::runs_already(&data, &Processes::of(&data)))?;
    if runs {
        up::note_other_settings(settings, &data);
    } else {
        join(settings, request)?;
        // One of an earlier run that was killed would be taken for an answer.
        data.remove(ADDRESS_FILE)?;
        detach::detach("control", settings, &data, "control.log", |_| up::answers(&data))?;
    }
    say(summary(&data)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What a user needs to know next.
fn summary(data: &DataDir) -> Result<String, Failure> {
    let node = further_control(data)?.map(|node| node.to_string()).unwrap_or_default();
    let address = data.read(ADDRESS_FILE)?.map(|text| text.trim().to_owned()).unwrap_or_default();
    let root = data.root().display();
    Ok(format!(
        "Control node {node} runs; it answers at http://{address}\n\
         Its data:    {root}\n\
         Its clients: export OS_CLIENT_CONFIG_FILE={} OS_CLOUD=updraft\n\
         To end it:   updraft down --data-dir {root}",
        data.path("clouds.yaml").display(),
    ))
}
