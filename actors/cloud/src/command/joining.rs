//! How a machine joins a cloud, and as whom: what `updraft node` and `updraft control` have in common.

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use updraft_cloud::machine::{EnrolError, config::ConfigError};
use updraft_transport::{NodeId, join::JoinToken};
use zeroize::Zeroizing;

use super::Failure;
use crate::say::note;

/// What stands for standard input.
const STDIN: &str = "-";

/// Most that is read for a token; one is below 250 characters.
const TOKEN_MAX_BYTES: u64 = 4 << 10;

/// What becomes of a node that has joined.
#[derive(Args)]
pub(crate) struct Running {
    /// Return once it runs, and leave it running
    #[arg(long)]
    pub(crate) detach: bool,
    /// The process that --detach leaves behind
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    /// Join and return, running nothing: whatever keeps this machine's services then starts it, without a token
    #[arg(long, conflicts_with = "detach", help_heading = "Joining")]
    pub(crate) join_only: bool,
}

/// How this machine joins, and as whom.
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
    pub(crate) name: Option<NodeId>,
}

impl Joining {
    /// The token, if one was given.
    pub(crate) fn token(&self) -> Result<Option<JoinToken>, Failure> {
        let text = match (&self.join, &self.join_file) {
            (_, Some(path)) => Some(read(path)?),
            (Some(text), None) if text == STDIN => Some(read(Path::new(STDIN))?),
            (Some(text), None) if text.trim().is_empty() => None,
            (Some(text), None) => Some(Zeroizing::new(text.clone())),
            (None, None) => None,
        };
        let token = text.map(|text| text.parse::<JoinToken>().map_err(EnrolError::from));
        Ok(token.transpose()?)
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
