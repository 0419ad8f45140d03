//! The sending half: picks a server, waits, and repeats only what may be repeated.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;
use tokio::sync::oneshot;
use updraft_transport::{Class, Frame, Header, Incarnation, Kind, LinkError, NodeId};

use super::{
    Address, Call, CallError, Cast, Contract, Cx, Message, MessageBody, Refusal, Repeat,
    TraceContext,
    context::Envelope,
    dispatch::{SAMPLED, Shared},
    message::{topic_of, wire_method},
    outcome::{Outcome, encode},
    pending::{Answer, Wait},
};
use crate::{
    Env,
    directory::Directory,
    planted::{Bug, is_planted},
    rows::{Board, EFFECTS_MAX},
    sometimes,
    trace::{
        Passed, StepKind,
        spans::{SpanKind, Spans},
    },
};

/// How long one attempt of a repeatable call waits before the next: ten times the slowest answer of a
/// healthy node, and well below any deadline.
const ATTEMPT: Duration = Duration::from_secs(1);

/// The pause before every server of a topic is tried again after all have refused.
const PAUSE: Duration = Duration::from_millis(20);

/// What the way to another node and back costs, in messages that this node could carry out meanwhile.
const REMOTE_COST: usize = 16;

/// How many calls of a node wait for their outcome at once; further ones are refused as busy. Enough for eight engines
/// of rows with all their effects under way, and at 1 KiB a message a few megabytes.
pub const CALLS_MAX: usize = 8 * EFFECTS_MAX;

/// A node's door to all others: [`Client`](super::Client)s send by it. Cheap to clone.
#[derive(Clone)]
pub struct Rpc {
    pub(crate) shared: Arc<Shared>,
}

/// An encoded message, ready to be sent as often as needed.
struct Letter {
    method: &'static str,
    actor: Option<Arc<str>>,
    topic: &'static str,
    contract: Contract,
    kind: Kind,
    /// Its number; see [`Rpc::renumber`].
    id: AtomicU64,
    body: Bytes,
    context: Bytes,
    trace: TraceContext,
    expires: Duration,
}

impl Rpc {
    /// The environment.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    /// Who runs what.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    /// Where the engines of this node show their alarms, for its vitals.
    #[must_use]
    pub fn alarms(&self) -> &Board {
        self.shared.vitals.alarms()
    }

    /// This node.
    #[must_use]
    pub fn local(&self) -> &NodeId {
        &self.shared.transport.local().node
    }

    /// How often this node has started.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// Keeps the spans of requests from now on, for whoever exports them.
    #[must_use]
    pub fn spans(&self) -> Spans {
        self.shared.spans.get_or_init(|| Spans::new(&self.shared.env)).clone()
    }

    /// The calls of this node that wait for their outcome now, each with the node that it waits for: for finding out why
    /// nothing goes on.
    #[must_use]
    pub fn waits(&self) -> Vec<(NodeId, Wait)> {
        self.shared.pending.waits()
    }

    /// Whether this message of a peer has come here and has not ended.
    #[must_use]
    pub fn is_under_way(&self, peer: &NodeId, id: u64) -> bool {
        self.shared.memory.lock().is_under_way(peer, id)
    }

    pub(crate) async fn call<M: Call>(
        &self,
        to: &Address,
        message: &M,
        cx: &Cx,
    ) -> Result<M::Reply, CallError> {
        let mut trace = cx.trace;
        let span = self.shared.open(SpanKind::Client, &mut trace, M::METHOD, None);
        let outcome = self.ask(to, message, cx, trace).await;
        self.shared.vitals.asked(M::METHOD, &outcome);
        if let Some(span) = span {
            span.asked(&outcome);
        }
        outcome
    }

    async fn ask<M: Call>(
        &self,
        to: &Address,
        message: &M,
        cx: &Cx,
        trace: TraceContext,
    ) -> Result<M::Reply, CallError> {
        let letter = self.letter::<M>(Kind::Call, to, message, cx, trace)?;
        // By the control stream a node says that it lives and keeps what it has; others' work never stops that.
        let room = (M::CONTRACT.class != Class::Control).then(|| self.shared.calls.try_acquire());
        if let Some(Err(_)) = room {
            return Err(letter.refused(Refusal::Busy(format!("this node, {}", self.local()))));
        }
        let mut asked = Asked { rpc: self, letter: &letter, nodes: SmallVec::new(), doubt: false };
        let outcome = tokio::select! {
            biased;
            () = cx.cancelled() => return Err(asked.unwanted()),
            outcome = self.exchange(&letter, to, &mut asked) => outcome?,
        };
        match outcome {
            Outcome::Reply(bytes) => {
                self.record_reply(&letter, cx);
                M::Reply::from_bytes(&bytes).map_err(|error| CallError::Unknown {
                    method: M::METHOD,
                    reason: format!("reply: {error}"),
                })
            }
            Outcome::Rejected(fault) => Err(CallError::Rejected(fault)),
            Outcome::Refused(refusal) => Err(letter.refused(refusal)),
            Outcome::Unknown(reason) => Err(CallError::Unknown { method: M::METHOD, reason }),
        }
    }

