//! Who is a member, what it runs, and whether it lives.
//!
//! Every node tells control nodes, twice a second, that it lives; the answer is what has changed in the control
//! node's table since the last one. So a table is at most one beat old, and no control node is special. A node is taken
//! for dead that this node has not heard for [`DEAD_AFTER`], and no control node that it hears has heard either. Liveness
//! is advice: it chooses whom to ask, and never
//! allows a second copy of anything. So is the load that each beat tells: it chooses who of several is asked.
//!
//! A cloud has many hosts that need no more than its control nodes: a beat says whether it wants to be told of
//! [`Everybody`](Interest::Everybody) or of these alone. So what a host hears, and keeps, does not grow with the cloud.
//! Such a host tells one control node at a time, each in its turn, and all of them when it gets no answer; the others have
//! it from there.
//!
//! What a member is and runs hardly ever changes, so it is said in full only to who does not know it as it is now; each
//! of its words about itself has a number, and the latest is what counts.
//!
//! What a node says of itself is believed of its own address, cell and topics alone. Its roles are those of its
//! certificate, and a message goes only to nodes whose roles may serve it, whatever they announce. What is said
//! of third nodes is believed of control nodes, to which alone this node tells that it lives. So is whose keys are
//! revoked, which comes with the same answers (see [`crate::revocations`]).

mod answers;
mod changes;
mod round;
mod table;
mod telling;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::Rng;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use updraft_transport::{Incarnation, NodeId, Role, Transport};

use self::{
    changes::Changed,
    table::{Entry, Table, Word},
};
pub use self::{
    changes::Changes,
    told::{CHANGES_MAX, Named, Pulse, Since, Who},
};
use crate::{
    Env, message, protocol,
    revocations::{Revocations, Revoked},
    rpc::{Contract, Message, Topic, topic_of},
};

/// Servers of a topic that are chosen from without memory of their own; more only cost an allocation.
const USUAL_SERVERS: usize = 8;

/// How often a node says that it lives.
pub const BEAT: Duration = Duration::from_millis(500);

/// The same until the first answer, so that a start takes milliseconds; but no longer than [`DEAD_AFTER`], since who
/// is not answered by then has to wait for somebody else.
const BEAT_AT_START: Duration = Duration::from_millis(25);

/// Silence after which a node is taken for dead: six beats, so that five lost in a row (3 in 10 million
/// at 5 % loss) are survived.
pub const DEAD_AFTER: Duration = Duration::from_millis(3_000);

/// The topic of the control nodes' tables.
pub const TOPIC: &str = "directory";

/// What those that keep them understand.
pub struct Beats;
protocol!(Beats = TOPIC);

/// A node as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
    /// How often it has started.
    pub incarnation: Incarnation,
    /// How often it has changed in this life what it says of itself.
    pub edition: u64,
    /// Its cell.
    pub cell: String,
    /// Its roles, as its certificate has them.
    pub roles: BTreeSet<Role>,
    /// What it runs, by its own word.
    pub topics: BTreeSet<Topic>,
}

impl Member {
    /// Which of all its words about itself this is; a later one is greater.
    fn edition(&self) -> (Incarnation, u64) {
        (self.incarnation, self.edition)
    }

    fn may_serve(&self, contract: &Contract) -> bool {
        contract.may_be_served_by(&self.roles)
    }
}

/// A member and how long ago it was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The member.
    pub member: Member,
    /// Milliseconds since its last beat.
    pub age_ms: u64,
    /// How many messages it had begun or queued then.
    pub load: usize,
}

impl Heard {
    fn lives(&self) -> bool {
        u128::from(self.age_ms) < DEAD_AFTER.as_millis()
    }
}

/// Of whom a node wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interest {
    /// Of all members.
    #[default]
    Everybody,
    /// Of the control nodes, which is all that one needs who asks nobody else.
    ControlNodes,
}

/// "I live"; answered with what the control node knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beat {
    /// Who.
    pub who: Who,
    /// How many messages it has begun or queued.
    pub load: usize,
    /// Which version of the revoked keys it knows.
    pub revoked: u64,
    /// Of whom it wants to be told.
    pub interest: Interest,
    /// What it knows of this control node's table.
    pub since: Since,
}
message!(call Beat = Beats / "beat", Fenced, from ["*"], to ["control"],
    reply Told, class Control, deadline_ms 1_000);

/// What a control node knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// Whether it knows the one who lives as it is now; else it wants to be told in full.
    pub knows_you: bool,
    /// The control nodes, as it has heard them.
    pub controls: Vec<Pulse>,
    /// Members that are new, run something else, fell silent or are heard again since then, in this order: at most
    /// [`CHANGES_MAX`]. Of each how long ago this control node heard it itself.
    pub changes: Vec<Heard>,
    /// How far that goes.
    pub until: Since,
    /// Whether there is more.
    pub more: bool,
    /// The keys that are revoked, if the one who lives knows an older version of them.
    pub revoked: Option<Revoked>,
}

/// How far somebody on this node has followed who joins and goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News(u64);

