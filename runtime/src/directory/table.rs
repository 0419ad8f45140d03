//! The members that a node knows of, by id and by what they serve.
//!
//! A message is addressed far more often than somebody joins: whoever serves a topic is found without a look at the
//! members that do not.

//!
//! It also knows what has changed when, for those who ask what is new to them: each change has a number, and a member
//! has that of its latest. Whoever asks has been told of everything up to some number.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use updraft_transport::NodeId;

use super::{
    DEAD_AFTER, Heard, Member, age_ms,
    told::{CHANGES_MAX, Named, Pulse, Since, Who},
};
use crate::{Env, rpc::Topic};

/// A member, and when it was heard. Times are of this node's clock; what was before its start has none.
pub(super) struct Entry {
    pub(super) member: Member,
    /// When it was last heard by anybody, as far as that was told.
    pub(super) heard: Option<Duration>,
    /// When it last said something to this node.
    said: Option<Duration>,
    /// How many messages it had begun or queued when it was last heard.
    pub(super) load: usize,
    /// The number of its latest change.
    version: u64,
    /// The control nodes that hear it, by their last word.
    vouched_by: BTreeSet<NodeId>,
}

/// What is heard of a member.
#[derive(Clone, Copy)]
pub(super) struct Word {
    /// As of when.
    pub(super) heard: Option<Duration>,
    /// How many messages it had begun or queued then.
    pub(super) load: usize,
    /// Whether it said so itself.
    pub(super) is_its_own: bool,
}

impl Entry {
    /// What others are told of it, who was last heard then.
    pub(super) fn told(&self, heard: Option<Duration>, now: Duration) -> Heard {
        Heard { member: self.member.clone(), age_ms: age_ms(heard, now), load: self.load }
    }

    /// What somebody is told of it who has been told of all changes up to `since`.
    pub(super) fn pulse(&self, heard: Option<Duration>, now: Duration, since: u64) -> Pulse {
        let who = Who::of(&self.member, self.version <= since);
        Pulse { who, age_ms: age_ms(heard, now), load: self.load }
    }

    /// Whether it was heard later than what is told of it, which is no other word of its own.
    fn is_newer_than(&self, member: &Member, word: Word) -> bool {
        member.edition() == self.member.edition() && word.heard < self.heard
    }

    fn note(&mut self, word: Word) {
        (self.heard, self.load) = (word.heard.max(self.heard), word.load);
    }
}

impl Word {
    /// What a member says now.
    pub(super) fn its_own(env: &Env, load: usize) -> Self {
        Self { heard: Some(env.now()), load, is_its_own: true }
    }
}

/// A control node that tells of its table.
struct Teller {
    until: Since,
    /// When it last answered.
    at: Duration,
    /// By its last word, as of which edition it knows this node.
    knows: Option<u64>,
}

/// Everybody who is known.
#[derive(Default)]
pub(super) struct Table {
    entries: BTreeMap<NodeId, Entry>,
    servers: BTreeMap<Topic, BTreeSet<NodeId>>,
    tellers: BTreeMap<NodeId, Teller>,
    /// Members by the number of their latest change.
    changes: BTreeMap<u64, NodeId>,
    version: u64,
    /// Those that this node has heard itself, by when, until they are silent for too long.
    speaking: BTreeSet<(Duration, NodeId)>,
}

impl Table {
    pub(super) fn get(&self, node: &NodeId) -> Option<&Entry> {
        self.entries.get(node)
    }

    /// All of them, by id.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Those that serve a topic by their own word, by id.
    pub(super) fn servers(&self, topic: &str) -> impl Iterator<Item = &Entry> {
        self.servers.get(topic).into_iter().flatten().filter_map(|node| self.entries.get(node))
    }

    /// Takes in what is heard of a member; whether that is news of what it is or runs. Of an older life of it nothing is,
    /// nor an older word of its own, nor what somebody heard before this node did.
    pub(super) fn merge(&mut self, member: Member, word: Word) -> bool {
        let node = member.node.clone();
        let known = self.entries.get_mut(&node);
        let news = match known {
            Some(known) if member.edition() < known.member.edition() => return false,
            Some(known) if known.is_newer_than(&member, word) => return false,
            Some(known) if known.member == member => {
                known.note(word);
                false
            }
            _ => {
                self.replace(member, word);
                true
            }
        };
        if word.is_its_own {
            self.has_spoken(&node, word.heard);
        }
        news
    }

    /// Takes in that a member was heard which is known by this name; whether it is, or by a later one.
    pub(super) fn hear_again(&mut self, named: &Named, word: Word) -> bool {
        let Some(known) = self.entries.get_mut(&named.node) else { return false };
        if !named.is(&known.member) {
            return (named.incarnation, named.edition) < known.member.edition();
        }
        known.note(word);
        if word.is_its_own {
            self.has_spoken(&named.node, word.heard);
        }
        true
    }

