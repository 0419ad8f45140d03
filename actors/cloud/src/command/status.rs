//! `updraft status`.

use std::process::ExitCode;

use serde::Deserialize;
use updraft_cloud::{
    machine::{
        self, ADDRESS_FILE, AdminClient, COMPUTE, CONTROL, Contact, DataDir, Processes,
        SETTINGS_FILE, config::Settings,
    },
    membership::Listed,
};

use super::{Failure, in_runtime};
use crate::say::{NOTHING_RUNS, say};

pub(super) fn run(data: &DataDir) -> Result<ExitCode, Failure> {
    let processes = Processes::of(data);
    let membership = machine::membership(data)?;
    let mut all_run = true;
    if machine::database::has_control(data) {
        match processes.running(CONTROL) {
            Some(pid) => say(format!("control  runs as process {pid}"))?,
            None => say("control  does not run")?,
        }
        all_run &= processes.running(CONTROL).is_some();
    }
    let who = membership.as_ref().map(|known| format!(" as node {}", known.node));
    let who = who.unwrap_or_default();
    // A further control node has no compute process beside it.
    if machine::further_control(data)?.is_none() {
        match processes.running(COMPUTE) {
            Some(pid) => say(format!("compute  runs as process {pid}{who}"))?,
            None => say("compute  does not run")?,
        }
        all_run &= processes.running(COMPUTE).is_some();
    }
    if let Some(address) = data.read(ADDRESS_FILE)?.filter(|_| processes.running(CONTROL).is_some())
    {
        say(format!("APIs     http://{}", address.trim()))?;
        nodes(data)?;
    } else if let Some(known) = membership {
        let others =
            known.others.iter().map(|other| format!(", {} at {}", other.node, other.address));
        let others: String = others.collect();
        let (first, at) = (&known.control, known.control_address);
        let alone = known.others.is_empty();
        say(format!("cloud    {first} at {at}{others}{}", reach(data, alone)?))?;
    }
    say(format!("data     {}", data.root().display()))?;
    let settings = data.path(SETTINGS_FILE);
    if settings.exists()
        && machine::further_control(data)?.is_none()
        && let Some(lacks) = machine::lacks(&Settings::read(&settings)?, data)
    {
        say(lacks)?;
    }
    Ok(if all_run { ExitCode::SUCCESS } else { ExitCode::from(NOTHING_RUNS) })
}

/// Whether this host's node reaches a control node, as far as is known.
fn reach(data: &DataDir, alone: bool) -> Result<String, Failure> {
    let runs = Processes::of(data).running(COMPUTE).is_some();
    Ok(match machine::contact(data)? {
        Some(Contact::Removed) => "\nremoved  its certificate was revoked; to join again, give an empty folder with \
                                   --data-dir, and a token that 'updraft invite' prints on the control host"
            .to_owned(),
        Some(Contact::Reached) if runs && alone => ", which answers".to_owned(),
        Some(Contact::Reached) if runs => "; the cloud answers".to_owned(),
        Some(Contact::Unreached(why)) if runs && alone => format!(", which does not answer: {why}"),
        Some(Contact::Unreached(why)) if runs => format!("; none answers: {why}"),
        _ => String::new(),
    })
}

/// Every node of the cloud, as its control node knows them, and whether hosts take servers.
fn nodes(data: &DataDir) -> Result<(), Failure> {
    let listed: Result<(Vec<Listed>, Hosts), Failure> = in_runtime(async {
        let client = AdminClient::log_in(data).await?;
        let nodes = client.get("/updraft/v1/nodes").await?;
        Ok((nodes, client.get("/compute/v2.1/os-services?binary=nova-compute").await?))
    });
    let (nodes, hosts) = match listed {
        Ok(listed) => listed,
        Err(error) => return say(format!("nodes    not known: {error}")),
    };
    for node in nodes {
        let state = match (node.alive, node.silent_ms) {
            (true, _) => "up".to_owned(),
            (false, Some(silent_ms)) => format!("down, silent for {} s", silent_ms / 1_000),
            (false, None) => "down, not heard since the control node started".to_owned(),
        };
        let address = node.address.map(|address| address.to_string()).unwrap_or_default();
        let (name, roles) = (node.node.to_string(), node.roles.join(", "));
        say(format!("node     {name:24} {roles:8} {address:21} {state}"))?;
    }
    for Host { host, state, status, disabled_reason } in hosts.services {
        let takes = match disabled_reason {
            _ if state != "up" => "takes no new servers: it is down".to_owned(),
            Some(reason) => format!("takes no new servers: {reason}"),
            None if status == "disabled" => "takes no new servers".to_owned(),
            None => "takes servers".to_owned(),
        };
        say(format!("host     {host:24} {takes}"))?;
    }
    Ok(())
}

/// What compute says of its hosts.
#[derive(Deserialize)]
struct Hosts {
    services: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    host: String,
    state: String,
    status: String,
    disabled_reason: Option<String>,
}