/// A message between its arrival and its end, counted as this node's load.
pub(crate) struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What this node runs, and what of that it leaves to others.
#[derive(Default)]
struct Serves {
    all: BTreeSet<Topic>,
    left: BTreeSet<Topic>,
}

/// How long ago that was; what was before this node's start was long ago.
fn age(heard: Option<Duration>, now: Duration) -> Duration {
    heard.map_or(now + DEAD_AFTER, |heard| now.saturating_sub(heard))
}

/// The same for others to be told.
fn age_ms(heard: Option<Duration>, now: Duration) -> u64 {
    u64::try_from(age(heard, now).as_millis()).unwrap_or(u64::MAX)
}

/// A node's table of members, cheap to clone.
#[derive(Clone)]
pub struct Directory {
    env: Env,
    transport: Arc<dyn Transport>,
    cell: Arc<str>,
    table: Arc<Mutex<Table>>,
    changed: Changed,
    at_work: Arc<AtomicUsize>,
    revocations: Revocations,
    serves: Arc<Mutex<Serves>>,
    /// Why there is no connection, by the node that was to have one.
    lost: Arc<Mutex<BTreeMap<NodeId, String>>>,
    incarnation: Incarnation,
}

impl Directory {
    /// A table that knows nobody but this node.
    #[must_use]
    pub fn new(env: &Env, transport: Arc<dyn Transport>, local: Member) -> Self {
        let directory = Self {
            env: env.clone(),
            transport,
            cell: local.cell.as_str().into(),
            table: Arc::default(),
            changed: Changed::default(),
            at_work: Arc::default(),
            revocations: Revocations::default(),
            serves: Arc::default(),
            lost: Arc::default(),
            incarnation: local.incarnation,
        };
        directory.merge(local, Word::its_own(env, 0));
        directory
    }

    /// The live servers of a message's topic in this node's cell, by id.
    #[must_use]
    pub fn servers_of<M: Message>(&self) -> Vec<NodeId> {
        let in_this_cell = |member: &Member| *member.cell == *self.cell;
        self.live(topic_of::<M>(), |member| in_this_cell(member) && member.may_serve(&M::CONTRACT))
    }

    /// Waits until so many live servers of a message's topic are known in this node's cell, and says which: for a node
    /// that has just started and knows nobody yet. Later there is no need to: a call finds its server, or says that
    /// there is none.
    pub async fn wait_for<M: Message>(&self, count: usize) -> Vec<NodeId> {
        let mut changes = self.changes();
        loop {
            let servers = self.servers_of::<M>();
            if servers.len() >= count {
                return servers;
            }
            // One that was silent for a while and lives again is no change.
            self.env.timeout(BEAT, changes.changed()).await;
        }
    }

    /// The same as [`servers_of`](Self::servers_of) in all cells, for what the cells share.
    #[must_use]
    pub fn servers_anywhere<M: Message>(&self) -> Vec<NodeId> {
        self.live(topic_of::<M>(), |member| member.may_serve(&M::CONTRACT))
    }

    /// Two live servers of a topic that may serve by this contract, to choose from, each with its load when it was last
    /// heard: this node, if it is one of them, and the others by chance. `None` is this node's own cell.
    pub(crate) fn two_servers(
        &self,
        topic: &str,
        contract: &Contract,
        cell: Option<&str>,
        wanted: impl Fn(&NodeId) -> bool,
        now: Duration,
        rng: &mut impl Rng,
    ) -> [Option<(NodeId, usize)>; 2] {
        let cell = cell.unwrap_or(&self.cell);
        let local = &self.transport.local().node;
        let table = self.table.lock();
        let fits = |entry: &&Entry| {
            let member = &entry.member;
            let may = member.cell == cell && member.may_serve(contract) && wanted(&member.node);
            may && self.age(&table, entry, now) < DEAD_AFTER
        };
        let (mut own, mut others) = (None, SmallVec::<[&Entry; USUAL_SERVERS]>::new());
        for entry in table.servers(topic).filter(fits) {
            match &entry.member.node {
                node if node == local => own = Some((node.clone(), self.load())),
                _ => others.push(entry),
            }
        }
        let mut draw = || {
            let drawn = (!others.is_empty()).then(|| rng.random_range(0..others.len()))?;
            let entry = others.swap_remove(drawn);
            Some((entry.member.node.clone(), entry.load))
        };
        let first = own.or_else(&mut draw);
        [first, draw()]
    }

    /// Whether a node may be sent a message, as far as it is known at all.
    pub(crate) fn may_serve(&self, node: &NodeId, contract: &Contract) -> bool {
        let table = self.table.lock();
        table.get(node).is_none_or(|known| contract.may_be_served_by(&known.member.roles))
    }

