//! `updraft node`.

use std::{
    io::{IsTerminal, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use updraft_cloud::machine::{
    self, COMPUTE, CONTACT_FILE, Contact, DataDir, EnrolError, NODE_ADDRESS_FILE, NodeRequest,
    Processes,
    config::{ConfigError, Settings, address},
};
use updraft_transport::{NodeId, join::JoinToken};
use zeroize::Zeroizing;

use super::{Failure, detach, in_runtime, log_to_stderr};
use crate::{
    progress::Progress,
    say::{note, say},
};

/// What stands for standard input.
const STDIN: &str = "-";

/// Most that is read for a token; one is below 250 characters.
const TOKEN_MAX_BYTES: u64 = 4 << 10;

/// How long it is waited for a word of the control node before the node counts as running without it: a few failed dials.
const CONTACT_WITHIN: Duration = Duration::from_secs(3);

/// How this host joins, and as whom.
#[derive(Args)]
#[command(next_help_heading = "Joining")]
pub(crate) struct Joining {
    /// The join token; every user of this host sees it in the list of processes until it is used
    #[arg(long, env = "UPDRAFT_JOIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    join: Option<String>,
    /// A file that holds the join token; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "join")]
    join_file: Option<PathBuf>,
    /// The name to join under [default: this host's name]
    #[arg(long, value_parser = super::node_name)]
    name: Option<NodeId>,
    /// Where the control node listens now, if it has moved since this host joined
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    control: Option<SocketAddr>,
}

impl Joining {
    fn request(self) -> Result<NodeRequest, Failure> {
        let text = match (&self.join, &self.join_file) {
            (_, Some(path)) => Some(read(path)?),
            (Some(text), None) if text == STDIN => Some(read(Path::new(STDIN))?),
            (Some(text), None) if text.trim().is_empty() => None,
            (Some(text), None) => Some(Zeroizing::new(text.clone())),
            (None, None) => None,
        };
        let token = text.map(|text| text.parse::<JoinToken>().map_err(EnrolError::from));
        Ok(NodeRequest { token: token.transpose()?, name: self.name, control: self.control })
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let mut text = Zeroizing::new(String::new());
    let done = if path == Path::new(STDIN) {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            note("Paste the join token, then press Enter and Ctrl-D:");
        }
        stdin.lock().take(TOKEN_MAX_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(TOKEN_MAX_BYTES).read_to_string(&mut text))
    };
    let unreadable = |error| {
        let path = path.display();
        ConfigError::Together(format!(
            "{path}: {error}; --join-file names a file with a join token"
        ))
    };
    done.map_err(unreadable)?;
    Ok(text)
}

pub(super) fn foreground(
    settings: Settings,
    joining: Joining,
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

/// Joins here, where an error is seen, and leaves a process behind that is the node.
pub(super) fn detached(settings: &Settings, joining: Joining) -> Result<ExitCode, Failure> {
    let request = joining.request()?;
    {
        let _progress = Progress::waiting("Joining");
        in_runtime(machine::enrol_node(settings, request))?;
    }
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
    let known = machine::membership(&data)?;
    let known = known.ok_or_else(|| EnrolError::NoToken(data.root().to_owned()))?;
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