    pub(super) fn cast<M: Cast>(
        &self,
        to: &Address,
        message: &M,
        cx: &Cx,
    ) -> Result<(), CallError> {
        let mut trace = cx.trace;
        let span = self.shared.open(SpanKind::Producer, &mut trace, M::METHOD, None);
        let letter = self.letter::<M>(Kind::Cast, to, message, cx, trace);
        let outcome = letter.and_then(|letter| self.tell(&letter, to));
        self.shared.vitals.asked(M::METHOD, &outcome);
        if let Some(span) = span {
            span.asked(&outcome);
        }
        outcome
    }

    fn tell(&self, letter: &Letter, to: &Address) -> Result<(), CallError> {
        let mut refusal = letter.no_route();
        let (now, mut tried) = (self.env().now(), BTreeSet::new());
        while let Some(node) = self.candidate(letter, to, &tried, now) {
            match self.send(letter, &node, now) {
                Ok(()) => return Ok(()),
                Err(error) => refusal = refusal_of(error),
            }
            tried.insert(node);
        }
        Err(letter.refused(refusal))
    }

    pub(super) fn fanout<M: Cast>(&self, message: &M, cx: &Cx) -> Result<usize, CallError> {
        let mut trace = cx.trace;
        let span = self.shared.open(SpanKind::Producer, &mut trace, M::METHOD, None);
        let letter = self.letter::<M>(Kind::Cast, &Address::any(), message, cx, trace);
        let outcome = letter.map(|letter| {
            let (now, members) = (self.env().now(), self.shared.directory.servers_of::<M>());
            members.iter().filter(|node| self.send(&letter, node, now).is_ok()).count()
        });
        if let Some(span) = span {
            span.asked(&outcome);
        }
        outcome
    }

    /// An answer is a step of the flow like the question.
    fn record_reply(&self, letter: &Letter, cx: &Cx) {
        if !letter.trace.is_of_a_request() {
            return;
        }
        self.shared.tracer.record_passed(Passed {
            trace_id: letter.trace.trace_id,
            at: self.env().wall(),
            kind: StepKind::Reply,
            name: letter.method,
            from: None,
            to: cx.source.clone(),
            to_node: self.local().clone(),
        });
    }

    fn letter<M: Message>(
        &self,
        kind: Kind,
        to: &Address,
        message: &M,
        cx: &Cx,
        trace: TraceContext,
    ) -> Result<Letter, CallError> {
        let refused = |error: postcard::Error| CallError::Refused {
            method: M::METHOD,
            refusal: Refusal::TooLarge(format!("not encoded: {error}")),
        };
        let body = message.to_bytes().map_err(refused)?;
        let envelope = Envelope { source: &cx.source, context: &cx.context };
        let context = encode(&envelope).map_err(refused)?;
        let limit = self.env().now() + M::CONTRACT.deadline;
        Ok(Letter {
            method: M::METHOD,
            actor: to.actor.clone(),
            topic: topic_of::<M>(),
            contract: M::CONTRACT,
            kind,
            id: AtomicU64::new(self.shared.next_id()),
            body,
            context,
            trace,
            expires: cx.expires.map_or(limit, |expires| expires.min(limit)),
        })
    }

    /// The server to try next: the better of two by chance. To ask the least busy of all would send everybody to the same
    /// one ("The power of two choices in randomized load balancing", Mitzenmacher 2001).
    fn candidate(
        &self,
        letter: &Letter,
        to: &Address,
        tried: &BTreeSet<NodeId>,
        now: Duration,
    ) -> Option<NodeId> {
        let (directory, contract) = (&self.shared.directory, &letter.contract);
        // Once tried it is no candidate until the pause is over: a refusal can come without any wait.
        let untried = |node: &NodeId| !tried.contains(node);
        if let Some(server) = &to.server {
            let fits = untried(server) && directory.may_serve(server, contract);
            return fits.then(|| server.clone());
        }
        let (cell, rng) = (to.cell.as_deref(), &mut *self.shared.rng.lock());
        match directory.two_servers(letter.topic, contract, cell, untried, now, rng) {
            [Some(one), Some(other)] if self.cost(&other) < self.cost(&one) => Some(other.0),
            [one, _] => one.map(|(node, _)| node),
        }
    }

