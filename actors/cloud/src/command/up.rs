//! `updraft up`.

use std::{
    fs::OpenOptions,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use clap::ValueEnum;
use updraft_cloud::machine::{self, DataDir, Processes, config::Settings};
use updraft_runtime::Env;

use super::{Failure, Options, in_runtime};

/// How long the APIs may take to answer; an empty folder takes a second, a large store some more.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn foreground(options: &Options, detached: bool) -> Result<ExitCode, Failure> {
    let settings = options.settings()?;
    if detached {
        // A session of its own: the terminal's end is not the cloud's.
        nix::unistd::setsid()?;
    } else {
        eprintln!("Starting a cloud in {}; Ctrl-C ends it.", settings.data_dir.display());
        if let Some(lacks) = machine::lacks(&settings, &DataDir::open(&settings.data_dir)?) {
            eprintln!("{lacks}");
        }
    }
    in_runtime(machine::run_control(settings))
}

/// Starts the cloud as a process of its own and waits until it answers.
pub(super) fn detached(options: &Options) -> Result<ExitCode, Failure> {
    let settings = options.settings()?;
    let data = DataDir::open(&settings.data_dir)?;
    if Processes::of(&data).running("control").is_some() {
        println!("{}", summary(&settings, &data)?);
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::create_dir_all(data.path("logs"))?;
    let log_path = data.path("logs/control.log");
    let log = OpenOptions::new().create(true).append(true).open(&log_path)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["up", "--detached"])
        .args(arguments(options, &data))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let ready = async {
        let env = Env::real();
        let until = env.now() + READY_WITHIN;
        while Processes::of(&data).running("control").is_none() {
            if let Some(status) = child.try_wait()? {
                return Err(format!("it did not start ({status}): {}", last_line(&log_path)).into());
            }
            if env.now() >= until {
                return Err(format!("it does not answer; see {}", log_path.display()).into());
            }
            env.sleep(LOOK).await;
        }
        Ok(())
    };
    in_runtime(ready)?;
    println!("{}", summary(&settings, &data)?);
    Ok(ExitCode::SUCCESS)
}

fn arguments(options: &Options, data: &DataDir) -> Vec<std::ffi::OsString> {
    let mut arguments = Vec::new();
    let mut add = |name: &str, value: Option<std::ffi::OsString>| {
        if let Some(value) = value {
            arguments.push(name.into());
            arguments.push(value);
        }
    };
    add("--config", options.config.as_ref().map(Into::into));
    // In full, so that whoever lists processes sees whose they are.
    add("--data-dir", Some(data.root().into()));
    add("--listen", options.listen.map(|address| address.to_string().into()));
    add("--quic-listen", options.quic_listen.map(|address| address.to_string().into()));
    let value = |value: Option<clap::builder::PossibleValue>| value.map(|v| v.get_name().into());
    add("--hypervisor", value(options.hypervisor.and_then(|kind| kind.to_possible_value())));
    add("--virt-type", value(options.virt_type.and_then(|kind| kind.to_possible_value())));
    arguments
}

fn last_line(path: &std::path::Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// What a user needs to know next.
fn summary(settings: &Settings, data: &DataDir) -> Result<String, Failure> {
    let address = data.read("run/address")?.map(|text| text.trim().to_owned());
    let address = address.unwrap_or_else(|| settings.listen.to_string());
    let lacks = machine::lacks(settings, data).map(|lacks| format!("\n{lacks}"));
    Ok(format!(
        "The cloud answers at http://{address}\n\
         Its data:    {}\n\
         Its clients: export OS_CLIENT_CONFIG_FILE={} OS_CLOUD=updraft\n\
         Next:        openstack server list\n\
         To end it:   updraft down --data-dir {}{}",
        data.root().display(),
        data.path("clouds.yaml").display(),
        data.root().display(),
        lacks.unwrap_or_default(),
    ))
}
