//! The side that runs actors for others.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use updraft_transport::NodeId;
use uuid::Uuid;

use super::{End, Kinds, LEASE, Life, Place, Renew, SPAWNED_MAX, Spawn, TOPIC};
use crate::{
    rpc::{Fault, FaultKind, Opened, Opener, Rpc, Service},
    supervise::{Restart, Supervisor},
};

/// How long the end of an actor is remembered for its owner: until several renewals later.
const END_KEPT: Duration = Duration::from_secs(60);

/// An actor that runs for another node.
struct Held {
    owner: NodeId,
    /// When its lease passes, on the node's own clock.
    until: Duration,
    /// What it is called among its supervisor's children, once it runs.
    child: Option<String>,
    /// Why it has ended, if it has.
    end: Option<String>,
}

/// The actors that a node runs for others; clones are the same one.
#[derive(Clone)]
pub(crate) struct Host {
    rpc: Rpc,
    opener: Opener,
    kinds: Arc<Kinds>,
    held: Arc<Mutex<BTreeMap<Uuid, Held>>>,
    /// There once the node runs.
    supervisor: Arc<OnceLock<Supervisor>>,
}

impl Host {
    pub(crate) fn new(rpc: Rpc, opener: Opener, kinds: Kinds) -> Self {
        let (held, supervisor) = (Arc::default(), Arc::default());
        Self { rpc, opener, kinds: Arc::new(kinds), held, supervisor }
    }

    /// Under whom actors run from now on.
    pub(crate) fn run_under(&self, supervisor: Supervisor) {
        // A node starts once.
        let _ = self.supervisor.set(supervisor);
    }

    pub(crate) fn service(&self) -> Service {
        let [spawn, renew, end] = std::array::from_fn(|_| self.clone());
        Service::new(TOPIC)
            .call(move |ctx, message: Spawn| {
                let host = spawn.clone();
                async move { host.spawn(ctx.peer.node, message).await }
            })
            .call(move |ctx, Renew { id }| {
                let life = renew.renew(&ctx.peer.node, id);
                async move { Ok(life) }
            })
            .call(move |ctx, End { id }| {
                let host = end.clone();
                async move { host.end(&ctx.peer.node, id).await }
            })
    }

    async fn spawn(&self, owner: NodeId, message: Spawn) -> Result<(), Fault> {
        let Spawn { id, kind, args } = message;
        if self.is_new(&owner, id)? {
            let begun = self.begin(id, &kind, args).await;
            if begun.is_err() {
                self.held.lock().remove(&id);
            }
            return begun;
        }
        Ok(())
    }

    /// Takes room for an actor; `false` if it runs already.
    fn is_new(&self, owner: &NodeId, id: Uuid) -> Result<bool, Fault> {
        let until = self.rpc.env().now() + LEASE;
        let mut held = self.held.lock();
        let full = held.len() >= SPAWNED_MAX;
        match held.entry(id) {
            Entry::Occupied(mut known) if known.get().owner == *owner => {
                let known = known.get_mut();
                if let Some(why) = &known.end {
                    let why = format!("actor {id} has ended: {why}");
                    return Err(Fault::new(FaultKind::Conflict, "Ended", why));
                }
                known.until = until;
                Ok(false)
            }
            Entry::Occupied(_) => {
                let why = format!("actor {id} belongs to another node");
                Err(Fault::new(FaultKind::Forbidden, "NotYours", why))
            }
            Entry::Vacant(_) if full => {
                let why = format!("this node runs {SPAWNED_MAX} actors for others already");
                Err(Fault::new(FaultKind::OverLimit, "TooManyActors", why))
            }
            Entry::Vacant(place) => {
                place.insert(Held { owner: owner.clone(), until, child: None, end: None });
                Ok(true)
            }
        }
    }

    async fn begin(&self, id: Uuid, kind: &str, args: bytes::Bytes) -> Result<(), Fault> {
        let env = self.rpc.env().clone();
        let place = Place { env: env.clone(), rpc: self.rpc.clone(), id };
        let service = self.kinds.make(kind, args, place).await?;
        let opened = self.opener.open(service, &id.to_string());
        let opened = opened.ok_or_else(|| Fault::internal("this node is ending"))?;
        let supervisor = self.supervisor.get();
        let supervisor = supervisor.ok_or_else(|| Fault::internal("this node is starting"))?;
        let child = opened.child().restarts(Restart::Never);
        supervisor.add(child).await.map_err(|error| Fault::internal(error.to_string()))?;
        if let Some(held) = self.held.lock().get_mut(&id) {
            held.child = Some(opened.name().to_owned());
        }
        tracing::info!(%id, kind, "an actor was started for another node");
        let host = self.clone();
        env.spawn("spawned", async move { host.attend(id, opened).await });
        Ok(())
    }

    /// Waits for the end of an actor or of its lease, and remembers why for a while.
    async fn attend(self, id: Uuid, opened: Opened) {
        let why = tokio::select! {
            biased;
            () = opened.ended() => "it failed, or was ended on its host".to_owned(),
            () = self.lease_passes(id) => {
                format!("its owner was not heard for {} ms", LEASE.as_millis())
            }
        };
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.remove(opened.name()).await;
        }
        drop(opened);
        tracing::info!(%id, why, "an actor of another node has ended");
        if let Some(held) = self.held.lock().get_mut(&id) {
            held.end.get_or_insert(why);
        }
        self.rpc.env().sleep(END_KEPT).await;
        self.held.lock().remove(&id);
    }

    async fn lease_passes(&self, id: Uuid) {
        let env = self.rpc.env();
        loop {
            let until = self.held.lock().get(&id).map_or(Duration::ZERO, |held| held.until);
            let left = until.saturating_sub(env.now());
            if left.is_zero() {
                return;
            }
            env.sleep(left).await;
        }
    }

    fn renew(&self, owner: &NodeId, id: Uuid) -> Life {
        let until = self.rpc.env().now() + LEASE;
        let mut held = self.held.lock();
        let Some(known) = held.get_mut(&id).filter(|known| known.owner == *owner) else {
            return Life::Unknown;
        };
        match &known.end {
            Some(why) => Life::Ended(why.clone()),
            None => {
                known.until = until;
                Life::Runs
            }
        }
    }

    async fn end(&self, owner: &NodeId, id: Uuid) -> Result<(), Fault> {
        let child = {
            let mut held = self.held.lock();
            let Some(known) = held.get_mut(&id).filter(|known| known.owner == *owner) else {
                return Ok(());
            };
            known.end.get_or_insert_with(|| "its owner ended it".to_owned());
            known.child.clone()
        };
        if let (Some(supervisor), Some(child)) = (self.supervisor.get(), child) {
            supervisor.remove(&child).await;
        }
        Ok(())
    }
}
