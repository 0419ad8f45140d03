//! What handles the messages of a topic on one node: a supervised actor with a bounded mailbox.
//!
//! The actor begins each message, and gives those whose handlers wait to tasks of their own, so that no handler holds
//! up the mailbox; it fails, and its supervisor starts it anew, when a handler panics. What waits then is begun by the
//! next one. It is woken once for all that waits, and most handlers end where they begin.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, SpawnErr};
use updraft_transport::{
    Role,
    wire::{BULK_MAX_BYTES, HEADER_MAX_BYTES},
};

use super::{
    BelongsTo, Call, Cast, Contract, Ctx, Fault, FaultKind, Message, MessageBody, Protocol,
    Refusal, Topic, dispatch::Begun, outcome::Outcome,
};
use crate::{
    Env,
    env::BoxFuture,
    planted::{Bug, is_planted},
    sometimes,
    supervise::{Child, Started},
    vitals::{Handled, Vitals},
};

/// How many messages a service has begun or queued at once; more are refused as busy. Enough for a burst
/// of 200 servers with a few messages each, and at 1 MiB a message still bounded memory.
pub const MAILBOX_MAX: usize = 1_024;

/// Messages for which a mailbox keeps its memory when it is empty: a burst comes seldom, and there are many services.
const BATCH_KEEP: usize = 64;

/// Messages begun before the rest of the node has its turn: sockets and beats wait no longer than so many first steps.
const BREATH: usize = 32;

/// The largest reply, in bytes of its encoding: what a frame holds beside its header and the outcome's own few bytes. What
/// may be larger is a [body](crate::bulk).
pub const REPLY_MAX_BYTES: usize = BULK_MAX_BYTES - HEADER_MAX_BYTES - OUTCOME_MAX_BYTES;

/// What an outcome adds to a reply at most: its kind and a length.
const OUTCOME_MAX_BYTES: usize = 16;

type Begin = Arc<dyn Fn(Ctx, Bytes) -> Result<BoxFuture<'static, Outcome>, Refusal> + Send + Sync>;

/// One method of a service.
struct Method {
    contract: Contract,
    begin: Begin,
}

/// What a node runs for a topic, made from its [`Handlers`].
pub struct Service {
    topic: Topic,
    methods: BTreeMap<&'static str, Method>,
}

impl Service {
    /// Begins with no handlers.
    #[must_use]
    pub fn of<P: Protocol>() -> Handlers<P> {
        Handlers { service: Self::empty(P::TOPIC), protocol: PhantomData }
    }

    /// A service that handles nothing, of a topic that may be known at run time only: what it tells is that it is
    /// here.
    #[must_use]
    pub fn empty(topic: &str) -> Self {
        Self { topic: Topic::new(topic), methods: BTreeMap::new() }
    }

    /// The topic it serves.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The first method that a node with these roles may not serve, and which roles may.
    pub(crate) fn out_of_reach(
        &self,
        roles: &BTreeSet<Role>,
    ) -> Option<(&'static str, &'static [&'static str])> {
        let mut methods = self.methods.iter();
        let denied = methods.find(|(_, method)| !method.contract.may_be_served_by(roles));
        denied.map(|(name, method)| (*name, method.contract.servers))
    }
}

/// The handlers of a topic's messages, on their way to become a [`Service`]. One of another topic's message does not
/// compile.
pub struct Handlers<P> {
    service: Service,
    protocol: PhantomData<fn() -> P>,
}

impl<P> From<Handlers<P>> for Service {
    fn from(handlers: Handlers<P>) -> Self {
        handlers.service
    }
}

impl<P: Protocol> Handlers<P> {
    /// Adds the handler of a call.
    #[must_use]
    pub fn call<M, F, R>(self, handler: F) -> Self
    where
        M: Call + BelongsTo<P>,
        F: Fn(Ctx, M) -> R + Send + Sync + 'static,
        R: Future<Output = Result<M::Reply, Fault>> + Send + 'static,
    {
        let begin: Begin = Arc::new(move |ctx, body| {
            let work = handler(ctx, decode::<M>(&body)?);
            Ok(Box::pin(async move {
                match work.await {
                    Ok(reply) => encode_reply(M::METHOD, &reply),
                    Err(fault) => Outcome::Rejected(fault),
                }
            }))
        });
        self.with::<M>(begin)
    }

    /// Adds the handler of a cast; its error goes to the log alone.
    #[must_use]
    pub fn cast<M, F, R>(self, handler: F) -> Self
    where
        M: Cast + BelongsTo<P>,
        F: Fn(Ctx, M) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let begin: Begin = Arc::new(move |ctx, body| {
            let work = handler(ctx, decode::<M>(&body)?);
            Ok(Box::pin(async move {
                if let Err(fault) = work.await {
                    tracing::info!(method = M::METHOD, %fault, "a cast was not carried out");
                }
                Outcome::Reply(Bytes::new())
            }))
        });
        self.with::<M>(begin)
    }

