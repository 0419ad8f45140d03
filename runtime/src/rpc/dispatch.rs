//! The receiving half: takes frames from the transport, checks them and gives them to services.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Semaphore, mpsc};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, Kind, NodeId, PeerIdentity, Transport,
};

use super::{
    Ctx, Refusal, Rpc, Service, Topic, TraceContext,
    cancellation::Cancellation,
    client::CALLS_MAX,
    context::Envelope,
    dedup::{Keep, Mark, Memory, Seen},
    message::key_and_method,
    outcome::Outcome,
    pending::{Answer, Pending},
    service::{Handler, Running},
};
use crate::{
    Env,
    bulk::Bodies,
    directory::Directory,
    planted::{Bug, is_planted},
    shares::Shares,
    sometimes,
    supervise::Child,
    trace::{
        Passed, StepKind, Tracer,
        spans::{Open, SpanKind, Spans},
    },
    tunnel,
    vitals::Vitals,
};

mod begun;
mod opener;
mod question;
mod reporter;

pub(super) use begun::Begun;
pub(crate) use opener::{Opened, Opener};
use question::Question;
pub(crate) use reporter::Reporter;

/// Events taken at once: enough to amortise a waking, and few beside what may wait.
const BATCH: usize = 64;

/// What both halves share.
pub(crate) struct Shared {
    pub(super) env: Env,
    pub(crate) transport: Arc<dyn Transport>,
    pub(super) directory: Directory,
    pub(super) incarnation: Incarnation,
    pub(super) tracer: Tracer,
    pub(super) vitals: Vitals,
    /// There once somebody wants them.
    pub(super) spans: OnceLock<Spans>,
    /// Room for calls that wait.
    pub(super) calls: Semaphore,
    pub(crate) bodies: Bodies,
    /// Places for tunnels, whoever opened them.
    pub(crate) tunnels: Shares<NodeId>,
    next_id: AtomicU64,
    pub(super) pending: Pending,
    pub(super) memory: Mutex<Memory>,
    draining: AtomicBool,
    /// Chooses servers.
    pub(super) rng: Mutex<ChaCha8Rng>,
}

impl Shared {
    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins a span, if spans are wanted.
    pub(super) fn open(
        &self,
        kind: SpanKind,
        trace: &mut TraceContext,
        method: &'static str,
        peer: Option<&NodeId>,
    ) -> Option<Box<Open>> {
        self.spans.get()?.open(kind, trace, method, peer).map(Box::new)
    }

    fn send_answer(&self, to: &NodeId, question: Question, answer: Bytes) {
        let class = if answer.len() > BULK_FROM_BYTES { Class::Bulk } else { Class::Calls };
        let frame = Frame { header: question.answer_header(), body: answer };
        if let Err(error) = self.transport.send(to, class, frame) {
            tracing::debug!(%to, %error, "an answer was not sent");
        }
    }
}

/// The services of a node by their topics, and spawned actors by topic and name.
type Services = Arc<RwLock<BTreeMap<Topic, Arc<Running>>>>;

