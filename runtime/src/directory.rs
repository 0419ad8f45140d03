//! Who is a member, what it runs, and whether it lives.
//!
//! Every node tells every control node that it lives, twice a second; the answer is the control node's
//! table. So a table is at most one beat old, no control node is special, and a node that nobody has
//! heard for [`DEAD_AFTER`] is taken for dead. Liveness is advice: it chooses whom to ask, and never
//! allows a second copy of anything. So is the load that each beat tells: it chooses who of several is asked.
//!
//! What a node says of itself is believed of its own address, cell and topics alone. Its roles are those of its
//! certificate, and a message goes only to nodes whose roles may serve it, whatever they announce. What is said
//! of third nodes is believed of control nodes, to which alone this node tells that it lives. So is whose keys are
//! revoked, which comes with the same answers (see [`crate::revocations`]).

mod table;

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
use tokio::sync::watch;
use updraft_transport::{Incarnation, NodeId, PeerIdentity, Role, Transport};

use self::table::{Entry, Table};
use crate::{
    Env, message, protocol,
    revocations::{Revocations, Revoked},
    rpc::{Contract, Cx, Fault, Message, Rpc, Service, Topic, TraceContext, topic_of},
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
    /// Its cell.
    pub cell: String,
    /// Its roles, as its certificate has them.
    pub roles: BTreeSet<Role>,
    /// What it runs, by its own word.
    pub topics: BTreeSet<Topic>,
}

impl Member {
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

/// "I live"; answered with what the control node knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beat {
    /// Who.
    pub member: Member,
    /// How many messages it has begun or queued.
    pub load: usize,
    /// Which version of the revoked keys it knows.
    pub revoked: u64,
}
message!(call Beat = Beats / "beat", Fenced, from ["*"], to ["control"],
    reply Told, class Control, deadline_ms 1_000);

/// What a control node knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// Everybody it has heard.
    pub members: Vec<Heard>,
    /// The keys that are revoked, if the one who lives knows an older version of them.
    pub revoked: Option<Revoked>,
}

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

