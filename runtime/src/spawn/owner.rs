//! The side that wants actors run elsewhere.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::Serialize;
use tokio::sync::watch;
use updraft_transport::NodeId;
use uuid::Uuid;

use super::{End, LEASE, LEASE_MARGIN, Life, RENEW, Renew, Spawn, TOPIC};
use crate::{
    env::BoxFuture,
    rpc::{Address, CallError, Cx, Rpc, TraceContext},
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
    /// No host was named.
    #[error("there is no host to start an actor on")]
    NoHost,
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
    let (to, cx) = (Address::server(host), Cx::new(TOPIC, TraceContext::default()));
    let renewed = env.now();
    let outcome = rpc.call(&to, &Spawn { id, kind: kind.to_owned(), args }, &cx).await;
    if let Err(source) = outcome {
        if matches!(source, CallError::Unknown { .. }) {
            env.sleep(LEASE + LEASE_MARGIN).await;
        }
        return Err(SpawnError::Host { host: host.clone(), source });
    }
    let (end, ended) = watch::channel(None);
    let (wanted, unwanted) = watch::channel(());
    let keeper = Keeper { rpc: rpc.clone(), to, host: host.clone(), id, renewed };
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
        self.rpc.call(&Address::server(&self.host), &End { id: self.id }, &cx).await.is_ok()
    }
}

/// Renews the lease of one actor.
struct Keeper {
    rpc: Rpc,
    to: Address,
    host: NodeId,
    id: Uuid,
    /// When the last renewal that was answered was sent: the host counts from later.
    renewed: Duration,
}

impl Keeper {
    async fn keep(mut self, end: watch::Sender<Option<String>>, mut unwanted: watch::Receiver<()>) {
        let env = self.rpc.env().clone();
        loop {
            let let_go = env.timeout(RENEW, unwanted.changed()).await.is_some();
            if let_go {
                return;
            }
            if let Some(why) = self.renew().await {
                end.send_replace(Some(why));
                return;
            }
        }
    }

    /// Why it has ended, if it certainly has.
    async fn renew(&mut self) -> Option<String> {
        let env = self.rpc.env().clone();
        let (sent, cx) = (env.now(), Cx::new(TOPIC, TraceContext::default()));
        match self.rpc.call(&self.to, &Renew { id: self.id }, &cx).await {
            Ok(Life::Runs) => {
                self.renewed = sent;
                None
            }
            Ok(Life::Ended(why)) => Some(why),
            Ok(Life::Unknown) => Some(format!("{} has started anew", self.host)),
            Err(_) if env.now() < self.renewed + LEASE + LEASE_MARGIN => None,
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
    };
    let start = move |supervisor| -> BoxFuture<'static, Result<Started, ractor::SpawnErr>> {
        let stand_in = stand_in.clone();
        Box::pin(async move {
            Ok(Actor::spawn_linked(None, stand_in, (), supervisor).await?.0.get_cell())
        })
    };
    Ok((Child::new(name, start), address))
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
}

enum Mail {
    Runs(Box<RemoteActor>),
    Ended(String),
}

impl Actor for StandIn {
    type Msg = Mail;
    type State = Option<Arc<RemoteActor>>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Mail>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let stand_in = self.clone();
        // Not waited for: a silent host must not hold up the supervisor.
        self.rpc.env().spawn("spawn", async move {
            let outcome = match (stand_in.place)(&stand_in.rpc) {
                Some(host) => {
                    begin(&stand_in.rpc, &host, &stand_in.kind, stand_in.args.clone()).await
                }
                None => Err(SpawnError::NoHost),
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
        if let Some(actor) = state.take().and_then(Arc::into_inner) {
            actor.stop().await;
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
                *state = Some(Arc::from(actor));
                Ok(())
            }
            Mail::Ended(why) => {
                self.told.send_replace(None);
                Err(why.into())
            }
        }
    }
}
