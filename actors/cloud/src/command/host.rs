//! `updraft host`.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use serde_json::{Value, json};
use updraft_cloud::machine::AdminClient;
use updraft_compute::drains::{Left, Progress};
use updraft_runtime::Env;
use updraft_transport::NodeId;

use super::{Failure, in_runtime, node_name, options::Place};
use crate::say::say;

/// How often it is asked how far the host is emptied.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Subcommand)]
pub(super) enum What {
    /// Empty a host: nothing new is placed there, and its servers move to other hosts, a few at a time
    ///
    /// Waits until the host is empty and says what is left on it; when this command ends before, the host is emptied all the
    /// same. Give it again to try at once what could not be moved.
    Drain {
        #[command(flatten)]
        place: Place,
        /// The host's name, which 'updraft status' shows
        #[arg(value_name = "HOST", value_parser = node_name)]
        host: NodeId,
        /// It is down, by your word: its power is cut. Its servers are made anew elsewhere from their images
        #[arg(long)]
        down: bool,
        /// Return at once
        #[arg(long)]
        no_wait: bool,
    },
    /// Let a host that was drained have servers again
    Undrain {
        #[command(flatten)]
        place: Place,
        /// The host's name
        #[arg(value_name = "HOST", value_parser = node_name)]
        host: NodeId,
    },
}

pub(super) fn run(what: What) -> Result<ExitCode, Failure> {
    match what {
        What::Drain { place, host, down, no_wait } => {
            let data = place.existing()?;
            in_runtime(async {
                let client = AdminClient::log_in(&data).await?;
                drain(&client, &host, down, !no_wait).await
            })
        }
        What::Undrain { place, host } => {
            let data = place.existing()?;
            in_runtime(async {
                let client = AdminClient::log_in(&data).await?;
                ask(&client, "DELETE", &host, &Value::Null).await.map(drop)
            })?;
            say(format!("Host {host} may have servers again. What is on its way goes on."))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn ask(
    client: &AdminClient,
    method: &str,
    host: &NodeId,
    body: &Value,
) -> Result<Value, Failure> {
    let answer = client.ask(method, &format!("/updraft/v1/hosts/{host}/drain"), body).await?;
    if answer.status.is_success() { Ok(answer.json()) } else { Err(answer.said().into()) }
}

async fn drain(
    client: &AdminClient,
    host: &NodeId,
    down: bool,
    wait: bool,
) -> Result<ExitCode, Failure> {
    let env = Env::real();
    let mut answer = ask(client, "PUT", host, &json!({ "down": down })).await?;
    let mut said = String::new();
    loop {
        let progress: Progress = serde_json::from_value(answer["drain"].take())?;
        let words = words(&progress);
        if words != said {
            say(&words)?;
            said = words;
        }
        if progress.is_empty || !wait {
            return Ok(ExitCode::SUCCESS);
        }
        if is_stuck(&progress) {
            return Ok(ExitCode::FAILURE);
        }
        env.sleep(LOOK).await;
        answer = ask(client, "GET", host, &Value::Null).await?;
    }
}

/// Whether everything that is left waits for something else than this.
fn is_stuck(progress: &Progress) -> bool {
    progress.left.iter().all(|left| !left.is_moving && left.waits.is_some())
}

fn words(progress: &Progress) -> String {
    let Progress { host, begun, left, is_certain, .. } = progress;
    if progress.is_empty {
        return format!(
            "Host {host} is empty; {begun} servers have left it. 'updraft host undrain {host}' ends that."
        );
    }
    let mut lines =
        vec![format!("Host {host}: {begun} servers have begun to leave, {} are left.", left.len())];
    if !is_certain {
        lines.push(
            "  It is not heard. Servers move once it is, or with --down if its power is cut."
                .to_owned(),
        );
    }
    lines.extend(left.iter().filter_map(line));
    lines.join("\n")
}

fn line(Left { id, name, is_moving, waits }: &Left) -> Option<String> {
    match waits {
        _ if *is_moving => Some(format!("  {name} ({id}) is on its way")),
        Some(what) => Some(format!("  {name} ({id}): {what}")),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use updraft_runtime::env::UnixMicros;
    use uuid::Uuid;

    use super::*;

    fn progress(left: Vec<Left>) -> Progress {
        Progress {
            host: "rack-7".to_owned(),
            since: UnixMicros(0),
            begun: 3,
            is_empty: left.is_empty(),
            is_certain: true,
            left,
        }
    }

    fn left(is_moving: bool, waits: Option<&str>) -> Left {
        let waits = waits.map(str::to_owned);
        Left { id: Uuid::nil(), name: "vm".to_owned(), is_moving, waits }
    }

    #[test]
    fn who_waits_hears_what_is_left_and_when_waiting_is_of_no_use() {
        assert!(words(&progress(Vec::new())).contains("rack-7 is empty; 3 servers have left it"));
        let stuck = progress(vec![left(false, Some("it is in error"))]);
        assert!(is_stuck(&stuck) && words(&stuck).contains("it is in error"));
        for goes_on in [left(true, None), left(false, None)] {
            assert!(!is_stuck(&progress(vec![goes_on])));
        }
    }
}