    fn with<M: Message>(mut self, begin: Begin) -> Self {
        let method = Method { contract: M::CONTRACT, begin };
        self.service.methods.insert(M::METHOD, method);
        self
    }
}

fn decode<M: Message>(body: &[u8]) -> Result<M, Refusal> {
    M::from_bytes(body).map_err(|error| Refusal::NotUnderstood(format!("{}: {error}", M::METHOD)))
}

fn encode_reply(method: &'static str, reply: &impl MessageBody) -> Outcome {
    match reply.to_bytes() {
        Ok(bytes) if bytes.len() > REPLY_MAX_BYTES => {
            Outcome::Rejected(too_large(method, bytes.len()))
        }
        Ok(bytes) => Outcome::Reply(bytes),
        Err(error) => Outcome::Rejected(Fault::internal(format!("reply not encoded: {error}"))),
    }
}

fn too_large(method: &str, bytes: usize) -> Fault {
    let why = format!(
        "the reply to {method} has {bytes} bytes, and at most {REPLY_MAX_BYTES} are sent: reply in parts, or offer a body"
    );
    Fault::new(FaultKind::OverLimit, "ReplyTooLarge", why)
}

/// One method of a service that runs.
pub(super) struct Handler {
    pub(super) name: &'static str,
    pub(super) contract: Contract,
    begin: Begin,
    counted: Arc<Handled>,
}

/// One admitted message.
struct Work {
    handler: Arc<Handler>,
    ctx: Ctx,
    body: Bytes,
    begun: Begun,
    place: Place,
}

/// What the actor hears.
enum Mail {
    /// Messages wait.
    Wake,
    Panicked(&'static str),
}

#[derive(Default)]
struct Mailbox {
    waiting: Vec<Work>,
    actor: Option<ActorRef<Mail>>,
}

/// A service that runs, as the dispatcher sees it.
pub(crate) struct Running {
    /// Under what it is found.
    topic: Topic,
    handlers: BTreeMap<&'static str, Arc<Handler>>,
    mailbox: Mutex<Mailbox>,
    /// Messages begun or waiting.
    depth: Arc<AtomicUsize>,
    env: Env,
}

/// A message's place among those that a service has begun or that wait.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn among(depth: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(depth.clone());
        let depth = depth.fetch_add(1, Ordering::Relaxed);
        sometimes!(depth >= MAILBOX_MAX, "a mailbox is full");
        (depth < MAILBOX_MAX || is_planted(Bug::MailboxWithoutLimit)).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Running {
    pub(super) fn new(env: &Env, vitals: &Vitals, topic: Topic, service: Service) -> Arc<Self> {
        let handler = |(name, Method { contract, begin })| {
            let counted = vitals.handled(name);
            (name, Arc::new(Handler { name, contract, begin, counted }))
        };
        Arc::new(Self {
            topic,
            handlers: service.methods.into_iter().map(handler).collect(),
            mailbox: Mutex::default(),
            depth: Arc::default(),
            env: env.clone(),
        })
    }

    /// What its supervisor starts.
    pub(super) fn child(self: &Arc<Self>) -> Child {
        let running = self.clone();
        Child::new(self.topic.as_str(), move |supervisor| {
            let running = running.clone();
            Box::pin(async move { running.start(supervisor).await })
        })
    }

    async fn start(self: Arc<Self>, supervisor: ActorCell) -> Result<Started, SpawnErr> {
        let (actor, _) = Actor::spawn_linked(None, ServiceActor, self.clone(), supervisor).await?;
        let cell = actor.get_cell();
        let mut mailbox = self.mailbox.lock();
        sometimes!(
            !mailbox.waiting.is_empty(),
            "an actor that starts finds messages that wait for it"
        );
        // What waited for the one before it.
        if !mailbox.waiting.is_empty() && !is_planted(Bug::LostWakeUp) {
            // One that has ended already is started anew.
            let _ = actor.cast(Mail::Wake);
        }
        mailbox.actor = Some(actor);
        Ok(cell)
    }

    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Messages begun or waiting.
    pub(super) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// Waits until its actor, if it runs, has ended.
    pub(super) async fn ended(&self) {
        let actor = self.mailbox.lock().actor.clone();
        if let Some(actor) = actor {
            // Without a limit there is no error.
            let _ = actor.wait(None).await;
        }
    }

    pub(super) fn handler(&self, name: &str) -> Option<&Arc<Handler>> {
        self.handlers.get(name)
    }

    /// Puts a message into the mailbox, or says why not.
    pub(super) fn admit(
        &self,
        handler: Arc<Handler>,
        ctx: Ctx,
        body: Bytes,
        begun: Begun,
    ) -> Result<(), Refusal> {
        let mut mailbox = self.mailbox.lock();
        let Some(place) = self.place_in(&mailbox) else {
            let busy = Refusal::Busy(self.topic.to_string());
            begun.turned_away(&busy);
            return Err(busy);
        };
        mailbox.waiting.push(Work { handler, ctx, body, begun, place });
        Ok(())
    }

    /// Room for one more message, of which the actor has been told.
    fn place_in(&self, mailbox: &Mailbox) -> Option<Place> {
        let place = Place::among(&self.depth)?;
        let live = |actor: &&ActorRef<Mail>| actor.get_status() < ActorStatus::Draining;
        let actor = mailbox.actor.as_ref().filter(live)?;
        let told = !mailbox.waiting.is_empty() || actor.cast(Mail::Wake).is_ok();
        told.then_some(place)
    }
}

struct ServiceActor;

/// A service's actor at work.
struct AtWork {
    running: Arc<Running>,
    /// What it begins, and an empty one else: its memory is used again.
    batch: Vec<Work>,
}

impl Actor for ServiceActor {
    type Msg = Mail;
    type State = AtWork;
    type Arguments = Arc<Running>;

