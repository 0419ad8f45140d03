//! The members that a node knows of, by id and by what they serve.
//!
//! A message is addressed far more often than somebody joins: whoever serves a topic is found without a look at the
//! members that do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use updraft_transport::NodeId;

use super::Member;
use crate::rpc::Topic;

/// A member, and when it was heard.
pub(super) struct Entry {
    pub(super) member: Member,
    pub(super) heard: Duration,
    /// How many messages it had begun or queued then.
    pub(super) load: usize,
}

/// Everybody who is known.
#[derive(Default)]
pub(super) struct Table {
    entries: BTreeMap<NodeId, Entry>,
    servers: BTreeMap<Topic, BTreeSet<NodeId>>,
}

impl Table {
    pub(super) fn get(&self, node: &NodeId) -> Option<&Entry> {
        self.entries.get(node)
    }

    pub(super) fn get_mut(&mut self, node: &NodeId) -> Option<&mut Entry> {
        self.entries.get_mut(node)
    }

    /// All of them, by id.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Those that serve a topic by their own word, by id.
    pub(super) fn servers(&self, topic: &str) -> impl Iterator<Item = &Entry> {
        self.servers.get(topic).into_iter().flatten().filter_map(|node| self.entries.get(node))
    }

    /// Takes a member in, in the place of what was known of it.
    pub(super) fn insert(&mut self, entry: Entry) {
        let node = entry.member.node.clone();
        for topic in &entry.member.topics {
            self.servers.entry(topic.clone()).or_default().insert(node.clone());
        }
        let topics = entry.member.topics.clone();
        if let Some(former) = self.entries.insert(node.clone(), entry) {
            self.forget(&node, former.member.topics.difference(&topics));
        }
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
mod tests {
    use std::time::Duration;

    use updraft_transport::{Incarnation, NodeId};

    use super::{Entry, Table};
    use crate::{directory::Member, rpc::Topic};

    fn entry(node: &str, topics: &[&str]) -> Entry {
        let member = Member {
            node: NodeId::new(node).unwrap(),
            address: ([127, 0, 0, 1], 1).into(),
            incarnation: Incarnation(1),
            cell: "cell-1".to_owned(),
            roles: [].into(),
            topics: topics.iter().map(|topic| Topic::new(topic)).collect(),
        };
        Entry { member, heard: Duration::ZERO, load: 0 }
    }

    fn servers(table: &Table, topic: &str) -> Vec<String> {
        table.servers(topic).map(|entry| entry.member.node.to_string()).collect()
    }

    #[test]
    fn servers_of_a_topic_come_by_id() {
        let mut table = Table::default();
        table.insert(entry("two", &["a"]));
        table.insert(entry("one", &["a", "b"]));
        assert_eq!(servers(&table, "a"), ["one", "two"]);
        assert_eq!(servers(&table, "b"), ["one"]);
        assert!(servers(&table, "c").is_empty());
    }

    #[test]
    fn a_topic_that_is_no_longer_served_is_forgotten() {
        let mut table = Table::default();
        table.insert(entry("one", &["a", "b"]));
        table.insert(entry("one", &["b", "c"]));
        assert!(servers(&table, "a").is_empty());
        assert_eq!(servers(&table, "b"), ["one"]);
        assert_eq!(servers(&table, "c"), ["one"]);
    }
}