/// A node's table of members, cheap to clone.
#[derive(Clone)]
pub struct Directory {
    env: Env,
    transport: Arc<dyn Transport>,
    cell: Arc<str>,
    table: Arc<Mutex<Table>>,
    changed: watch::Sender<u64>,
    at_work: Arc<AtomicUsize>,
    revocations: Revocations,
    serves: Arc<Mutex<Serves>>,
    /// Why there is no connection, by the node that was to have one.
    lost: Arc<Mutex<BTreeMap<NodeId, String>>>,
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
            changed: watch::Sender::new(0),
            at_work: Arc::default(),
            revocations: Revocations::default(),
            serves: Arc::default(),
            lost: Arc::default(),
        };
        directory.merge(local, Duration::ZERO, 0);
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
            may && self.age(entry, now) < DEAD_AFTER
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
        let now = self.env.now();
        let heard = |entry: &Entry| {
            let age_ms = self.age(entry, now).as_millis();
            let age_ms = u64::try_from(age_ms).unwrap_or(u64::MAX);
            Heard { member: entry.member.clone(), age_ms, load: entry.load }
        };
        self.table.lock().entries().map(heard).collect()
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
        let now = self.env.now();
        self.table.lock().get(node).is_some_and(|entry| self.age(entry, now) < DEAD_AFTER)
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

    /// Grows whenever somebody joins, restarts or changes what they run, and when a control node dies or is heard again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn live(&self, topic: &str, wanted: impl Fn(&Member) -> bool) -> Vec<NodeId> {
        let now = self.env.now();
        self.table
            .lock()
            .servers(topic)
            .filter(|entry| wanted(&entry.member) && self.age(entry, now) < DEAD_AFTER)
            .map(|entry| entry.member.node.clone())
            .collect()
    }

    /// How long ago a member was heard. Nobody tells a node that it lives itself; it answers others, so it does.
    fn age(&self, entry: &Entry, now: Duration) -> Duration {
        if entry.member.node == self.transport.local().node {
            Duration::ZERO
        } else {
            now.saturating_sub(entry.heard)
        }
    }

    /// Takes in what was heard of a member `age` ago; an older incarnation says nothing, nor does what is older than known.
    fn merge(&self, member: Member, age: Duration, load: usize) {
        let heard = self.env.now().saturating_sub(age);
        let mut table = self.table.lock();
        let news = match table.get_mut(&member.node) {
            Some(known) if member.incarnation < known.member.incarnation => return,
            // What it ran when it was heard earlier, as another control node tells.
            Some(known)
                if member.incarnation == known.member.incarnation && heard < known.heard =>
            {
                return;
            }
            Some(known) if known.member == member => {
                (known.heard, known.load) = (heard, load);
                false
            }
            _ => {
                self.transport.learn(&member.node, member.address);
                table.insert(Entry { member, heard, load });
                true
            }
        };
        drop(table);
        if news {
            self.changed.send_modify(|version| *version += 1);
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
        if let Some(local) = self.local() {
            self.merge(Member { topics, ..local }, Duration::ZERO, 0);
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
        let handlers = Service::of::<Beats>().call(move |ctx, beat: Beat| {
            let answer = directory.beat(&ctx.peer, beat);
            async move { answer }
        });
        handlers.into()
    }

    fn beat(&self, peer: &PeerIdentity, beat: Beat) -> Result<Told, Fault> {
        let Beat { member, load, revoked } = beat;
        if member.node != peer.node {
            return Err(Fault::new(
                crate::rpc::FaultKind::Forbidden,
                "NotYourself",
                format!("node {} may not speak for node {}", peer.node, member.node),
            ));
        }
        // The certificate's word, not the node's own.
        let roles = BTreeSet::clone(&peer.roles);
        self.merge(Member { roles, ..member }, Duration::ZERO, load);
        Ok(Told { members: self.members(), revoked: self.revocations.newer_than(revoked) })
    }

    /// Tells every control node, again and again, that this node lives.
    pub(crate) async fn beat_forever(self, rpc: Rpc, seeds: Vec<(NodeId, SocketAddr)>) {
        let answered = Arc::new(Mutex::new(BTreeSet::new()));
        let mut live = Vec::new();
        for (node, address) in &seeds {
            self.transport.learn(node, *address);
        }
        loop {
            self.tell_who_lives(&mut live);
            let mut controls: BTreeSet<_> = seeds.iter().map(|(node, _)| node.clone()).collect();
            controls.extend(self.controls_to_tell());
            controls.remove(&self.transport.local().node);
            for control in &controls {
                self.spawn_beat(&rpc, control, &answered);
            }
            let all_answered = controls.iter().any(|node| answered.lock().contains(node));
            let settled = all_answered || controls.is_empty() || self.has_listened();
            self.env.sleep(if settled { BEAT } else { BEAT_AT_START }).await;
        }
    }

    /// Tells those who follow changes when a control node died or is heard again: others act for its rows now.
    fn tell_who_lives(&self, known: &mut Vec<NodeId>) {
        let live = self.servers_anywhere::<Beat>();
        if live != *known {
            *known = live;
            self.changed.send_modify(|version| *version += 1);
        }
    }

    /// The control nodes that live; where none does, all that ever did: whichever comes back first is to be found, and
    /// it may be none of those that were known from the start.
    fn controls_to_tell(&self) -> Vec<NodeId> {
        let mut live = self.servers_anywhere::<Beat>();
        live.retain(|node| *node != self.transport.local().node);
        if live.is_empty() {
            self.controls().into_iter().map(|(node, _)| node).collect()
        } else {
            live
        }
    }

    /// Every control node that was ever heard of, and where it listens.
    #[must_use]
    pub fn controls(&self) -> Vec<(NodeId, SocketAddr)> {
        let table = self.table.lock();
        let may_serve = |entry: &&Entry| entry.member.may_serve(&Beat::CONTRACT);
        let controls = table.servers(TOPIC).filter(may_serve);
        controls.map(|entry| (entry.member.node.clone(), entry.member.address)).collect()
    }

    fn spawn_beat(&self, rpc: &Rpc, control: &NodeId, answered: &Arc<Mutex<BTreeSet<NodeId>>>) {
        let Some(member) = self.local() else { return };
        let revoked = self.revocations.newest().version;
        let beat = Beat { member, load: self.load(), revoked };
        let (directory, rpc) = (self.clone(), rpc.clone());
        let (control, answered) = (control.clone(), answered.clone());
        self.env.spawn("beat", async move {
            let cx = Cx::new(TOPIC, TraceContext::default()).within(&directory.env, BEAT);
            match rpc.client::<Beats>().on(&control).call(&beat, &cx).await {
                Ok(told) => {
                    answered.lock().insert(control);
                    directory.hear(told);
                }
                Err(error) => tracing::debug!(%control, %error, "a beat was not answered"),
            }
        });
    }

    /// Takes in what a control node knows.
    fn hear(&self, told: Told) {
        let own = &self.transport.local().node;
        // Nobody knows better than this node what it runs.
        for heard in told.members.into_iter().filter(|heard| heard.member.node != *own) {
            let age = Duration::from_millis(heard.age_ms);
            self.merge(heard.member, age, heard.load);
        }
        if let Some(revoked) = told.revoked {
            self.revocations.take(revoked);
        }
    }
}