    /// How much a node has to do, in messages: by its own word, and what this node has asked it since.
    fn cost(&self, (node, load): &(NodeId, usize)) -> usize {
        let way = if node == self.local() { 0 } else { REMOTE_COST };
        load.saturating_add(self.shared.pending.at(node)).saturating_add(way)
    }

    fn send(&self, letter: &Letter, node: &NodeId, now: Duration) -> Result<(), LinkError> {
        let frame = Frame { header: self.header(letter, now), body: letter.body.clone() };
        self.shared.transport.send(node, letter.contract.class, frame)
    }

    /// Tells a node that nobody waits for the call any more: on the same stream, so that it never overtakes it.
    fn cancel(&self, letter: &Letter, node: &NodeId) -> Result<(), LinkError> {
        let (method, context) = (ByteString::new(), Bytes::new());
        let header =
            Header { kind: Kind::Cancel, method, context, ..self.header(letter, self.env().now()) };
        let frame = Frame { header, body: Bytes::new() };
        self.shared.transport.send(node, letter.contract.class, frame)
    }

    fn header(&self, letter: &Letter, now: Duration) -> Header {
        let left = letter.expires.saturating_sub(now);
        Header {
            kind: letter.kind,
            method: wire_method(letter.method, letter.actor.as_deref()),
            id: letter.id(),
            incarnation: self.shared.incarnation,
            deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            trace_id: letter.trace.trace_id,
            span_id: letter.trace.span_id,
            trace_flags: if letter.trace.sampled { SAMPLED } else { 0 },
            context: letter.context.clone(),
        }
    }

    /// Sends until there is an outcome, or patience ends.
    async fn exchange(
        &self,
        letter: &Letter,
        to: &Address,
        asked: &mut Asked<'_>,
    ) -> Result<Outcome, CallError> {
        let mut tried = BTreeSet::new();
        let (mut refusal, mut doubt) = (None, None);
        loop {
            let now = self.env().now();
            if now >= letter.expires {
                return Err(letter.gave_up(doubt, refusal));
            }
            let Some(node) = self.candidate(letter, to, &tried, now) else {
                if tried.is_empty() {
                    return Err(letter.gave_up(doubt, refusal));
                }
                tried.clear();
                self.env().sleep(PAUSE).await;
                continue;
            };
            match self.attempt(letter, &node, now, asked).await {
                Attempt::Outcome(Outcome::Refused(why)) if letter.may_pass_later(&why) => {
                    refusal = Some(why);
                    self.renumber(letter);
                }
                Attempt::Outcome(Outcome::Unknown(why))
                    if letter.contract.repeat == Repeat::Fenced =>
                {
                    sometimes!(true, "a call with an unknown end is sent again, fenced");
                    doubt = Some(why);
                }
                // One attempt that was certainly not begun says nothing of those before it.
                Attempt::Outcome(Outcome::Refused(why)) if doubt.is_some() => {
                    sometimes!(true, "a call that may have been begun is refused elsewhere");
                    return Err(letter.gave_up(doubt, Some(why)));
                }
                Attempt::Outcome(outcome) => return Ok(outcome),
                Attempt::NotSent(why) => refusal = Some(why),
                Attempt::Silent(why)
                    if letter.contract.repeat == Repeat::Never
                        && !is_planted(Bug::NonIdempotentCallRetried) =>
                {
                    sometimes!(true, "a call that must not be repeated has an unknown end");
                    return Err(CallError::Unknown { method: letter.method, reason: why });
                }
                Attempt::Silent(why) => {
                    doubt = Some(why);
                    if letter.contract.repeat == Repeat::Deduplicated {
                        return self.insist(letter, &node, doubt, asked).await;
                    }
                }
            }
            tried.insert(node);
        }
    }

    /// A call that is begun once at most is another message after each refusal: a copy of the one before it is known by
    /// its number to whoever has refused it.
    fn renumber(&self, letter: &Letter) {
        if letter.contract.repeat == Repeat::Never {
            letter.id.store(self.shared.next_id(), Ordering::Relaxed);
        }
    }

    /// Repeats a deduplicated call to the one server that may have begun it.
    async fn insist(
        &self,
        letter: &Letter,
        node: &NodeId,
        mut doubt: Option<String>,
        asked: &mut Asked<'_>,
    ) -> Result<Outcome, CallError> {
        loop {
            let now = self.env().now();
            if now >= letter.expires {
                return Err(letter.gave_up(doubt, Some(Refusal::Expired)));
            }
            match self.attempt(letter, node, now, asked).await {
                Attempt::Outcome(Outcome::Refused(_)) | Attempt::NotSent(_) => {
                    self.env().sleep(PAUSE).await;
                }
                Attempt::Outcome(outcome) => return Ok(outcome),
                Attempt::Silent(why) => doubt = Some(why),
            }
        }
    }

