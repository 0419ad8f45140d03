//! The side that wants actors run elsewhere.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use updraft_transport::NodeId;
use uuid::Uuid;

use super::{End, HostTime, LEASE, LEASE_MARGIN, Life, RENEW, Renew, Spawn, Spawning, TOPIC, Time};
use crate::{
    Env,
    env::BoxFuture,
    rpc::{Address, CallError, Client, Cx, Rpc, TraceContext},
    supervise::{Child, Started},
};

/// Why there is no actor. When this is said, none of what was asked for runs any more.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// What it is made from cannot be encoded.
    #[error("what the actor is made from cannot be sent: {0}")]
    Arguments(#[from] postcard::Error),
    /// The host said no, was not asked, or did not say; in the last case its lease has passed.
    #[error("no actor was started on {host}: {source}")]
    Host {
        /// The host.
        host: NodeId,
        /// What it said.
        source: CallError,
    },
}

/// An actor on another node, as its owner sees it. Dropped, it is let go: its lease passes, and it ends.
pub struct RemoteActor {
    rpc: Rpc,
    host: NodeId,
    id: Uuid,
    address: Address,
    ended: watch::Receiver<Option<String>>,
    /// Ends the renewals.
    _wanted: watch::Sender<()>,
}

/// Starts an actor of this kind on a host, made from `args`. Answers when it runs, or when it is certain that it does
/// not, which after a silent host takes until its lease has passed.
pub async fn spawn(
    rpc: &Rpc,
    host: &NodeId,
    kind: &str,
    args: &impl Serialize,
) -> Result<RemoteActor, SpawnError> {
    let args = postcard::to_stdvec(args)?.into();
    begin(rpc, host, kind, args).await
}

async fn begin(
    rpc: &Rpc,
    host: &NodeId,
    kind: &str,
    args: Bytes,
) -> Result<RemoteActor, SpawnError> {
    let (env, id) = (rpc.env(), rpc.env().uuid());
    let there = rpc.client::<Spawning>().on(host);
    let cx = Cx::new(TOPIC, TraceContext::default());
    let refused = |source| SpawnError::Host { host: host.clone(), source };
    let time = there.call(&Time, &cx).await.map_err(refused)?;
    let heard = Heard { time, at: env.now() };
    let message = Spawn { id, kind: kind.to_owned(), args, heard: heard.time };
    // Behind the lease no answer says anything.
    let outcome = there.call(&message, &cx.clone().within(env, LEASE)).await;
    if let Err(source) = outcome {
        if !matches!(source, CallError::Refused { .. }) {
            env.sleep(heard.gone_at().saturating_sub(env.now())).await;
        }
        return Err(refused(source));
    }
    let (end, ended) = watch::channel(None);
    let (wanted, unwanted) = watch::channel(());
    let keeper = Keeper { env: env.clone(), there, host: host.clone(), id, heard };
    env.spawn("lease", keeper.keep(end, unwanted));
    let address = Address::actor(host, &id.to_string());
    Ok(RemoteActor { rpc: rpc.clone(), host: host.clone(), id, address, ended, _wanted: wanted })
}

impl RemoteActor {
    /// Where it is called.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where it runs.
    #[must_use]
    pub fn host(&self) -> &NodeId {
        &self.host
    }

    /// Waits until it has certainly ended, and says why.
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "this node is ending".to_owned(),
        }
    }

    /// Ends it. `false` says that its host did not confirm that: it ends when its lease passes.
    pub async fn stop(self) -> bool {
        let cx = Cx::new(TOPIC, TraceContext::default()).within(self.rpc.env(), LEASE);
        self.rpc.client::<Spawning>().on(&self.host).call(&End { id: self.id }, &cx).await.is_ok()
    }
}

/// The last time that a host has told, and when it was heard.
#[derive(Clone, Copy)]
struct Heard {
    time: HostTime,
    at: Duration,
}

impl Heard {
    /// When a lease that lasts from this has certainly passed on the host: that had told its time before it was heard.
    fn gone_at(self) -> Duration {
        self.at + LEASE + LEASE_MARGIN
    }
}

/// Renews the lease of one actor.
struct Keeper {
    env: Env,
    there: Client<Spawning>,
    host: NodeId,
    id: Uuid,
    heard: Heard,
}

impl Keeper {
    async fn keep(mut self, end: watch::Sender<Option<String>>, mut unwanted: watch::Receiver<()>) {
        let env = self.env.clone();
        let mut next = env.now() + RENEW;
        loop {
            let pause = next.saturating_sub(env.now());
            let let_go = env.timeout(pause, unwanted.changed()).await.is_some();
            if let_go {
                return;
            }
            // One that was not answered is sent again at once.
            next = env.now() + RENEW;
            if let Some(why) = self.renew().await {
                end.send_replace(Some(why));
                return;
            }
        }
    }