    async fn pre_start(
        &self,
        _myself: ActorRef<Mail>,
        running: Arc<Running>,
    ) -> Result<AtWork, ActorProcessingErr> {
        Ok(AtWork { running, batch: Vec::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail>,
        mail: Mail,
        AtWork { running, batch }: &mut AtWork,
    ) -> Result<(), ActorProcessingErr> {
        if let Mail::Panicked(method) = mail {
            return Err(format!("a handler of {method} panicked").into());
        }
        std::mem::swap(batch, &mut running.mailbox.lock().waiting);
        for (begun, work) in batch.drain(..).enumerate() {
            if begun % BREATH == BREATH - 1 {
                tokio::task::yield_now().await;
            }
            if let Some(rest) = begin(&running.env, &myself, work) {
                rest.await;
            }
        }
        batch.shrink_to(BATCH_KEEP);
        Ok(())
    }
}

/// A message that its handler works on.
struct InHand {
    env: Env,
    myself: ActorRef<Mail>,
    handler: Arc<Handler>,
    began: Duration,
    begun: Begun,
    place: Place,
}

impl InHand {
    /// Tells how it ended; `None` if its handler panicked.
    fn ended(self, outcome: Option<Outcome>) {
        let Self { env, myself, handler, began, begun, place } = self;
        let outcome = outcome.unwrap_or_else(|| {
            tracing::error!(method = handler.name, "a handler panicked");
            // The supervisor hears of it through the actor's own failure.
            let _ = myself.cast(Mail::Panicked(handler.name));
            Outcome::Unknown("its handler ended without an answer".to_owned())
        });
        drop(place);
        handler.counted.ended(&outcome, env.now().saturating_sub(began));
        begun.end(&outcome);
    }
}

fn begin(env: &Env, myself: &ActorRef<Mail>, work: Work) -> Option<BoxFuture<'static, ()>> {
    let Work { handler, ctx, body, begun, place } = work;
    let (trace, began) = (ctx.trace, env.now());
    let first_step = AssertUnwindSafe(|| handler.first_step(ctx, body, began));
    let step = trace.scope_now(|| catch_unwind(first_step));
    let in_hand = InHand { env: env.clone(), myself: myself.clone(), handler, began, begun, place };
    match step {
        Ok(Step::Ended(outcome)) => in_hand.ended(Some(outcome)),
        Ok(Step::Waits(future)) => {
            let rest = async move {
                let outcome = AssertUnwindSafe(future).catch_unwind().await;
                in_hand.ended(outcome.ok());
            };
            if is_planted(Bug::MailboxDeadlock) {
                return Some(Box::pin(trace.scope(rest)));
            }
            env.spawn("handler", trace.scope(rest));
        }
        Err(_) => in_hand.ended(None),
    }
    None
}

/// How far a message came at its begin.
enum Step {
    Ended(Outcome),
    Waits(BoxFuture<'static, Outcome>),
}

impl Handler {
    /// Begins a message, and goes on with it until it waits.
    fn first_step(&self, ctx: Ctx, body: Bytes, now: Duration) -> Step {
        if now >= ctx.expires {
            return Step::Ended(Outcome::Refused(Refusal::Expired));
        }
        if ctx.is_cancelled() {
            return Step::Ended(Outcome::Refused(Refusal::Cancelled));
        }
        tracing::debug!(method = self.name, from = %ctx.peer.node, "a message");
        let mut future = match (self.begin)(ctx, body) {
            Ok(future) => future,
            Err(refusal) => return Step::Ended(Outcome::Refused(refusal)),
        };
        match future.as_mut().now_or_never() {
            Some(outcome) => Step::Ended(outcome),
            None => Step::Waits(future),
        }
    }
}