/// Runs the services of a node. They are here and not in what both halves share: services hold an [`Rpc`], and
/// would keep themselves, with the transport, beyond the end of their node.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    services: Services,
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
            vitals: Vitals::default(),
            spans: OnceLock::new(),
            calls: Semaphore::new(CALLS_MAX),
            bodies: Bodies::default(),
            tunnels: tunnel::places(),
            next_id: AtomicU64::new(1),
            pending: Pending::default(),
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
                let topic = service.topic().clone();
                (topic.clone(), Running::new(&self.shared.env, &self.shared.vitals, topic, service))
            })
            .collect();
        let children = running.values().map(Running::child).collect();
        self.services.write().extend(running);
        children
    }

    /// For services that come and go.
    pub(crate) fn opener(&self) -> Opener {
        let (env, vitals) = (self.shared.env.clone(), self.shared.vitals.clone());
        Opener { env, vitals, services: Arc::downgrade(&self.services) }
    }

    /// Tells how this node does; nothing once it has ended.
    pub(crate) fn reporter(&self) -> Reporter {
        Reporter { rpc: self.rpc(), services: Arc::downgrade(&self.services) }
    }

    /// Refuses what is new; what has begun goes on.
    pub(crate) fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Handles what the transport hands up until it ends.
    pub(crate) async fn run(self, mut events: mpsc::Receiver<Event>) {
        let mut batch = Vec::new();
        while events.recv_many(&mut batch, BATCH).await > 0 {
            // All that came at once came now: a clock is worth a tenth of a message.
            let now = self.shared.env.now();
            batch.drain(..).for_each(|event| self.event(event, now));
        }
    }

    fn event(&self, event: Event, now: Duration) {
        match event {
            Event::Frame { peer, frame } => self.frame(&peer, frame, now),
            Event::Body { peer, label, body } => self.shared.bodies.arrived(&peer, label, body),
            Event::Up { peer, incarnation } => {
                tracing::debug!(peer = %peer.node, incarnation = incarnation.0, "connected");
                self.shared.directory.met(&peer.node);
            }
            Event::Down { peer, reason } => {
                tracing::debug!(%peer, reason, "connection lost");
                self.shared.pending.lost(&peer, &reason);
                self.shared.directory.lost(peer, reason);
            }
        }
    }

    fn frame(&self, peer: &PeerIdentity, frame: Frame, now: Duration) {
        match frame.header.kind {
            Kind::Call | Kind::Cast => self.request(peer, frame, now),
            Kind::Reply => self.reply(peer, &frame),
            Kind::Cancel => {
                let Header { id, incarnation, .. } = frame.header;
                self.shared.memory.lock().cancel(&peer.node, incarnation, id);
            }
        }
    }

    fn reply(&self, from: &PeerIdentity, frame: &Frame) {
        let former = frame.header.incarnation != self.shared.incarnation;
        sometimes!(former, "a reply comes for a former life of its caller");
        if former && !is_planted(Bug::ReplyToFormerIncarnation) {
            return;
        }
        let outcome = Outcome::decode(&frame.body)
            .unwrap_or_else(|error| Outcome::Unknown(format!("the reply is broken: {error}")));
        self.shared.pending.answer(frame.header.id, from, Answer::Outcome(outcome));
    }

    fn request(&self, peer: &PeerIdentity, frame: Frame, now: Duration) {
        let (node, question) = (&peer.node, Question::of(&frame.header));
        let found = self.find(&frame.header.method);
        let mark = mark(node, &frame.header, found.as_ref().ok());
        let seen = self.shared.memory.lock().begin(&mark, now);
        if !matches!(seen, Seen::New | Seen::NoRoom) {
            self.shared.vitals.duplicate();
        }
        sometimes!(
            matches!(seen, Seen::Stale),
            "a message of a former life of its sender comes late"
        );
        sometimes!(matches!(seen, Seen::Again), "a message comes again while it is under way");
        sometimes!(matches!(seen, Seen::Answered(_)), "a message comes again after its answer");
        match seen {
            Seen::New => {
                let begun = Begun::new(self.shared.clone(), mark, question);
                self.begin(peer, frame, now, found, begun);
            }
            Seen::Stale | Seen::Again => {}
            Seen::Answered(answer) => self.shared.send_answer(node, question, answer),
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

    fn begin(
        &self,
        peer: &PeerIdentity,
        frame: Frame,
        now: Duration,
        found: Result<Found, Refusal>,
        begun: Begun,
    ) {
        let Frame { header, body } = frame;
        let method = found.as_ref().ok().map(|found| found.handler.name);
        let admitted = found.and_then(|found| {
            self.check(peer, &header, &found)?;
            let ctx = context_of(peer, &header, now, found.running.topic(), begun.cancellation())?;
            self.admit(found, ctx, header.kind, body, begun)
        });
        if let Err(refusal) = admitted {
            tracing::debug!(node = %peer.node, method = %header.method, %refusal, "refused");
            let outcome = Outcome::Refused(refusal);
            if let Some(method) = method {
                self.shared.vitals.handled(method).ended(&outcome, Duration::ZERO);
            }
            self.respond(&peer.node, Question::of(&header), &outcome);
        }
    }

    /// Who handles what stands on the wire.
    fn find(&self, wire: &str) -> Result<Found, Refusal> {
        let (key, method) = key_and_method(wire);
        let running = self.services.read().get(key).cloned();
        let running = running.ok_or_else(|| Refusal::NoRoute(key.to_owned()))?;
        let handler = running.handler(&method).cloned();
        let handler = handler.ok_or_else(|| Refusal::NotUnderstood(wire.to_owned()))?;
        Ok(Found { running, handler })
    }

    /// Whether a message may be begun at all.
    fn check(&self, peer: &PeerIdentity, header: &Header, found: &Found) -> Result<(), Refusal> {
        let may = found.handler.contract.may_be_sent_by(&peer.roles);
        if !may && !is_planted(Bug::SenderRoleUnchecked) {
            return Err(Refusal::Denied(header.method.to_string()));
        }
        if self.shared.draining.load(Ordering::Relaxed) {
            return Err(Refusal::GoingAway(found.running.topic().to_string()));
        }
        if header.deadline_ms == 0 {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    fn admit(
        &self,
        found: Found,
        mut ctx: Ctx,
        kind: Kind,
        body: Bytes,
        begun: Begun,
    ) -> Result<(), Refusal> {
        let Found { running, handler } = found;
        self.record(&ctx, kind, handler.name);
        let kind = if kind == Kind::Call { SpanKind::Server } else { SpanKind::Consumer };
        let (trace, peer) = (&mut ctx.trace, &ctx.peer.node);
        let span = self.shared.open(kind, trace, handler.name, Some(peer));
        running.admit(handler, ctx, body, begun.under(span))
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
            from: Some((ctx.source.clone(), ctx.peer.node.clone())),
            to: ctx.topic.clone(),
            to_node: self.shared.transport.local().node.clone(),
        });
    }

    /// Tells the sender, if it asked, how its message ended.
    fn respond(&self, to: &NodeId, question: Question, outcome: &Outcome) {
        if question.wants_answer()
            && let Some(answer) = encoded(outcome, question)
        {
            self.shared.send_answer(to, question, answer);
        }
    }
}

/// What a handler is given along with a message that arrived now.
fn context_of(
    peer: &PeerIdentity,
    header: &Header,
    now: Duration,
    topic: &Topic,
    cancellation: Cancellation,
) -> Result<Ctx, Refusal> {
    let (source, context) = Envelope::read(&header.context)
        .map_err(|error| Refusal::NotUnderstood(format!("its context: {error}")))?;
    let trace = TraceContext {
        trace_id: header.trace_id,
        span_id: header.span_id,
        sampled: header.trace_flags & SAMPLED != 0,
    };
    let expires = now + Duration::from_millis(header.deadline_ms.into());
    Ok(Ctx {
        peer: peer.clone(),
        source,
        topic: topic.clone(),
        trace,
        context,
        expires,
        cancellation,
    })
}

/// Who handles a message: found once, when it arrives.
struct Found {
    running: Arc<Running>,
    handler: Arc<Handler>,
}

/// How the memory knows a message. One that nobody here takes is refused, whatever is kept of it.
fn mark(peer: &NodeId, header: &Header, found: Option<&Found>) -> Mark {
    let keep = |found: &Found| Keep::of(header.kind, found.handler.contract.repeat);
    Mark {
        peer: peer.clone(),
        incarnation: header.incarnation,
        id: header.id,
        patience: Duration::from_millis(header.deadline_ms.into()),
        // What nobody handles here is not begun; somebody may later, and its sender may send it again.
        keep: found.map_or(Keep::Refused, keep),
        cancellation: Cancellation::default(),
    }
}

/// The lowest bit of W3C's trace flags.
pub(super) const SAMPLED: u8 = 1;

/// Larger answers go by the bulk stream, so that they delay no other.
const BULK_FROM_BYTES: usize = 64 << 10;

fn encoded(outcome: &Outcome, question: Question) -> Option<Bytes> {
    let encoded = outcome.encode();
    if encoded.is_err() {
        tracing::error!(?question, "an outcome could not be encoded");
    }
    encoded.ok()
}
