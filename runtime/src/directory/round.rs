//! Whose turn it is to be told that a node lives which tells one control node at a time.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use updraft_transport::NodeId;

/// Goes around the control nodes, in the order of their ids.
#[derive(Default)]
pub(super) struct Round {
    last: Option<NodeId>,
    began: Option<Duration>,
}

impl Round {
    /// When control nodes were told last.
    pub(super) fn began(&self) -> Option<Duration> {
        self.began
    }

    /// They are told now.
    pub(super) fn begins(&mut self, now: Duration) {
        self.began = Some(now);
    }

    /// The one after the last, whoever has come or gone meanwhile.
    pub(super) fn next<'a>(&mut self, controls: &'a BTreeSet<NodeId>) -> Option<&'a NodeId> {
        let later = |last: &NodeId| controls.range((Excluded(last), Unbounded)).next();
        let next = self.last.as_ref().and_then(later).or_else(|| controls.first());
        self.last = next.cloned();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_while_some_come_and_go() {
        let set = |names: &[&str]| names.iter().map(|name| NodeId::new(name).unwrap()).collect();
        let mut round = Round::default();
        let mut next = |controls: &[&str]| round.next(&set(controls)).map(ToString::to_string);
        let all = ["a", "b", "c"];
        let turns = [next(&all), next(&all), next(&["a", "c"]), next(&all), next(&all)];
        let names: Vec<_> = turns.into_iter().flatten().collect();
        assert_eq!(names, ["a", "b", "c", "a", "b"]);
        assert_eq!(next(&[]), None);
    }
}
