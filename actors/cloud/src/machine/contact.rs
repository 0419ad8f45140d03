//! Whether a host reaches its control node, told to the commands that ask on that host.
//!
//! Owns `run/contact.json`, which is written when the answer changes. It only tells people: what a node does about a
//! control node that it does not reach is the same whatever the reason, to ask again, ever more seldom.

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    Env,
    directory::{BEAT, Directory},
};
use updraft_transport::{NodeId, quic::is_disowned};

use super::{data_dir::DataDir, link::Failure};

/// Where it stands; there as soon as anything is known.
pub const CONTACT_FILE: &str = "run/contact.json";

/// What a host knows of the way to its control node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contact {
    /// It is answered.
    Reached,
    /// It is not, for this reason.
    Unreached(String),
    /// It is told that its certificate was revoked.
    Removed,
}

/// What the node of this folder last knew, if anything.
pub fn contact(data: &DataDir) -> Result<Option<Contact>, Failure> {
    let Some(text) = data.read(CONTACT_FILE)? else { return Ok(None) };
    Ok(Some(serde_json::from_str(&text).map_err(|error| data.damaged(CONTACT_FILE, error))?))
}

/// Notes it whenever it changes. Ends when the control node says that this node is none any more, if that is the first
/// that it says: a node that was removed while it ran goes on with its guests.
pub(super) async fn follow(env: &Env, data: &DataDir, directory: &Directory, control: &NodeId) {
    let mut known = None;
    let mut reached = false;
    loop {
        let now = look(directory, control);
        if now.is_some() && now != known {
            note(data, now.as_ref());
            reached |= now == Some(Contact::Reached);
            known = now;
            if known == Some(Contact::Removed) {
                tracing::warn!(%control, "this node was removed from the cloud: its certificate was revoked");
                if !reached {
                    return;
                }
            }
        }
        // At a start somebody waits for it.
        let urgent = !reached && !directory.has_listened();
        env.sleep(if urgent { BEAT / 10 } else { BEAT }).await;
    }
}

fn look(directory: &Directory, control: &NodeId) -> Option<Contact> {
    match directory.why_lost(control) {
        Some(reason) if is_disowned(&reason) => Some(Contact::Removed),
        Some(reason) => Some(Contact::Unreached(reason)),
        None if directory.is_live(control) => Some(Contact::Reached),
        None if directory.has_listened() => {
            Some(Contact::Unreached(format!("node {control} does not answer")))
        }
        None => None,
    }
}

fn note(data: &DataDir, contact: Option<&Contact>) {
    let written = serde_json::to_string(&contact).map_err(Failure::from);
    let written = written.and_then(|text| Ok(data.write(CONTACT_FILE, &text)?));
    if let Err(error) = written {
        tracing::debug!(%error, "whether the control node is reached is not noted");
    }
}
