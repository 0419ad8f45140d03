//! `updraft trace`.

use std::{process::ExitCode, time::Duration};

use serde::Deserialize;
use uuid::Uuid;

use updraft_cloud::{
    flow::{Line, heading, rendered},
    machine::{self, DataDir},
};
use updraft_runtime::Env;

use super::{Failure, in_runtime};
use crate::say::say;

/// How often new steps are looked for.
const LOOK: Duration = Duration::from_millis(300);

/// How long a build is followed.
const FOLLOW: Duration = Duration::from_secs(600);

pub(super) fn run(data: &DataDir, server: Uuid, follow: bool) -> Result<ExitCode, Failure> {
    in_runtime(async {
        let env = Env::real();
        let client = machine::AdminClient::log_in(data).await?;
        let mut shown = Vec::new();
        lines(&client, server).await?;
        say(heading())?;
        let mut ended = !follow;
        let until = env.now() + FOLLOW;
        loop {
            // Not asked once it has: to ask is a step of its own.
            ended = ended || has_ended(&client, server).await?;
            let known = shown.len();
            let lines = lines(&client, server).await?;
            let first = lines.first().map(|line| line.step.at).unwrap_or_default();
            // Another node's step may arrive later than one that followed it.
            for line in lines {
                if !shown.contains(&line) {
                    say(rendered(&line, first))?;
                    shown.push(line);
                }
            }
            // Nodes send their steps in batches: the last come a moment after the end that they led to.
            let complete = !follow || shown.len() == known;
            if (ended && complete) || env.now() >= until {
                return Ok(ExitCode::SUCCESS);
            }
            env.sleep(LOOK).await;
        }
    })
}

/// The recorded steps of a server's last request.
async fn lines(client: &machine::AdminClient, server: Uuid) -> Result<Vec<Line>, Failure> {
    let path = format!("/updraft/v1/servers/{server}/trace");
    let answer = client.ask("GET", &path, &serde_json::Value::Null).await?;
    match answer.status.as_u16() {
        404 => Err(format!(
            "there is no server {server}; 'openstack server list' shows which there are"
        )
        .into()),
        200 => Ok(serde_json::from_slice(&answer.body)?),
        _ => Err(answer.said().into()),
    }
}

#[derive(Deserialize)]
struct Shown {
    server: Server,
}

#[derive(Deserialize)]
struct Server {
    status: String,
}

/// Whether a server is built or has failed.
async fn has_ended(client: &machine::AdminClient, server: Uuid) -> Result<bool, Failure> {
    let shown: Shown = client.get(&format!("/compute/v2.1/servers/{server}")).await?;
    Ok(shown.server.status != "BUILD")
}
