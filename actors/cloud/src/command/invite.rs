//! `updraft invite`.

use std::process::ExitCode;

use serde_json::json;
use updraft_cloud::{
    machine::{AdminClient, DataDir},
    membership::Issued,
};
use updraft_transport::NodeId;

use super::{Failure, in_runtime};
use crate::say::{note, say};

/// Prints a token alone on standard output, so that it can be piped; what to do with it goes beside.
pub(super) fn run(
    data: &DataDir,
    name: Option<&NodeId>,
    minutes: u64,
    control: bool,
) -> Result<ExitCode, Failure> {
    let issued = in_runtime(async {
        let client = AdminClient::log_in(data).await?;
        let wanted = json!({"node": name, "lasts_minutes": minutes, "control": control});
        let answer = client.ask("POST", "/updraft/v1/join-tokens", &wanted).await?;
        if !answer.status.is_success() {
            return Err(answer.said().into());
        }
        Ok(serde_json::from_slice::<Issued>(&answer.body)?)
    })?;
    say(&issued.token)?;
    let address = issued.control_address;
    let (command, settings) = if control {
        ("control", " --database-url URL --image-dir SHARED-FOLDER")
    } else {
        ("node", "")
    };
    note(format!(
        "On the other host, within {minutes} minutes, once:  updraft {command} --join-file FILE-WITH-THE-TOKEN{settings}"
    ));
    if control {
        note(
            "Whoever has this token can become the whole cloud: it gives the key of its certificate authority.",
        );
    }
    if address.ip().is_loopback() {
        note(format!(
            "The control node listens on {address}, which only this machine reaches; 'updraft up --quic-listen \
             ADDRESS' lets other hosts in."
        ));
    }
    Ok(ExitCode::SUCCESS)
}
