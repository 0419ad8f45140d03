//! What handles the messages of a topic on one node: a supervised actor with a bounded mailbox.
//!
//! The actor begins each message in a child task, so that no handler holds up the mailbox; it fails,
//! and its supervisor starts it anew, when a handler panics.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    marker::PhantomData,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use updraft_transport::Role;

use super::{
    BelongsTo, Body, Call, Cast, Contract, Ctx, Fault, Message, Protocol, Refusal, Topic,
    outcome::Outcome,
};
use crate::{
    Env,
    env::BoxFuture,
    supervise::{Child, Started},
    vitals::{Handled, Vitals},
};

/// How many messages a service has begun or queued at once; more are refused as busy. Enough for a burst
/// of 200 servers with a few messages each, and at 1 MiB a message still bounded memory.
pub const MAILBOX_MAX: usize = 1_024;

type Begin = Arc<dyn Fn(Ctx, Bytes) -> Result<BoxFuture<'static, Outcome>, Refusal> + Send + Sync>;

/// One method of a service.
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) contract: Contract,
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

    /// Whether a node with these roles may serve all of it.
    pub(crate) fn may_run_with(&self, roles: &BTreeSet<Role>) -> bool {
        self.methods.values().all(|method| method.contract.may_be_served_by(roles))
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
                    Ok(reply) => encode_reply(&reply),
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
        let method = Method { name: M::METHOD, contract: M::CONTRACT, begin };
        self.service.methods.insert(M::METHOD, method);
        self
    }
}

fn decode<M: Message>(body: &[u8]) -> Result<M, Refusal> {
    M::from_bytes(body).map_err(|error| Refusal::NotUnderstood(format!("{}: {error}", M::METHOD)))
}

fn encode_reply(reply: &impl Body) -> Outcome {
    match reply.to_bytes() {
        Ok(bytes) => Outcome::Reply(bytes),
        Err(error) => Outcome::Rejected(Fault::internal(format!("reply not encoded: {error}"))),
    }
}

/// Called once with how a message ended.
pub(super) type Finish = Box<dyn FnOnce(Outcome) + Send>;

/// One admitted message.
pub(super) struct Work {
    method: &'static str,
    ctx: Ctx,
    body: Bytes,
    finish: Finish,
    permit: OwnedSemaphorePermit,
}

enum Mail {
    Work(Box<Work>),
    Panicked(&'static str),
}

/// A service that runs, as the dispatcher sees it.
pub(crate) struct Running {
    /// Under what it is found.
    topic: Topic,
    service: Arc<Service>,
    permits: Arc<Semaphore>,
    actor: Mutex<Option<ActorRef<Mail>>>,
    env: Env,
    /// What is counted of each method.
    counted: BTreeMap<&'static str, Arc<Handled>>,
}

impl Running {
    pub(super) fn new(env: &Env, vitals: &Vitals, topic: Topic, service: Service) -> Arc<Self> {
        let counted = service.methods.keys().map(|name| (*name, vitals.handled(name))).collect();
        Arc::new(Self {
            counted,
            topic,
            service: Arc::new(service),
            permits: Arc::new(Semaphore::new(MAILBOX_MAX)),
            actor: Mutex::new(None),
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
        *self.actor.lock() = Some(actor.clone());
        Ok(actor.get_cell())
    }

    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Messages begun or queued.
    pub(super) fn depth(&self) -> usize {
        MAILBOX_MAX - self.permits.available_permits()
    }

    /// Waits until its actor, if it runs, has ended.
    pub(super) async fn ended(&self) {
        let actor = self.actor.lock().clone();
        if let Some(actor) = actor {
            // Without a limit there is no error.
            let _ = actor.wait(None).await;
        }
    }

    pub(super) fn method(&self, name: &str) -> Option<&Method> {
        self.service.methods.get(name)
    }

    /// Puts a message into the mailbox, or says why not and hands `finish` back.
    pub(super) fn admit(
        &self,
        method: &'static str,
        ctx: Ctx,
        body: Bytes,
        finish: Finish,
    ) -> Result<(), (Refusal, Finish)> {
        let topic = || self.topic.to_string();
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return Err((Refusal::Busy(topic()), finish));
        };
        let Some(actor) = self.actor.lock().clone() else {
            return Err((Refusal::Busy(topic()), finish));
        };
        let work = Work { method, ctx, body, finish, permit };
        match actor.cast(Mail::Work(Box::new(work))) {
            Ok(()) => Ok(()),
            Err(ractor::MessagingErr::SendErr(Mail::Work(work))) => {
                Err((Refusal::Busy(topic()), work.finish))
            }
            Err(error) => Err((Refusal::Busy(format!("{}: {error}", topic())), Box::new(|_| {}))),
        }
    }
}

struct ServiceActor;

impl Actor for ServiceActor {
    type Msg = Mail;
    type State = Arc<Running>;
    type Arguments = Arc<Running>;

    async fn pre_start(
        &self,
        _myself: ActorRef<Mail>,
        running: Arc<Running>,
    ) -> Result<Arc<Running>, ActorProcessingErr> {
        Ok(running)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail>,
        mail: Mail,
        running: &mut Arc<Running>,
    ) -> Result<(), ActorProcessingErr> {
        match mail {
            Mail::Work(work) => begin(running, myself, *work),
            Mail::Panicked(method) => return Err(format!("a handler of {method} panicked").into()),
        }
        Ok(())
    }
}

fn begin(running: &Running, myself: ActorRef<Mail>, work: Work) {
    let Work { method, ctx, body, finish, permit } = work;
    let counted = running.counted.get(method).cloned();
    let refuse = |refusal: Refusal, finish: Finish| {
        let outcome = Outcome::Refused(refusal);
        if let Some(counted) = &counted {
            counted.ended(&outcome, Duration::ZERO);
        }
        finish(outcome);
    };
    if running.env.now() >= ctx.expires {
        return refuse(Refusal::Expired, finish);
    }
    if ctx.is_cancelled() {
        return refuse(Refusal::Cancelled, finish);
    }
    let Some(entry) = running.method(method) else {
        return refuse(Refusal::NotUnderstood(method.to_owned()), finish);
    };
    let trace = ctx.trace;
    trace.scope_now(|| tracing::debug!(method, from = %ctx.peer.node, "a message"));
    let future = match (entry.begin)(ctx, body) {
        Ok(future) => trace.scope(future),
        Err(refusal) => return refuse(refusal, finish),
    };
    let (env, begun) = (running.env.clone(), running.env.now());
    running.env.spawn("handler", async move {
        let outcome = match AssertUnwindSafe(future).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::error!(method, "a handler panicked");
                let reason = "its handler ended without an answer".to_owned();
                // The supervisor hears of it through the actor's own failure.
                let _ = myself.cast(Mail::Panicked(method));
                Outcome::Unknown(reason)
            }
        };
        drop(permit);
        if let Some(counted) = counted {
            counted.ended(&outcome, env.now().saturating_sub(begun));
        }
        finish(outcome);
    });
}