    /// Everybody known, with the time since they were heard.
    #[must_use]
    pub fn members(&self) -> Vec<Heard> {
        let (now, table) = (self.env.now(), self.table.lock());
        table.entries().map(|entry| entry.told(self.last_heard(&table, entry, now), now)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn member(&self, node: &NodeId) -> Option<Heard> {
        let (now, table) = (self.env.now(), self.table.lock());
        let entry = table.get(node)?;
        Some(entry.told(self.last_heard(&table, entry, now), now))
    }

    /// Members that have joined, restarted, run something else, fallen silent or been heard again since this node's former
    /// news, [`CHANGES_MAX`] at most, and up to where these go. Begin with the default, and ask again until there are none;
    /// [`changes`](Self::changes) says when there may be more.
    #[must_use]
    pub fn news(&self, since: News) -> (Vec<Member>, News) {
        let (heard, until) = self.table.lock().changes(since.0, self.env.now());
        (heard.into_iter().map(|heard| heard.member).collect(), News(until))
    }

    /// Takes in where a node listens that this one is not told of by its beats, by a control node's word: who it is, its
    /// certificate says. It is asked by name then, and is not among the members.
    pub fn introduce(&self, node: &NodeId, address: SocketAddr) {
        self.transport.learn(node, address);
    }

    /// Counts a message as this node's load until what is returned is dropped.
    pub(crate) fn at_work(&self) -> AtWork {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(self.at_work.clone())
    }

    /// How many messages this node has begun or queued.
    #[must_use]
    pub fn load(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    /// Whether the node has been heard lately.
    #[must_use]
    pub fn is_live(&self, node: &NodeId) -> bool {
        let (now, table) = (self.env.now(), self.table.lock());
        table.get(node).is_some_and(|entry| self.age(&table, entry, now) < DEAD_AFTER)
    }

    /// Whether this node has run for so long that it must have heard of whoever lives. Until then, that somebody
    /// was not heard says nothing.
    #[must_use]
    pub fn has_listened(&self) -> bool {
        self.env.now() >= DEAD_AFTER
    }

    /// Whose certificates are no longer believed.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Why there is no connection with a node, in the words of the link; `None` while there is one, and before the
    /// first was tried.
    #[must_use]
    pub fn why_lost(&self, node: &NodeId) -> Option<String> {
        self.lost.lock().get(node).cloned()
    }

    /// Notes that a connection ended, or could not be made.
    pub(crate) fn lost(&self, node: NodeId, reason: String) {
        self.lost.lock().insert(node, reason);
    }

    /// Notes that a connection stands.
    pub(crate) fn met(&self, node: &NodeId) {
        self.lost.lock().remove(node);
    }

    /// Tells whenever somebody joins, restarts or changes what they run, and when a control node dies or is heard again.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changed.follow()
    }

    fn live(&self, topic: &str, wanted: impl Fn(&Member) -> bool) -> Vec<NodeId> {
        let (now, table) = (self.env.now(), self.table.lock());
        let lives =
            |entry: &&Entry| wanted(&entry.member) && self.age(&table, entry, now) < DEAD_AFTER;
        table.servers(topic).filter(lives).map(|entry| entry.member.node.clone()).collect()
    }

    fn age(&self, table: &Table, entry: &Entry, now: Duration) -> Duration {
        age(self.last_heard(table, entry, now), now)
    }

    /// When a member was last heard. Nobody tells a node that it lives itself; it answers others, so it does.
    fn last_heard(&self, table: &Table, entry: &Entry, now: Duration) -> Option<Duration> {
        let is_itself = entry.member.node == self.transport.local().node;
        if is_itself { Some(now) } else { table.last_heard(entry) }
    }

    fn merge(&self, member: Member, word: Word) {
        let (node, address) = (member.node.clone(), member.address);
        let news = self.table.lock().merge(member, word);
        if news {
            self.transport.learn(&node, address);
            self.changed.tell();
        }
    }

    /// What this node serves, for its beats to tell.
    pub(crate) fn announce(&self, topics: BTreeSet<Topic>) {
        self.serves.lock().all = topics;
        self.tell_what_is_served();
    }

    /// From now on these topics are for other nodes alone, whatever this one runs: as of what needs a store, while this
    /// node has none. An empty set ends that. What reaches this node all the same is handled as ever.
    pub fn leave_to_others(&self, topics: BTreeSet<Topic>) {
        self.serves.lock().left = topics;
        self.tell_what_is_served();
    }

    fn tell_what_is_served(&self) {
        let topics = {
            let serves = self.serves.lock();
            serves.all.difference(&serves.left).cloned().collect()
        };
        let local = self.local_in(&self.table.lock()).cloned();
        if let Some(local) = local.filter(|local| local.topics != topics) {
            let edition = local.edition + 1;
            self.merge(Member { topics, edition, ..local }, Word::its_own(&self.env, 0));
        }
    }

    fn local_in<'a>(&self, table: &'a Table) -> Option<&'a Member> {
        table.get(&self.transport.local().node).map(|entry| &entry.member)
    }

    /// Every control node that was ever heard of, and where it listens.
    #[must_use]
    pub fn controls(&self) -> Vec<(NodeId, SocketAddr)> {
        let table = self.table.lock();
        let controls = self.controls_in(&table);
        controls.map(|entry| (entry.member.node.clone(), entry.member.address)).collect()
    }

    fn controls_in<'a>(&self, table: &'a Table) -> impl Iterator<Item = &'a Entry> {
        table.servers(TOPIC).filter(|entry| entry.member.may_serve(&Beat::CONTRACT))
    }
}
