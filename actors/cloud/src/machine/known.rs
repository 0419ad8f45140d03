//! Which control nodes a host can turn to, kept for its next start.
//!
//! A host joins by one control node and hears of the others from it. All of them stand in `node.json`, so that a host
//! whose first one is dead starts with another. One that has been removed is forgotten once others have been heard for
//! long enough; who it was is then in the revoked keys.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use updraft_runtime::{
    Env,
    directory::{BEAT, Directory},
};
use updraft_transport::NodeId;

use super::{
    data_dir::DataDir,
    enrol::{self, KnownControl, Membership},
};

/// Most control nodes that are kept: a cloud has three or five.
const KEPT_MAX: usize = 16;

/// How long a control node may be silent, while another is heard, before it is forgotten: longer than any repair takes.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 3_600);

/// How often it is looked for what has changed: a control node that is heard now is kept before the one that told of
/// it is likely to die.
const LOOK: Duration = BEAT;

/// Keeps them, for ever.
pub(super) async fn follow(
    env: &Env,
    data: &DataDir,
    directory: &Directory,
    mut known: Membership,
) {
    let mut heard: BTreeMap<NodeId, Duration> = BTreeMap::new();
    loop {
        let now = env.now();
        let controls = directory.controls();
        for (node, _) in controls.iter().filter(|(node, _)| directory.is_live(node)) {
            heard.insert(node.clone(), now);
        }
        let silent = |node: &NodeId| {
            now.saturating_sub(heard.get(node).copied().unwrap_or_default()) >= FORGOTTEN_AFTER
        };
        let next = learnt(&known, &controls, &silent);
        if next != known {
            match enrol::remember(data, &next) {
                Ok(()) => known = next,
                Err(error) => tracing::debug!(%error, "the control nodes are not noted"),
            }
        }
        env.sleep(LOOK).await;
    }
}

/// What is to be known next: the present addresses of all that were known or are heard of, without those that have been
/// silent for too long while others were heard.
fn learnt(
    known: &Membership,
    controls: &[(NodeId, SocketAddr)],
    silent: &impl Fn(&NodeId) -> bool,
) -> Membership {
    let mut all = known.controls();
    for (node, address) in controls {
        match all.iter_mut().find(|(known, _)| known == node) {
            Some(entry) => entry.1 = *address,
            None => all.push((node.clone(), *address)),
        }
    }
    if all.iter().any(|(node, _)| !silent(node)) {
        all.retain(|(node, _)| !silent(node));
    }
    all.truncate(KEPT_MAX);
    let mut all = all.into_iter();
    let Some((control, control_address)) = all.next() else { return known.clone() };
    let others = all.map(|(node, address)| KnownControl { node, address }).collect();
    Membership { node: known.node.clone(), control, control_address, others }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn knows(controls: &[(&str, u16)]) -> Membership {
        let mut controls = controls.iter().map(|(name, port)| (id(name), at(*port)));
        let (control, control_address) = controls.next().unwrap();
        let others = controls.map(|(node, address)| KnownControl { node, address }).collect();
        Membership { node: id("rack-7"), control, control_address, others }
    }

    #[test]
    fn a_control_node_that_is_heard_of_is_known_and_one_that_moved_is_found() {
        let heard = [(id("one"), at(9)), (id("two"), at(2))];
        let next = learnt(&knows(&[("one", 1)]), &heard, &|_| false);
        assert_eq!(next, knows(&[("one", 9), ("two", 2)]));
        assert_eq!(learnt(&next, &[], &|_| false), next, "silence is no reason to forget");
    }

    #[test]
    fn one_that_was_silent_for_long_is_forgotten_only_while_another_is_heard() {
        let known = knows(&[("one", 1), ("two", 2)]);
        assert_eq!(learnt(&known, &[], &|node| *node == id("one")), knows(&[("two", 2)]));
        assert_eq!(learnt(&known, &[], &|_| true), known);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let names: Vec<_> = (0..99).map(|number| (id(&format!("c{number}")), at(1))).collect();
        assert_eq!(learnt(&knows(&[("one", 1)]), &names, &|_| false).controls().len(), KEPT_MAX);
    }
}
