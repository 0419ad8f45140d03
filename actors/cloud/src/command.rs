//! What the command can do: one module each.

mod bench;
mod config;
mod control;
mod db;
mod detach;
mod down;
mod host;
mod invite;
mod joining;
mod node;
mod options;
mod remove;
mod sim;
mod status;
mod top;
mod trace;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use updraft_runtime::trace::log::WithRequest;
use updraft_transport::NodeId;

use self::{
    joining::{Joining, Running},
    options::{ControlOptions, HostOptions, NodeOptions, Place},
};
use crate::say::CODES;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The longest that a join token may be good, in minutes: a week.
const INVITE_MINUTES_MAX: u64 = 7 * 24 * 60;

/// How settings are found, for `--help`.
const PRECEDENCE: &str = "\
Settings: what stands on the command line goes before the environment, and that before the configuration file \
(--config or UPDRAFT_CONFIG). 'updraft config' prints every setting with what it means and may be. UPDRAFT_LOG \
sets the level of the log, as in UPDRAFT_LOG=debug.";

/// A cloud control plane in one program: identity, image, compute, network and volume behind OpenStack's APIs
#[derive(Parser)]
#[command(name = "updraft", version, after_help = format!("{PRECEDENCE}\n\n{CODES}"))]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cloud on this machine: control services and a compute node
    ///
    /// Runs in the foreground until Ctrl-C, or in the background with --detach. Everything the cloud keeps is in
    /// the data directory; the next start goes on from there.
    Up {
        #[command(flatten)]
        place: Place,
        /// Return once the APIs answer, and leave the cloud running
        #[arg(long)]
        detach: bool,
        /// With --detach: return once a host can run guests, too; with libvirt that takes some 20 s
        #[arg(long, requires = "detach")]
        wait: bool,
        /// The process that --detach leaves behind
        #[arg(long, hide = true)]
        detached: bool,
        #[command(flatten)]
        control: ControlOptions,
        #[command(flatten)]
        host: HostOptions,
        #[command(flatten)]
        node: NodeOptions,
    },
    /// Print a token with which one other host may join the cloud, once
    ///
    /// Give it to 'updraft node' on that host, or with --control to 'updraft control'. It is a secret until it is used or
    /// expires.
    Invite {
        #[command(flatten)]
        place: Place,
        /// Let it be good for a host of this name only
        #[arg(long, value_parser = node_name)]
        name: Option<NodeId>,
        /// How long it is good, from 1 minute to a week
        #[arg(long, value_name = "MINUTES", default_value_t = 60)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=INVITE_MINUTES_MAX))]
        minutes: u64,
        /// Let it make a further control node of the other host, for 'updraft control'
        #[arg(long)]
        control: bool,
    },
    /// Take a host or a control node out of the cloud for good: its certificate is refused everywhere within seconds
    ///
    /// What runs on a host is left alone. Its name may be given to another host, with another token.
    Remove {
        #[command(flatten)]
        place: Place,
        /// The node's name, which 'updraft status' shows
        #[arg(value_name = "NODE", value_parser = node_name)]
        node: NodeId,
        /// Remove it though servers are placed on it; they stay there, and nobody reaches them
        #[arg(long)]
        force: bool,
    },
    /// Empty a host of its servers, as for maintenance, or let it have servers again
    Host {
        #[command(subcommand)]
        what: host::What,
    },
    /// Run this host as a compute node of a cloud whose control services run elsewhere
    ///
    /// The first start needs a join token, which 'updraft invite' prints on the control host. It is exchanged for
    /// a certificate that is kept in the data directory, so that later starts need none. Give the token in a file
    /// or through a pipe where others can list this host's processes.
    #[command(
        after_help = "Example:  ssh CONTROL updraft invite | updraft node --join-file - --detach"
    )]
    Node {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        running: Running,
        #[command(flatten)]
        joining: node::NodeJoining,
        #[command(flatten)]
        host: HostOptions,
        #[command(flatten)]
        node: NodeOptions,
    },
    /// Run this machine as a further control node of a cloud whose store is in a PostgreSQL database
    ///
    /// Every control node answers every request, and each goes on when others are gone. The first start needs a join
    /// token, which 'updraft invite --control' prints on another control host; later starts need none. The database's
    /// address and password are this machine's own settings. It runs no guests: 'updraft node' with another data
    /// directory does.
    #[command(
        after_help = "Example:  ssh CONTROL updraft invite --control | updraft control --join-file - --detach \
                      --database-url URL --image-dir DIR --quic-listen ADDRESS"
    )]
    Control {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        running: Running,
        #[command(flatten)]
        joining: Joining,
        #[command(flatten)]
        control: ControlOptions,
    },
    /// Say what runs here, where it answers, which nodes there are, and what is missing
    Status {
        #[command(flatten)]
        place: Place,
    },
    /// Watch how all nodes do: what waits, what is handled, what takes longest
    Top {
        #[command(flatten)]
        place: Place,
        /// Show it once
        #[arg(long)]
        once: bool,
    },
    /// Show the provisioning flow of a server, a line for each recorded step
    Trace {
        #[command(flatten)]
        place: Place,
        /// The server's id
        #[arg(value_name = "SERVER-ID", value_parser = server_id)]
        server: uuid::Uuid,
        /// Go on showing new steps until the server is built or has failed
        #[arg(long)]
        follow: bool,
    },
    /// Print a configuration file with every setting, what it means, what it may be and its value
    Config {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        control: ControlOptions,
        #[command(flatten)]
        host: HostOptions,
        #[command(flatten)]
        node: NodeOptions,
    },
    /// Look into the store of the control services, save it, put it back, or move it into a database
    Db {
        #[command(subcommand)]
        what: db::What,
    },
    /// Measure a simulated cloud over its public paths, and print a table
    Bench,
    /// Run campaigns of the simulated cloud: thousands of seeds under faults
    ///
    /// Starts the program updraft-sim, which lies beside this one, with everything that follows; 'updraft sim --help'
    /// says what that may be.
    #[command(disable_help_flag = true)]
    Sim {
        /// Arguments of updraft-sim
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Stop what runs here, and remove every tap, bridge, namespace and process it made
    ///
    /// The data stays, and the next 'updraft up' goes on from there.
    Down {
        #[command(flatten)]
        place: Place,
    },
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Up { place, control, host, node, detach, wait, detached } => {
            let settings = place.settings(&[&control, &host, &node])?;
            if detach { up::detached(&settings, wait) } else { up::foreground(settings, detached) }
        }
        Command::Invite { place, name, minutes, control } => {
            invite::run(&place.existing()?, name.as_ref(), minutes, control)
        }
        Command::Remove { place, node, force } => remove::run(&place.existing()?, &node, force),
        Command::Host { what } => host::run(what),
        Command::Node { place, joining, host, node, running } => {
            let settings = place.settings(&[&host, &node])?;
            match running {
                Running { join_only: true, .. } => node::join_only(&settings, joining),
                Running { detach: true, .. } => node::detached(&settings, joining),
                Running { detached, .. } => node::foreground(settings, joining, detached),
            }
        }
        Command::Control { place, joining, control, running } => {
            let settings = place.settings(&[&control])?;
            match running {
                Running { join_only: true, .. } => control::join_only(&settings, joining),
                Running { detach: true, .. } => control::detached(&settings, joining),
                Running { detached, .. } => control::foreground(settings, joining, detached),
            }
        }
        Command::Status { place } => status::run(&place.existing()?),
        Command::Top { place, once } => top::run(&place.existing()?, once),
        Command::Trace { place, server, follow } => trace::run(&place.existing()?, server, follow),
        Command::Config { place, control, host, node } => {
            config::run(&place.settings(&[&control, &host, &node])?)
        }
        Command::Db { what } => db::run(what),
        Command::Bench => bench::run(),
        Command::Sim { arguments } => sim::run(&arguments),
        Command::Down { place } => down::run(&place.existing()?),
    }
}

fn node_name(text: &str) -> Result<NodeId, String> {
    NodeId::new(text).map_err(|error| error.to_string())
}

fn server_id(text: &str) -> Result<uuid::Uuid, &'static str> {
    text.parse().map_err(|_| "it is not a server's id, which 'openstack server list' shows")
}

/// Everything of a node runs on one thread; blocking work has a pool of its own.
fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// Logs to standard error. Where that cannot be written, as on a full disk, a line is lost and nothing else.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("UPDRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(WithRequest::default())
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .init();
}

#[cfg(test)]
mod tests;
