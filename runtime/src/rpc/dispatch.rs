//! The receiving half: takes frames from the transport, checks them and gives them to services.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Semaphore, mpsc, oneshot};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, Kind, NodeId, PeerIdentity, Transport,
};

use super::{
    Contract, Ctx, Refusal, Repeat, Rpc, Service, Topic, TraceContext,
    client::CALLS_MAX,
    context::Envelope,
    dedup::{Keep, Mark, Memory, Seen},
    outcome::Outcome,
    service::{Method, Running},
};
use crate::{
    Env,
    directory::Directory,
    supervise::Child,
    trace::{Passed, StepKind, Tracer},
};

mod begun;
mod question;

use begun::Begun;
use question::Question;

/// What a waiting call hears.
pub(super) enum Answer {
    /// An outcome.
    Outcome(Outcome),
    /// The connection went down; the frame or its answer may be lost.
    Lost(String),
}

struct Pending {
    peer: NodeId,
    contract: Contract,
    sender: oneshot::Sender<Answer>,
    /// Whether a reply of another node was logged: one line tells it, more would only fill the log.
    warned: bool,
}

impl Pending {
    fn may_be_answered_by(&self, node: &PeerIdentity) -> bool {
        self.peer == node.node && self.contract.may_be_served_by(&node.roles)
    }

    /// Leaves out a reply: a late answer to an earlier attempt, or a lie.
    fn ignore(&mut self, from: &NodeId) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(asked = %self.peer, %from, "a reply of a node that may not answer");
        }
    }
}

/// What both halves share.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) directory: Directory,
    pub(super) incarnation: Incarnation,
    pub(super) tracer: Tracer,
    /// Room for calls that wait.
    pub(super) calls: Semaphore,
    next_id: AtomicU64,
    pending: Mutex<BTreeMap<u64, Pending>>,
    memory: Mutex<Memory>,
    draining: AtomicBool,
    rng: Mutex<ChaCha8Rng>,
}

/// Forgets a pending call when its caller stops waiting.
pub(super) struct Expectation<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Expectation<'_> {
    fn drop(&mut self) {
        self.shared.pending.lock().remove(&self.id);
    }
}

impl Shared {
    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn shuffle(&self, nodes: &mut [NodeId]) {
        nodes.shuffle(&mut *self.rng.lock());
    }

    pub(super) fn expect(
        &self,
        id: u64,
        peer: &NodeId,
        contract: Contract,
        sender: oneshot::Sender<Answer>,
    ) -> Expectation<'_> {
        let pending = Pending { peer: peer.clone(), contract, sender, warned: false };
        self.pending.lock().insert(id, pending);
        Expectation { shared: self, id }
    }

    /// Hands a reply to the call that waits for it. Ids are counted, so anybody can guess one: only the node that
    /// was asked may answer, and only if its certificate says that it may serve the call.
    fn answer(&self, id: u64, from: &PeerIdentity, answer: Answer) {
        let mut pending = self.pending.lock();
        let Entry::Occupied(mut call) = pending.entry(id) else { return };
        if !call.get().may_be_answered_by(from) {
            return call.get_mut().ignore(&from.node);
        }
        // A caller that has just given up is as good as none.
        let _ = call.remove().sender.send(answer);
    }

    fn lost(&self, peer: &NodeId, reason: &str) {
        let mut pending = self.pending.lock();
        let ids: Vec<u64> =
            pending.iter().filter(|(_, call)| call.peer == *peer).map(|(id, _)| *id).collect();
        for call in ids.iter().filter_map(|id| pending.remove(id)) {
            // As above.
            let _ = call.sender.send(Answer::Lost(reason.to_owned()));
        }
    }
}

/// Runs the services of a node. They are here and not in what both halves share: services hold an [`Rpc`], and
/// would keep themselves, with the transport, beyond the end of their node.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    services: Arc<OnceLock<BTreeMap<Topic, Arc<Running>>>>,
}

