//! What is under way, and what happens besides.

use std::fmt;

use serde::Serialize;
use updraft_protocol::volume::{ExportWant, FileWant, Realized};
use updraft_runtime::rpc::Fault;

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Verb {
    /// Make a file of zeros.
    Create,
    /// Make one as a copy of the volume's.
    Copy,
    /// Make it larger.
    Grow,
    /// Serve it.
    Export(ExportWant),
    /// Serve it no longer.
    Unexport,
    /// Remove it.
    Delete,
}

/// What is under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Message {
    /// A question for room, to all hosts.
    Survey(usize),
    /// A call to the node.
    Realize(FileWant),
    /// Its answer.
    Realized {
        /// The file.
        file: usize,
        /// The generation asked for.
        asked: u64,
        /// What the node said.
        said: Result<Realized, Fault>,
    },
    /// What the volume service answers a node that has asked.
    Told {
        /// The file.
        file: usize,
        /// How many more lives the node that asked may have.
        life: u8,
        /// The generation that it asked about.
        asked: u64,
        /// What is wanted there.
        want: Option<FileWant>,
    },
    /// An operation of the driver.
    Work {
        /// The file.
        file: usize,
        /// What to do.
        verb: Verb,
        /// For this generation.
        generation: u64,
        /// The size wanted.
        size_gib: u64,
    },
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Survey(file) => write!(f, "how much room is there for file {file}?"),
            Self::Realize(FileWant { id, generation, present, .. }) => {
                let verb = if *present { "have" } else { "remove" };
                write!(f, "{verb} file {}, generation {generation}", id.as_u128() - 1)
            }
            Self::Realized { file, asked, said } => {
                write!(f, "file {file}, generation {asked}: {said:?}")
            }
            Self::Told { file, asked, want, .. } => {
                let wanted = want.as_ref().map(|want| want.generation);
                write!(f, "asked about file {file}, generation {asked}: {wanted:?} is wanted")
            }
            Self::Work { file, verb, generation, .. } => {
                write!(f, "{verb:?} file {file}, generation {generation}")
            }
        }
    }
}

/// What happens besides messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// The timers of the control side.
    Timer,
    /// A user deletes a volume.
    Delete(usize),
    /// A user makes the volume larger.
    Grow,
    /// A user copies the volume.
    Copy,
    /// The volume is given to a server on another host.
    Attach,
    /// Its server is on this host now, which asks how to reach it.
    Connect(usize),
    /// Its server is confirmed to have let go of it.
    Release,
    /// A minute passes.
    Minute,
    /// A day passes.
    Day,
    /// The node forgets a file, as its plan says.
    Forget(usize),
    /// The node asks what is wanted of a file.
    Ask(usize),
    /// The node begins to work on a file.
    Begin(usize),
    /// The node waits for an operation no longer.
    Fail(usize),
    /// The node starts anew.
    Restart,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timer => write!(f, "the timers come round"),
            Self::Delete(file) => write!(f, "volume {file} is deleted"),
            Self::Grow => write!(f, "volume 0 is to be larger"),
            Self::Copy => write!(f, "volume 0 is copied"),
            Self::Attach => write!(f, "volume 0 is given to a server"),
            Self::Connect(host) => write!(f, "host {host} asks how to reach volume 0"),
            Self::Release => write!(f, "the server has let go of volume 0"),
            Self::Minute => write!(f, "a minute passes"),
            Self::Day => write!(f, "a day passes"),
            Self::Forget(file) => write!(f, "the node forgets file {file}"),
            Self::Ask(file) => write!(f, "the node asks about file {file}"),
            Self::Begin(file) => write!(f, "the node begins with file {file}"),
            Self::Fail(file) => write!(f, "the node waits no longer for file {file}"),
            Self::Restart => write!(f, "the node starts anew"),
        }
    }
}
