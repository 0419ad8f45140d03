//! Who is a member, what it runs, and whether it lives.
//!
//! Every node tells every control node that it lives, twice a second; the answer is the control node's
//! table. So a table is at most one beat old, no control node is special, and a node that nobody has
//! heard for [`DEAD_AFTER`] is taken for dead. Liveness is advice: it chooses whom to ask, and never
//! allows a second copy of anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use updraft_transport::{Incarnation, NodeId, Role, Transport};

use crate::{
    Env, message,
    rpc::{Address, Cx, Fault, Rpc, Service, Topic, TraceContext},
};

/// How often a node says that it lives.
pub const BEAT: Duration = Duration::from_millis(500);

/// The same until the first answer, so that a start takes milliseconds.
const BEAT_AT_START: Duration = Duration::from_millis(25);

/// Silence after which a node is taken for dead: six beats, so that five lost in a row (3 in 10 million
/// at 5 % loss) are survived.
pub const DEAD_AFTER: Duration = Duration::from_millis(3_000);

/// The topic of the control nodes' tables.
pub const TOPIC: &str = "directory";

/// A node as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
    /// How often it has started.
    pub incarnation: Incarnation,
    /// Its cell.
    pub cell: String,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// What it runs.
    pub topics: BTreeSet<Topic>,
}

/// A member and how long ago it was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The member.
    pub member: Member,
    /// Milliseconds since its last beat.
    pub age_ms: u64,
}

/// "I live"; answered with everyone who does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beat(pub Member);
message!(call Beat = "directory" / "beat", Fenced, from ["control", "compute"],
    reply Vec<Heard>, class Control, deadline_ms 1_000);

struct Entry {
    member: Member,
    heard: Duration,
}

/// A node's table of members, cheap to clone.
#[derive(Clone)]
pub struct Directory {
    env: Env,
    transport: Arc<dyn Transport>,
    table: Arc<Mutex<BTreeMap<NodeId, Entry>>>,
    changed: watch::Sender<u64>,
}

impl Directory {
    /// A table that knows nobody but this node.
    #[must_use]
    pub fn new(env: &Env, transport: Arc<dyn Transport>, local: Member) -> Self {
        let directory = Self {
            env: env.clone(),
            transport,
            table: Arc::default(),
            changed: watch::Sender::new(0),
        };
        directory.merge(local, Duration::ZERO);
        directory
    }

    /// The live servers of a topic, by id.
    #[must_use]
    pub fn servers_of(&self, topic: &Topic) -> Vec<NodeId> {
        self.live(|member| member.topics.contains(topic))
    }

    /// Everybody known, with the time since they were heard.
    #[must_use]
    pub fn members(&self) -> Vec<Heard> {
        let now = self.env.now();
        let local = &self.transport.local().node;
        // Nobody tells a node that it lives itself; it answers others, so it does.
        let age = |entry: &Entry| match entry.member.node == *local {
            true => Duration::ZERO,
            false => now.saturating_sub(entry.heard),
        };
        self.table
            .lock()
            .values()
            .map(|entry| Heard {
                member: entry.member.clone(),
                age_ms: u64::try_from(age(entry).as_millis()).unwrap_or(u64::MAX),
            })
            .collect()
    }

    /// Whether the node has been heard lately.
    #[must_use]
    pub fn is_live(&self, node: &NodeId) -> bool {
        !self.live(|member| member.node == *node).is_empty()
    }

    /// Whether this node has run for so long that it must have heard of whoever lives. Until then, that somebody
    /// was not heard says nothing.
    #[must_use]
    pub fn has_listened(&self) -> bool {
        self.env.now() >= DEAD_AFTER
    }

    /// Grows whenever somebody joins, restarts or changes what they run.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn live(&self, wanted: impl Fn(&Member) -> bool) -> Vec<NodeId> {
        let now = self.env.now();
        let local = &self.transport.local().node;
        self.table
            .lock()
            .values()
            .filter(|entry| wanted(&entry.member))
            .filter(|entry| {
                entry.member.node == *local || now.saturating_sub(entry.heard) < DEAD_AFTER
            })
            .map(|entry| entry.member.node.clone())
            .collect()
    }

    /// Takes in what was heard of a member `age` ago; an older incarnation says nothing.
    fn merge(&self, member: Member, age: Duration) {
        let heard = self.env.now().saturating_sub(age);
        let mut table = self.table.lock();
        let news = match table.get_mut(&member.node) {
            Some(known) if member.incarnation < known.member.incarnation => return,
            Some(known) if known.member == member => {
                known.heard = known.heard.max(heard);
                false
            }
            _ => {
                self.transport.learn(&member.node, member.address);
                table.insert(member.node.clone(), Entry { member, heard });
                true
            }
        };
        drop(table);
        if news {
            self.changed.send_modify(|version| *version += 1);
        }
    }

    fn local(&self) -> Option<Member> {
        let table = self.table.lock();
        table.get(&self.transport.local().node).map(|entry| entry.member.clone())
    }

    /// The service that a control node offers.
    #[must_use]
    pub fn service(&self) -> Service {
        let directory = self.clone();
        Service::new(TOPIC).call(move |ctx, Beat(member): Beat| {
            let answer = directory.beat(&ctx.peer.node, member);
            async move { answer }
        })
    }

    fn beat(&self, peer: &NodeId, member: Member) -> Result<Vec<Heard>, Fault> {
        if member.node != *peer {
            return Err(Fault::new(
                crate::rpc::FaultKind::Forbidden,
                "NotYourself",
                format!("node {peer} may not speak for node {}", member.node),
            ));
        }
        self.merge(member, Duration::ZERO);
        Ok(self.members())
    }

    /// Tells every control node, again and again, that this node lives.
    pub(crate) async fn beat_forever(self, rpc: Rpc, seeds: Vec<(NodeId, SocketAddr)>) {
        let answered = Arc::new(Mutex::new(BTreeSet::new()));
        for (node, address) in &seeds {
            self.transport.learn(node, *address);
        }
        loop {
            let mut controls: BTreeSet<_> = seeds.iter().map(|(node, _)| node.clone()).collect();
            controls.extend(self.servers_of(&Topic::new(TOPIC)));
            controls.remove(&self.transport.local().node);
            for control in &controls {
                self.spawn_beat(&rpc, control, &answered);
            }
            let all_answered = controls.iter().any(|node| answered.lock().contains(node));
            let settled = all_answered || controls.is_empty();
            self.env.sleep(if settled { BEAT } else { BEAT_AT_START }).await;
        }
    }

    fn spawn_beat(&self, rpc: &Rpc, control: &NodeId, answered: &Arc<Mutex<BTreeSet<NodeId>>>) {
        let Some(local) = self.local() else { return };
        let (directory, rpc) = (self.clone(), rpc.clone());
        let (control, answered) = (control.clone(), answered.clone());
        self.env.spawn("beat", async move {
            let cx = Cx::new(TOPIC, TraceContext::default()).within(&directory.env, BEAT);
            let beat = rpc.call(&Address::server(&control), &Beat(local), &cx).await;
            match beat {
                Ok(members) => {
                    answered.lock().insert(control);
                    for heard in members {
                        directory.merge(heard.member, Duration::from_millis(heard.age_ms));
                    }
                }
                Err(error) => tracing::debug!(%control, %error, "a beat was not answered"),
            }
        });
    }
}