impl Dispatcher {
    pub(crate) fn new(
        env: &Env,
        transport: Arc<dyn Transport>,
        directory: Directory,
        incarnation: Incarnation,
        tracer: Tracer,
    ) -> Self {
        let shared = Shared {
            env: env.clone(),
            transport,
            directory,
            incarnation,
            tracer,
            calls: Semaphore::new(CALLS_MAX),
            next_id: AtomicU64::new(1),
            pending: Mutex::default(),
            memory: Mutex::default(),
            draining: AtomicBool::new(false),
            rng: Mutex::new(env.rng("rpc")),
        };
        Self { shared: Arc::new(shared), services: Arc::default() }
    }

    pub(crate) fn rpc(&self) -> Rpc {
        Rpc { shared: self.shared.clone() }
    }

    /// Takes the services; their actors are the returned children, to be started by a supervisor.
    pub(crate) fn serve(&self, services: Vec<Service>) -> Vec<Child> {
        let running: BTreeMap<_, _> = services
            .into_iter()
            .map(|service| {
                (service.topic().clone(), Running::new(self.shared.env.clone(), service))
            })
            .collect();
        let children = running.values().map(Running::child).collect();
        let first = self.services.set(running).is_ok();
        debug_assert!(first, "services are given once");
        children
    }

