//! What the command can do: one module each.

mod bench;
mod down;
mod status;
mod trace;
mod up;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use updraft_cloud::machine::{
    self,
    config::{HypervisorKind, Settings, VirtType},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Nothing runs where something was expected to.
const NOTHING_RUNS: u8 = 3;

/// A cloud control plane in one program: identity, image, compute, network and volume behind OpenStack's APIs.
#[derive(Parser)]
#[command(name = "updraft", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cloud on this machine: control services and a compute node
    Up {
        #[command(flatten)]
        options: Options,
        /// Return once the APIs answer, and leave the cloud running
        #[arg(long)]
        detach: bool,
        /// The process that --detach leaves behind
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Say what runs here, where it answers, and what is missing
    Status {
        #[command(flatten)]
        options: Options,
    },
    /// Stop the cloud on this machine, and remove every tap, bridge, namespace and process it made
    Down {
        #[command(flatten)]
        options: Options,
    },
    /// Show the provisioning flow of a server, a line for each recorded step
    Trace {
        #[command(flatten)]
        options: Options,
        /// The server's id
        server: uuid::Uuid,
        /// Go on showing new steps until the server is built or has failed
        #[arg(long)]
        follow: bool,
    },
    /// Print every setting of the configuration file with its present value
    Config {
        #[command(flatten)]
        options: Options,
    },
    /// Measure a simulated cloud over its public paths, and print a table
    Bench,
    /// The compute process that `up` starts
    #[command(hide = true)]
    Compute {
        #[command(flatten)]
        options: Options,
        /// Where the control node listens
        #[arg(long)]
        control: SocketAddr,
    },
}

/// Settings that go before those of the configuration file.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// The configuration file (TOML)
    #[arg(long, env = "UPDRAFT_CONFIG")]
    config: Option<PathBuf>,
    /// The folder that holds everything of the cloud [default: /var/lib/updraft]
    #[arg(long, env = "UPDRAFT_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where the REST APIs listen [default: 127.0.0.1:8774]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Where other nodes reach the control node, QUIC over UDP [default: 127.0.0.1:8775]
    #[arg(long)]
    quic_listen: Option<SocketAddr>,
    /// What runs guests [default: libvirt]
    #[arg(long, value_enum)]
    hypervisor: Option<HypervisorKind>,
    /// How guest code is run [default: auto]
    #[arg(long, value_enum)]
    virt_type: Option<VirtType>,
}

impl Options {
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = match &self.config {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        if let Some(data_dir) = &self.data_dir {
            settings.data_dir.clone_from(data_dir);
        }
        settings.listen = self.listen.unwrap_or(settings.listen);
        settings.quic_listen = self.quic_listen.unwrap_or(settings.quic_listen);
        settings.hypervisor = self.hypervisor.unwrap_or(settings.hypervisor);
        settings.virt_type = self.virt_type.unwrap_or(settings.virt_type);
        Ok(settings)
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Up { options, detach: true, .. } => up::detached(&options),
        Command::Up { options, detached, .. } => {
            log_to_stderr();
            up::foreground(&options, detached)
        }
        Command::Status { options } => status::run(&options),
        Command::Down { options } => down::run(&options),
        Command::Trace { options, server, follow } => trace::run(&options, server, follow),
        Command::Config { options } => {
            print!("{}", toml::to_string_pretty(&options.settings()?)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench => bench::run(),
        Command::Compute { options, control } => {
            log_to_stderr();
            in_runtime(machine::run_compute(options.settings()?, control))
        }
    }
}

/// Everything of a node runs on one thread; blocking work has a pool of its own.
fn in_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)?;
    Ok(ExitCode::SUCCESS)
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("UPDRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
