//! What is under way, and what happens besides.

use std::fmt;

use serde::Serialize;
use updraft_protocol::network::PortWant;

/// What control nodes and agents tell each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Message {
    /// A call to an agent.
    Plug {
        /// The host.
        host: usize,
        /// What is wanted.
        want: PortWant,
    },
    /// Its answer.
    Plugged {
        /// The host.
        host: usize,
        /// Of the want.
        generation: u64,
        /// Whether there is a device.
        plugged: bool,
    },
    /// What the network service answers a host that has asked.
    Told {
        /// The host.
        host: usize,
        /// Its life that asked.
        life: u128,
        /// The generation that it asked about.
        asked: u64,
        /// What is wanted there.
        want: Option<PortWant>,
    },
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plug { host, want: PortWant { generation, present, .. } } => {
                let verb = if *present { "plug" } else { "unplug" };
                write!(f, "{verb} on host {host}, generation {generation}")
            }
            Self::Told { host, asked, want, .. } => {
                let wanted = want.as_ref().map(|want| want.generation);
                write!(f, "host {host}, which asked about generation {asked}: {wanted:?} is wanted")
            }
            Self::Plugged { host, generation, plugged } => {
                let word = if *plugged { "plugged" } else { "unplugged" };
                write!(f, "{word} on host {host}, generation {generation}")
            }
        }
    }
}

/// What happens besides messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// The port's timer.
    Timer,
    /// The port is to be on this host, or on none.
    Bind(Option<usize>),
    /// It gets another address.
    Change,
    /// It is deleted.
    Delete,
    /// An agent asks what is wanted.
    Ask(usize),
    /// An agent forgets what is gone.
    Forget(usize),
    /// An agent begins to do what it is to do.
    Begin(usize),
    /// It is done.
    End(usize),
    /// It fails; whether it was done all the same.
    Fail(usize, bool),
    /// An agent starts anew; whether what it was at was done.
    Restart(usize, bool),
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timer => write!(f, "the port's timer comes round"),
            Self::Bind(Some(host)) => write!(f, "the port is bound to host {host}"),
            Self::Bind(None) => write!(f, "the port is bound to no host"),
            Self::Change => write!(f, "the port's address changes"),
            Self::Delete => write!(f, "the port is deleted"),
            Self::Ask(host) => write!(f, "the agent of host {host} asks"),
            Self::Forget(host) => write!(f, "the agent of host {host} forgets"),
            Self::Begin(host) => write!(f, "the agent of host {host} begins"),
            Self::End(host) => write!(f, "the agent of host {host} is done"),
            Self::Fail(host, done) => write!(f, "the agent of host {host} fails, done: {done}"),
            Self::Restart(host, done) => {
                write!(f, "the agent of host {host} starts anew, done before: {done}")
            }
        }
    }
}