    /// Refuses what is new; what has begun goes on.
    pub(crate) fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Handles what the transport hands up until it ends.
    pub(crate) async fn run(self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Frame { peer, frame } => self.frame(&peer, frame),
                Event::Up { peer, incarnation } => {
                    tracing::debug!(peer = %peer.node, incarnation = incarnation.0, "connected");
                }
                Event::Down { peer, reason } => {
                    tracing::debug!(%peer, reason, "connection lost");
                    self.shared.lost(&peer, &reason);
                }
            }
        }
    }

    fn frame(&self, peer: &PeerIdentity, frame: Frame) {
        match frame.header.kind {
            Kind::Call | Kind::Cast => self.request(peer, frame),
            Kind::Reply => self.reply(peer, &frame),
            // Handlers are short; one whose caller has gone is let finish.
            Kind::Cancel => {}
        }
    }

    fn reply(&self, from: &PeerIdentity, frame: &Frame) {
        if frame.header.incarnation != self.shared.incarnation {
            return;
        }
        let outcome = postcard::from_bytes(&frame.body)
            .unwrap_or_else(|error| Outcome::Unknown(format!("the reply is broken: {error}")));
        self.shared.answer(frame.header.id, from, Answer::Outcome(outcome));
    }

    fn request(&self, peer: &PeerIdentity, frame: Frame) {
        let (node, question) = (&peer.node, Question::of(&frame.header));
        let mark = self.mark(node, &frame.header);
        let seen = self.shared.memory.lock().begin(&mark, self.shared.env.now());
        match seen {
            Seen::New => self.begin(peer, frame, Begun::new(self.clone(), mark, question)),
            Seen::Stale | Seen::Again => {}
            Seen::Answered(answer) => self.send_answer(node, question, answer),
            Seen::Forgotten => {
                let reason = "it was sent before, and its answer is not remembered".to_owned();
                self.respond(node, question, &Outcome::Unknown(reason));
            }
            Seen::NoRoom => {
                let busy = Refusal::Busy("the memory of senders".to_owned());
                self.respond(node, question, &Outcome::Refused(busy));
            }
        }
    }

    fn begin(&self, peer: &PeerIdentity, frame: Frame, begun: Begun) {
        let Frame { header, body } = frame;
        if let Err(refusal) = self.admit(peer, &header, body, begun) {
            tracing::debug!(node = %peer.node, method = header.method, %refusal, "refused");
            self.respond(&peer.node, Question::of(&header), &Outcome::Refused(refusal));
        }
    }

    /// How the memory knows a message. One that nobody here takes is refused, whatever is kept of it.
    fn mark(&self, peer: &NodeId, header: &Header) -> Mark {
        let method = self.method(&header.method);
        let repeat = method.map_or(Repeat::Never, |(_, method)| method.contract.repeat);
        Mark {
            peer: peer.clone(),
            incarnation: header.incarnation,
            id: header.id,
            patience: Duration::from_millis(header.deadline_ms.into()),
            keep: Keep::of(header.kind, repeat),
        }
    }

    /// Who handles a method, and how.
    fn method(&self, name: &str) -> Result<(&Running, &Method), Refusal> {
        let topic = topic_of(name);
        let running = self.services.get().and_then(|map| map.get(topic));
        let running = running.ok_or_else(|| Refusal::NoRoute(topic.to_owned()))?;
        let method = running.method(name);
        let method = method.ok_or_else(|| Refusal::NotUnderstood(name.to_owned()))?;
        Ok((running, method))
    }

    fn admit(
        &self,
        peer: &PeerIdentity,
        header: &Header,
        body: Bytes,
        begun: Begun,
    ) -> Result<(), Refusal> {
        let (running, method) = self.method(&header.method)?;
        if !method.contract.may_be_sent_by(&peer.roles) {
            return Err(Refusal::Denied(header.method.clone()));
        }
        if self.shared.draining.load(Ordering::Relaxed) {
            return Err(Refusal::GoingAway(running.topic().to_string()));
        }
        if header.deadline_ms == 0 {
            return Err(Refusal::Expired);
        }
        let envelope: Envelope = postcard::from_bytes(&header.context)
            .map_err(|error| Refusal::NotUnderstood(format!("its context: {error}")))?;
        let ctx = self.ctx(peer, header, running.topic(), envelope);
        self.record(&ctx, header.kind, method.name);
        let finish = Box::new(move |outcome: Outcome| begun.end(&outcome));
        running.admit(method.name, ctx, body, finish).map_err(|(refusal, _)| refusal)
    }

    fn ctx(&self, peer: &PeerIdentity, header: &Header, topic: &Topic, envelope: Envelope) -> Ctx {
        Ctx {
            peer: peer.clone(),
            source: envelope.source,
            topic: topic.clone(),
            trace: TraceContext { trace_id: header.trace_id, span_id: header.span_id },
            context: envelope.context,
            expires: self.shared.env.now() + Duration::from_millis(header.deadline_ms.into()),
        }
    }

    fn record(&self, ctx: &Ctx, kind: Kind, name: &'static str) {
        if !ctx.trace.is_of_a_request() {
            return;
        }
        let kind = if kind == Kind::Call { StepKind::Call } else { StepKind::Cast };
        self.shared.tracer.record_passed(Passed {
            trace_id: ctx.trace.trace_id,
            at: self.shared.env.wall(),
            kind,
            name,
            from: ctx.source.clone(),
            from_node: Some(ctx.peer.node.clone()),
            to: ctx.topic.clone(),
            to_node: self.shared.transport.local().node.clone(),
        });
    }

    /// Tells the sender, if it asked, how its message ended.
    fn respond(&self, to: &NodeId, question: Question, outcome: &Outcome) {
        if question.wants_answer()
            && let Some(answer) = encoded(outcome, question)
        {
            self.send_answer(to, question, answer);
        }
    }

    fn send_answer(&self, to: &NodeId, question: Question, answer: Bytes) {
        let class = if answer.len() > BULK_FROM_BYTES { Class::Bulk } else { Class::Calls };
        let frame = Frame { header: question.answer_header(), body: answer };
        if let Err(error) = self.shared.transport.send(to, class, frame) {
            tracing::debug!(%to, %error, "an answer was not sent");
        }
    }
}

/// Larger answers go by the bulk stream, so that they delay no other.
const BULK_FROM_BYTES: usize = 64 << 10;

fn topic_of(method: &str) -> &str {
    method.split('/').next().unwrap_or_default()
}

fn encoded(outcome: &Outcome, question: Question) -> Option<Bytes> {
    let encoded = outcome.encode();
    if encoded.is_err() {
        tracing::error!(?question, "an outcome could not be encoded");
    }
    encoded.ok()
}
