//! `updraft remove`.

use std::process::ExitCode;

use serde_json::Value;
use updraft_cloud::machine::{AdminClient, DataDir};
use updraft_transport::NodeId;

use super::{Failure, in_runtime};
use crate::say::say;

pub(super) fn run(data: &DataDir, node: &NodeId, force: bool) -> Result<ExitCode, Failure> {
    in_runtime(async {
        let client = AdminClient::log_in(data).await?;
        let path = format!("/updraft/v1/nodes/{node}?force={force}");
        let answer = client.ask("DELETE", &path, &Value::Null).await?;
        if answer.status.is_success() { Ok(()) } else { Err(answer.said().into()) }
    })?;
    say(format!(
        "Node {node} is removed: its certificate is refused from now on, by every node within seconds.\n\
         Guests of a host run on until somebody ends them there; a control node ends by itself. 'updraft invite --name \
         {node}' lets another machine have the name."
    ))?;
    Ok(ExitCode::SUCCESS)
}
