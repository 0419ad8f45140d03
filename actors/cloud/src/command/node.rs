//! `updraft node`.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Args;
use updraft_cloud::machine::{
    self, COMPUTE, CONTACT_FILE, Contact, DataDir, Membership, NODE_ADDRESS_FILE, NodeRequest,
    Processes,
    config::{Settings, address},
};

use super::{Failure, detach, in_runtime, joining::Joining, log_to_stderr};
use crate::{progress::Progress, say::say};

/// How long it is waited for a word of the control node before the node counts as running without it: a few failed dials.
const CONTACT_WITHIN: Duration = Duration::from_secs(3);

/// How this host joins, and where its control node is.
#[derive(Args)]
pub(crate) struct NodeJoining {
    #[command(flatten)]
    joining: Joining,
    /// Where the control node listens now, if it has moved since this host joined
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Joining")]
    control: Option<SocketAddr>,
}

impl NodeJoining {
    fn request(self) -> Result<NodeRequest, Failure> {
        let Self { joining, control } = self;
        Ok(NodeRequest { token: joining.token()?, name: joining.name, control })
    }
}

pub(super) fn foreground(
    settings: Settings,
    joining: NodeJoining,
    detached: bool,
) -> Result<ExitCode, Failure> {
    log_to_stderr();
    let request = joining.request()?;
    if detached {
        detach::leave_terminal()?;
        detach::tell(in_runtime(machine::run_node(settings, request)))?;
    } else {
        in_runtime(machine::run_node(settings, request))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Joins, and says so.
pub(super) fn join_only(settings: &Settings, joining: NodeJoining) -> Result<ExitCode, Failure> {
    let known = join(settings, joining)?;
    say(format!("{} has joined, and does not run yet: 'updraft node' runs it", known.node))?;
    Ok(ExitCode::SUCCESS)
}

fn join(settings: &Settings, joining: NodeJoining) -> Result<Membership, Failure> {
    let request = joining.request()?;
    let _progress = Progress::waiting("Joining");
    in_runtime(machine::enrol_node(settings, request))
}

/// Joins here, where an error is seen, and leaves a process behind that is the node.
pub(super) fn detached(settings: &Settings, joining: NodeJoining) -> Result<ExitCode, Failure> {
    let known = join(settings, joining)?;
    let data = DataDir::existing(&settings.data_dir)?;
    data.remove(NODE_ADDRESS_FILE)?;
    data.remove(CONTACT_FILE)?;
    let runs = |since: Duration| {
        let address = data.read(NODE_ADDRESS_FILE).ok().flatten();
        let heard = match machine::contact(&data).ok().flatten() {
            // It ends, and says why.
            Some(Contact::Removed) => false,
            Some(_) => true,
            None => since >= CONTACT_WITHIN,
        };
        heard && address.is_some() && Processes::of(&data).running(COMPUTE).is_some()
    };
    detach::detach("node", settings, &data, "compute.log", runs)?;
    let lacks = machine::lacks(settings, &data).map(|lacks| format!("\n{lacks}"));
    let root = data.root().display();
    let reports = match machine::contact(&data)? {
        Some(Contact::Unreached(why)) => {
            format!("but does not reach its control node yet ({why}):")
        }
        None => "but does not reach its control node yet:".to_owned(),
        Some(_) => "and reports to".to_owned(),
    };
    say(format!(
        "Node {} runs, {reports} {} at {}\n\
         Its data:    {root}\n\
         To end it:   updraft down --data-dir {root}{}",
        known.node,
        known.control,
        known.control_address,
        lacks.unwrap_or_default(),
    ))?;
    Ok(ExitCode::SUCCESS)
}
