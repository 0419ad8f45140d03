//! `updraft trace`.

use std::{process::ExitCode, time::Duration};

use uuid::Uuid;

use updraft_cloud::{
    flow::{Line, heading, rendered},
    machine::{self, DataDir},
};
use updraft_runtime::Env;

use super::{Failure, Options, in_runtime};

/// How often new steps are looked for.
const LOOK: Duration = Duration::from_millis(300);

/// How long a build is followed.
const FOLLOW: Duration = Duration::from_secs(600);

pub(super) fn run(options: &Options, server: Uuid, follow: bool) -> Result<ExitCode, Failure> {
    let settings = options.settings()?;
    let data = DataDir::open(&settings.data_dir)?;
    in_runtime(async {
        let env = Env::real();
        let client = machine::AdminClient::log_in(&data).await?;
        println!("{}", heading());
        let mut shown = 0;
        let until = env.now() + FOLLOW;
        loop {
            let lines: Vec<Line> = client.get(&format!("/updraft/v1/servers/{server}/trace")).await?;
            let first = lines.first().map(|line| line.step.at);
            for line in lines.iter().skip(shown) {
                println!("{}", rendered(line, first.unwrap_or_default()));
            }
            shown = shown.max(lines.len());
            let ended = lines.iter().any(|line| line.number == Some(28));
            if !follow || ended || env.now() >= until {
                return Ok(());
            }
            env.sleep(LOOK).await;
        }
    })
}
