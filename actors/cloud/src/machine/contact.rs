//! Whether a host reaches a control node, told to the commands that ask on that host.
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

/// What a host knows of the way to its control nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contact {
    /// One of them answers.
    Reached,
    /// None does, for this reason.
    Unreached(String),
    /// It is told that its certificate was revoked.
    Removed,
}

/// What the node of this folder last knew, if anything.
pub fn contact(data: &DataDir) -> Result<Option<Contact>, Failure> {
    let Some(text) = data.read(CONTACT_FILE)? else { return Ok(None) };
    Ok(Some(serde_json::from_str(&text).map_err(|error| data.damaged(CONTACT_FILE, error))?))
}

/// Notes it whenever it changes. Ends with the control node that says that this node is none any more, if that is the
/// first that is heard: a node that was removed while it ran goes on with its guests.
pub(super) async fn follow(
    env: &Env,
    data: &DataDir,
    directory: &Directory,
    seeds: &[NodeId],
) -> NodeId {
    let mut known = None;
    let mut reached = false;
    loop {
        let (now, control) = look(directory, seeds);
        if now.is_some() && now != known {
            note(data, now.as_ref());
            reached |= now == Some(Contact::Reached);
            known = now;
            if let (Some(Contact::Removed), Some(control)) = (&known, control) {
                tracing::warn!(%control, "this node was removed from the cloud: its certificate was revoked");
                if !reached {
                    return control;
                }
            }
        }
        // At a start somebody waits for it.
        let urgent = !reached && !directory.has_listened();
        env.sleep(if urgent { BEAT / 10 } else { BEAT }).await;
    }
}

/// What is known now, and which control node it is known of.
fn look(directory: &Directory, seeds: &[NodeId]) -> (Option<Contact>, Option<NodeId>) {
    let mut controls = seeds.to_vec();
    controls.extend(directory.controls().into_iter().map(|(node, _)| node));
    let lost = |node: &NodeId| directory.why_lost(node);
    let disowned = |node: &&NodeId| lost(node).is_some_and(|reason| is_disowned(&reason));
    if let Some(control) = controls.iter().find(disowned) {
        return (Some(Contact::Removed), Some(control.clone()));
    }
    let reached = |node: &NodeId| lost(node).is_none() && directory.is_live(node);
    if controls.iter().any(reached) {
        return (Some(Contact::Reached), None);
    }
    // All others are as silent as the first.
    let first = seeds.first();
    match first.and_then(lost) {
        Some(reason) => (Some(Contact::Unreached(reason)), None),
        None if directory.has_listened() => {
            let names = seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            (Some(Contact::Unreached(format!("{names}: no answer"))), None)
        }
        None => (None, None),
    }
}

fn note(data: &DataDir, contact: Option<&Contact>) {
    let written = serde_json::to_string(&contact).map_err(Failure::from);
    let written = written.and_then(|text| Ok(data.write(CONTACT_FILE, &text)?));
    if let Err(error) = written {
        tracing::debug!(%error, "whether the control node is reached is not noted");
    }
}
