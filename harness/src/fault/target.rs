//! Whom a fault meets, and where nodes stand.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};
use updraft_transport::NodeId;

/// Where a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The data centre.
    pub data_centre: String,
    /// The rack in it.
    pub rack: String,
}

impl Place {
    /// A rack of a data centre.
    #[must_use]
    pub fn new(data_centre: &str, rack: &str) -> Self {
        Self { data_centre: data_centre.to_owned(), rack: rack.to_owned() }
    }
}

/// The nodes that a fault meets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All.
    #[default]
    All,
    /// Those of these names.
    Nodes(Vec<String>),
    /// All of a data centre.
    DataCentre(String),
    /// All of a rack.
    Rack(Place),
}

impl Target {
    /// The node of this name.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::Nodes(vec![name.to_owned()])
    }

    /// Whether the node is one of them, where it stands.
    #[must_use]
    pub fn holds(&self, node: &str, place: Option<&Place>) -> bool {
        match self {
            Self::All => true,
            Self::Nodes(nodes) => nodes.iter().any(|known| known == node),
            Self::DataCentre(name) => place.is_some_and(|place| place.data_centre == *name),
            Self::Rack(rack) => place == Some(rack),
        }
    }
}

/// How far two data centres are from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Far {
    /// One way, on top of the latency of a link within a data centre. Each message draws its own, so the range is
    /// the jitter.
    pub latency: RangeInclusive<Duration>,
    /// Each way, if it is less than boundless.
    pub bytes_per_second: Option<u64>,
}

/// Where the nodes of a world stand, and how far apart.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    places: BTreeMap<String, Place>,
    far: BTreeMap<(String, String), Far>,
}

impl Topology {
    /// All nodes in one place.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a node in this place.
    #[must_use]
    pub fn with(mut self, node: &str, place: Place) -> Self {
        self.places.insert(node.to_owned(), place);
        self
    }

    /// The same with two data centres so far from each other, both ways.
    #[must_use]
    pub fn apart(mut self, one: &str, other: &str, far: Far) -> Self {
        self.far.insert((other.to_owned(), one.to_owned()), far.clone());
        self.far.insert((one.to_owned(), other.to_owned()), far);
        self
    }

    /// Where a node stands, if it was said.
    #[must_use]
    pub fn place(&self, node: &str) -> Option<&Place> {
        self.places.get(node)
    }

    /// The data centres that nodes stand in.
    #[must_use]
    pub fn data_centres(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.places.values().map(|place| place.data_centre.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// How far it is from one node to another; `None` within a data centre, and where nothing was said.
    pub(super) fn far(&self, from: &NodeId, to: &NodeId) -> Option<&Far> {
        if self.far.is_empty() {
            return None;
        }
        let (from, to) = (self.place(from.as_str())?, self.place(to.as_str())?);
        self.far.get(&(from.data_centre.clone(), to.data_centre.clone()))
    }

    pub(super) fn holds(&self, target: &Target, node: &str) -> bool {
        target.holds(node, self.place(node))
    }
}