    /// Why it has ended, if it certainly has.
    async fn renew(&mut self) -> Option<String> {
        let cx = Cx::new(TOPIC, TraceContext::default());
        let renew = Renew { id: self.id, heard: self.heard.time };
        match self.there.call(&renew, &cx).await {
            Ok(Life::Runs(time)) => {
                self.heard = Heard { time, at: self.env.now() };
                None
            }
            Ok(Life::Ended(why)) => Some(why),
            Ok(Life::Unknown) => Some(format!("{} has started anew", self.host)),
            Err(_) if self.env.now() < self.heard.gone_at() => None,
            Err(error) => {
                Some(format!("{} is silent, and its lease has passed: {error}", self.host))
            }
        }
    }
}

/// A child whose work is done by an actor on another node: it fails when that has certainly ended, and its supervisor
/// starts another one, on the host that `place` names then. Also tells where the actor is, while it runs.
pub fn remote_child(
    rpc: &Rpc,
    name: &str,
    kind: &str,
    args: &impl Serialize,
    place: impl Fn(&Rpc) -> Option<NodeId> + Send + Sync + 'static,
) -> Result<(Child, watch::Receiver<Option<Address>>), SpawnError> {
    let args: Bytes = postcard::to_stdvec(args)?.into();
    let (told, address) = watch::channel(None);
    let stand_in = StandIn {
        rpc: rpc.clone(),
        kind: kind.to_owned(),
        args,
        place: Arc::new(place),
        told: Arc::new(told),
        stop: CancellationToken::new(),
    };
    let start = move |supervisor| -> BoxFuture<'static, Result<Started, ractor::SpawnErr>> {
        let stand_in = StandIn { stop: CancellationToken::new(), ..stand_in.clone() };
        Box::pin(async move {
            Ok(Actor::spawn_linked(None, stand_in, (), supervisor).await?.0.get_cell())
        })
    };
    let child = Child::new(name, start).stops_within(3 * (LEASE + LEASE_MARGIN));
    Ok((child, address))
}

/// Names the host for the next actor; `None` if there is none now.
type PlaceOn = Arc<dyn Fn(&Rpc) -> Option<NodeId> + Send + Sync>;

/// The local actor whose life is that of the remote one.
#[derive(Clone)]
struct StandIn {
    rpc: Rpc,
    kind: String,
    args: Bytes,
    place: PlaceOn,
    told: Arc<watch::Sender<Option<Address>>>,
    /// Ends what this life of the stand-in has begun.
    stop: CancellationToken,
}

impl StandIn {
    /// The host for the next actor, as soon as there is one.
    async fn host(&self) -> NodeId {
        let mut changes = self.rpc.directory().changes();
        loop {
            if let Some(host) = (self.place)(&self.rpc) {
                return host;
            }
            // News of members or none: who has come back to life is none.
            self.rpc.env().timeout(RENEW, changes.changed()).await;
        }
    }
}

enum Mail {
    Runs(Box<RemoteActor>),
    Ended(String),
}

impl Actor for StandIn {
    type Msg = Mail;
    type State = Option<RemoteActor>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Mail>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let stand_in = self.clone();
        // Not waited for: a silent host must not hold up the supervisor.
        self.rpc.env().spawn("spawn", async move {
            let begun = async {
                let host = stand_in.host().await;
                begin(&stand_in.rpc, &host, &stand_in.kind, stand_in.args.clone()).await
            };
            let outcome = tokio::select! {
                biased;
                () = stand_in.stop.cancelled() => return,
                outcome = begun => outcome,
            };
            let mail = match outcome {
                Ok(actor) => Mail::Runs(Box::new(actor)),
                Err(error) => Mail::Ended(error.to_string()),
            };
            // If the stand-in has ended meanwhile, the actor's lease passes.
            let _ = myself.cast(mail);
        });
        Ok(None)
    }

    async fn post_stop(
        &self,
        _: ActorRef<Mail>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        self.told.send_replace(None);
        self.stop.cancel();
        // Who is started after this shall be alone: an end that is not confirmed is waited for.
        let confirmed = match state.take() {
            Some(actor) => actor.stop().await,
            None => false,
        };
        if !confirmed {
            self.rpc.env().sleep(LEASE + LEASE_MARGIN).await;
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail>,
        mail: Mail,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match mail {
            Mail::Runs(actor) => {
                let mut ended = actor.ended.clone();
                self.told.send_replace(Some(actor.address.clone()));
                self.rpc.env().spawn("remote end", async move {
                    let why = match ended.wait_for(Option::is_some).await {
                        Ok(why) => why.clone().unwrap_or_default(),
                        Err(_) => return,
                    };
                    // As above.
                    let _ = myself.cast(Mail::Ended(why));
                });
                *state = Some(*actor);
                Ok(())
            }
            Mail::Ended(why) => {
                self.told.send_replace(None);
                Err(why.into())
            }
        }
    }
}
