//! What is under way, and what happens besides.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use uuid::Uuid;

/// What the plan asked for, or what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Message {
    /// Remove these bytes, or all.
    Remove(Option<BTreeSet<Uuid>>),
    /// They are gone.
    Removed(Option<BTreeSet<Uuid>>),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove(None) => write!(f, "remove all bytes"),
            Self::Remove(Some(uploads)) => {
                write!(f, "remove the bytes of {} uploads", uploads.len())
            }
            Self::Removed(None) => write!(f, "all bytes are gone"),
            Self::Removed(Some(_)) => write!(f, "these bytes are gone"),
        }
    }
}

/// What happens besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// The image's timer.
    Timer,
    /// An upload claims the image.
    Claim,
    /// It has written all bytes.
    Write(u128),
    /// It makes them the image's.
    Commit(u128),
    /// It gives up.
    GiveUp(u128),
    /// Its node dies.
    Crash(u128),
    /// The time of the row's upload is over.
    Silence,
    /// The user deletes the image.
    Delete,
    /// A sweep begins.
    Sweep,
    /// It removes what it found that no row speaks of.
    Swept,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timer => write!(f, "the image's timer comes round"),
            Self::Claim => write!(f, "an upload begins"),
            Self::Write(upload) => write!(f, "upload {upload} has written its bytes"),
            Self::Commit(upload) => write!(f, "upload {upload} ends"),
            Self::GiveUp(upload) => write!(f, "upload {upload} gives up"),
            Self::Crash(upload) => write!(f, "the node of upload {upload} dies"),
            Self::Silence => write!(f, "the upload was not heard of for too long"),
            Self::Delete => write!(f, "the image is deleted"),
            Self::Sweep => write!(f, "a sweep begins"),
            Self::Swept => write!(f, "the sweep removes what no row speaks of"),
        }
    }
}