    /// Takes a member in, in the place of what was known of it.
    fn replace(&mut self, member: Member, word: Word) {
        let node = member.node.clone();
        for topic in &member.topics {
            self.servers.entry(topic.clone()).or_default().insert(node.clone());
        }
        let topics = member.topics.clone();
        let former = self.entries.remove(&node);
        let (mut said, mut version, mut vouched_by) = (None, 0, BTreeSet::new());
        let mut heard = word.heard;
        if let Some(former) = former {
            self.forget(&node, former.member.topics.difference(&topics));
            version = former.version;
            if former.member.incarnation == member.incarnation {
                (said, vouched_by) = (former.said, former.vouched_by);
                heard = heard.max(former.heard);
            } else if let Some(said) = former.said {
                self.speaking.remove(&(said, node.clone()));
            }
        }
        let entry = Entry { member, heard, said, load: word.load, version, vouched_by };
        self.entries.insert(node.clone(), entry);
        self.has_changed(&node);
    }

    /// A member said something itself.
    fn has_spoken(&mut self, node: &NodeId, at: Option<Duration>) {
        let (Some(entry), Some(at)) = (self.entries.get_mut(node), at) else { return };
        let before = entry.said.replace(at);
        let spoke = before.is_some_and(|before| self.speaking.remove(&(before, node.clone())));
        self.speaking.insert((at, node.clone()));
        if !spoke {
            self.has_changed(node);
        }
    }

    /// Counts it as a change of those that this node has not heard for too long; nobody needs to hear `own` itself.
    pub(super) fn note_silence(&mut self, own: &NodeId, now: Duration) {
        while let Some((said, node)) = self.speaking.first().cloned() {
            if now.saturating_sub(said) < DEAD_AFTER {
                return;
            }
            self.speaking.pop_first();
            if node == *own {
                self.has_spoken(own, Some(now));
            } else {
                self.has_changed(&node);
            }
        }
    }

    fn has_changed(&mut self, node: &NodeId) {
        let Some(entry) = self.entries.get_mut(node) else { return };
        self.changes.remove(&entry.version);
        self.version += 1;
        entry.version = self.version;
        self.changes.insert(self.version, node.clone());
    }

    /// The number of the latest change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What has changed since a number, in order and as this node has heard it itself, and up to which number that goes.
    pub(super) fn changes(&self, since: u64, now: Duration) -> (Vec<Heard>, u64) {
        let mut until = since;
        let changed = self.changes.range(since.saturating_add(1)..).take(CHANGES_MAX);
        let heard = changed.filter_map(|(version, node)| {
            until = *version;
            let entry = self.entries.get(node)?;
            Some(entry.told(entry.said, now))
        });
        (heard.collect(), until)
    }

    /// How far a control node has told of its table.
    pub(super) fn told_by(&self, control: &NodeId) -> Since {
        self.tellers.get(control).map(|teller| teller.until).unwrap_or_default()
    }

    /// Whether a control node knows this node as of this edition, by its last word.
    pub(super) fn is_known_to(&self, control: &NodeId, edition: Option<u64>) -> bool {
        self.tellers.get(control).is_some_and(|teller| teller.knows == edition)
    }

    /// By a control node's word it knows this node as of this edition, or does not know it.
    pub(super) fn note_known(&mut self, control: &NodeId, edition: Option<u64>) {
        if let Some(teller) = self.tellers.get_mut(control) {
            teller.knows = edition;
        }
    }

    /// Whether this control node has answered since then.
    pub(super) fn has_answered(&self, control: &NodeId, since: Duration) -> bool {
        self.tellers.get(control).is_some_and(|teller| teller.at >= since)
    }

    /// A control node has told up to here; whether that is not old already.
    pub(super) fn answered(&mut self, control: &NodeId, until: Since, at: Duration) -> bool {
        let before = self.told_by(control);
        if until.is_behind(before) {
            return false;
        }
        if !until.is_of_the_life_of(before) {
            // It knows nothing of what its former life has heard.
            for entry in self.entries.values_mut() {
                entry.vouched_by.remove(control);
            }
        }
        let knows = self.tellers.get(control).and_then(|teller| teller.knows);
        self.tellers.insert(control.clone(), Teller { until, at, knows });
        true
    }

    /// By its last word, a control node hears a member, or hears it no more.
    pub(super) fn vouch(&mut self, control: &NodeId, node: &NodeId, lives: bool) {
        let Some(entry) = self.entries.get_mut(node) else { return };
        if lives {
            entry.vouched_by.insert(control.clone());
        } else {
            entry.vouched_by.remove(control);
        }
    }

    /// When a member was last heard: by this node, or by a control node that hears it and that this node hears.
    pub(super) fn last_heard(&self, entry: &Entry) -> Option<Duration> {
        let tellers = entry.vouched_by.iter().filter_map(|control| self.tellers.get(control));
        tellers.map(|teller| teller.at).max().max(entry.heard)
    }

    fn forget<'a>(&mut self, node: &NodeId, topics: impl Iterator<Item = &'a Topic>) {
        for topic in topics {
            if let Some(servers) = self.servers.get_mut(topic) {
                servers.remove(node);
                if servers.is_empty() {
                    self.servers.remove(topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