    async fn attempt(
        &self,
        letter: &Letter,
        node: &NodeId,
        now: Duration,
        asked: &mut Asked<'_>,
    ) -> Attempt {
        let (sender, receiver) = oneshot::channel();
        let _pending = self.shared.pending.expect(letter.wait(now), node, letter.contract, sender);
        if let Err(error) = self.send(letter, node, now) {
            return Attempt::NotSent(refusal_of(error));
        }
        asked.add(node);
        let left = letter.expires.saturating_sub(now);
        let patience =
            if letter.contract.repeat == Repeat::Never { left } else { left.min(ATTEMPT) };
        let heard = self.env().timeout(patience, receiver).await;
        if heard.is_some() || patience == left {
            // It has answered, or its connection is gone, or it knows itself that the deadline has passed.
            asked.remove(node);
        }
        asked.doubt |= !matches!(&heard, Some(Ok(Answer::Outcome(Outcome::Refused(_)))));
        match heard {
            Some(Ok(Answer::Outcome(outcome))) => Attempt::Outcome(outcome),
            Some(Ok(Answer::Lost(reason))) => Attempt::Silent(reason),
            Some(Err(_)) => Attempt::Silent("this node is shutting down".to_owned()),
            None => {
                Attempt::Silent(format!("no answer from {node} in {} ms", patience.as_millis()))
            }
        }
    }
}

/// Who may be at work on a call. When it ends without their answers, they are told that nobody waits for them.
struct Asked<'a> {
    rpc: &'a Rpc,
    letter: &'a Letter,
    nodes: SmallVec<[NodeId; 2]>,
    /// Somebody may have carried it out, and does not work on it any more.
    doubt: bool,
}

impl Asked<'_> {
    fn add(&mut self, node: &NodeId) {
        if !self.nodes.contains(node) {
            self.nodes.push(node.clone());
        }
    }

    fn remove(&mut self, node: &NodeId) {
        self.nodes.retain(|asked| asked != node);
    }

    /// How the call ends when its own caller stops waiting.
    fn unwanted(&self) -> CallError {
        if self.nodes.is_empty() && !self.doubt {
            return self.letter.refused(Refusal::Cancelled);
        }
        let reason = "its caller stopped waiting".to_owned();
        CallError::Unknown { method: self.letter.method, reason }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        for node in &self.nodes {
            // Who cannot be told goes on until the deadline that it knows.
            let _ = self.rpc.cancel(self.letter, node);
        }
    }
}

enum Attempt {
    Outcome(Outcome),
    NotSent(Refusal),
    Silent(String),
}

impl Letter {
    fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// The call as it waits from now on.
    fn wait(&self, since: Duration) -> Wait {
        let Self { method, trace: TraceContext { trace_id, .. }, expires, .. } = *self;
        Wait { method, id: self.id(), trace_id, since, expires }
    }

    /// Whether another server, or the same one later, may take the message. A spawned actor that is gone does not
    /// come back.
    fn may_pass_later(&self, why: &Refusal) -> bool {
        match why {
            Refusal::Busy(_) | Refusal::GoingAway(_) => true,
            Refusal::NoRoute(_) => self.actor.is_none(),
            _ => false,
        }
    }

    fn no_route(&self) -> Refusal {
        Refusal::NoRoute(self.topic.to_owned())
    }

    fn refused(&self, refusal: Refusal) -> CallError {
        CallError::Refused { method: self.method, refusal }
    }

    fn gave_up(&self, doubt: Option<String>, refusal: Option<Refusal>) -> CallError {
        match doubt {
            Some(reason) if !is_planted(Bug::UnknownToldAsRefused) => {
                CallError::Unknown { method: self.method, reason }
            }
            _ => self.refused(refusal.unwrap_or_else(|| self.no_route())),
        }
    }
}

fn refusal_of(error: LinkError) -> Refusal {
    match error {
        LinkError::NoRoute(node) | LinkError::NotConnected(node) => {
            Refusal::NoRoute(node.to_string())
        }
        LinkError::Busy(node) => Refusal::Busy(node.to_string()),
        LinkError::TooLarge { .. } => Refusal::TooLarge(error.to_string()),
        LinkError::BadHeader(_) | LinkError::NoBodies { .. } => {
            Refusal::NotUnderstood(error.to_string())
        }
        LinkError::Closing => Refusal::GoingAway("this node".to_owned()),
    }
}
