//! The side that runs actors for others.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use updraft_transport::{NodeId, PeerIdentity};
use uuid::Uuid;

use super::{End, HostTime, Kinds, LEASE, Life, Place, Renew, SPAWNED_MAX, Spawn, Spawning, Time};
use crate::{
    env::UnixMicros,
    planted::{Bug, is_planted},
    rpc::{Fault, FaultKind, Opened, Opener, Rpc, Service},
    sometimes,
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

/// Room for an actor that is being made; given back unless it is kept.
struct Room<'a> {
    host: &'a Host,
    id: Uuid,
    kept: bool,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.host.held.lock().remove(&self.id);
        }
    }
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
        let [time, spawn, renew, end] = std::array::from_fn(|_| self.clone());
        Service::of::<Spawning>()
            .call(move |_, Time| {
                let now = time.time();
                async move { Ok(now) }
            })
            .call(move |ctx, message: Spawn| {
                let host = spawn.clone();
                async move { host.spawn(ctx.peer, message).await }
            })
            .call(move |ctx, Renew { id, heard }| {
                let life = renew.renew(&ctx.peer.node, id, heard);
                async move { Ok(life) }
            })
            .call(move |ctx, End { id }| {
                let host = end.clone();
                async move { host.end(&ctx.peer.node, id).await }
            })
            .into()
    }

    /// What leases are measured by: a clock that nobody sets.
    fn clock(&self) -> Duration {
        let env = self.rpc.env();
        if is_planted(Bug::LeaseByWallClock) { env.wall().since(UnixMicros(0)) } else { env.now() }
    }

    fn time(&self) -> HostTime {
        let ms = u64::try_from(self.clock().as_millis()).unwrap_or(u64::MAX);
        HostTime { incarnation: self.rpc.incarnation().0, ms }
    }

    /// Until when a lease lasts whose owner has heard this; `None` if it has passed, or is of a former life.
    fn until(&self, heard: HostTime) -> Option<Duration> {
        let now = self.clock();
        // Nobody can have heard what is to come.
        let until = Duration::from_millis(heard.ms).min(now) + LEASE;
        (heard.incarnation == self.rpc.incarnation().0 && until > now).then_some(until)
    }

    async fn spawn(&self, owner: PeerIdentity, message: Spawn) -> Result<(), Fault> {
        let Spawn { id, kind, args, heard } = message;
        let until = self.until(heard).ok_or_else(|| {
            sometimes!(true, "an actor is asked for after its lease has passed");
            let why = "its lease passed before it came; ask again".to_owned();
            Fault::new(FaultKind::Stale, "LeasePassed", why)
        })?;
        if !self.is_new(&owner.node, id, until)? {
            return Ok(());
        }
        // Also when its maker panics.
        let mut room = Room { host: self, id, kept: false };
        self.begin(&owner, id, &kind, args).await?;
        room.kept = true;
        Ok(())
    }

    /// Takes room for an actor; `false` if it runs already.
    fn is_new(&self, owner: &NodeId, id: Uuid, until: Duration) -> Result<bool, Fault> {
        let mut held = self.held.lock();
        let full = held.len() >= SPAWNED_MAX;
        match held.entry(id) {
            Entry::Occupied(mut known) if known.get().owner == *owner => {
                let known = known.get_mut();
                if let Some(why) = &known.end {
                    let why = format!("actor {id} has ended: {why}");
                    return Err(Fault::new(FaultKind::Conflict, "Ended", why));
                }
                if known.child.is_none() {
                    let why = format!("actor {id} is being made");
                    return Err(Fault::new(FaultKind::Unavailable, "BeingMade", why));
                }
                known.until = until.max(known.until);
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

    async fn begin(
        &self,
        owner: &PeerIdentity,
        id: Uuid,
        kind: &str,
        args: bytes::Bytes,
    ) -> Result<(), Fault> {
        let env = self.rpc.env().clone();
        let place = Place { env: env.clone(), rpc: self.rpc.clone(), id };
        let late = || {
            let why = format!("an actor of kind {kind} was not made before its lease had passed");
            Fault::new(FaultKind::Unavailable, "TooSlow", why)
        };
        let made = self.kinds.make(owner, kind, args, place);
        let service = env.timeout(self.lease_left(id), made).await.ok_or_else(late)??;
        let opened = self.opener.open(service, &id.to_string());
        let opened = opened.ok_or_else(|| Fault::internal("this node is ending"))?;
        let supervisor = self.supervisor.get();
        let supervisor = supervisor.ok_or_else(|| Fault::internal("this node is starting"))?;
        let child = opened.child().restarts(Restart::Never);
        supervisor.add(child).await.map_err(|error| Fault::internal(error.to_string()))?;
        let wanted = self.note_child(id, opened.name());
        let host = self.clone();
        env.spawn("spawned", async move { host.attend(id, opened).await });
        tracing::info!(%id, kind, wanted, "an actor was started for another node");
        if wanted { Ok(()) } else { self.end(&owner.node, id).await }
    }

    /// How much of an actor's lease is left; nothing once it has been ended.
    fn lease_left(&self, id: Uuid) -> Duration {
        let held = self.held.lock();
        let until = held.get(&id).filter(|held| held.end.is_none()).map(|held| held.until);
        until.unwrap_or_default().saturating_sub(self.clock())
    }

    /// Remembers what an actor is called among the supervisor's children; `false` if its owner has ended it meanwhile.
    fn note_child(&self, id: Uuid, name: &str) -> bool {
        let mut held = self.held.lock();
        let Some(held) = held.get_mut(&id) else { return false };
        held.child = Some(name.to_owned());
        held.end.is_none()
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
            let left = until.saturating_sub(self.clock());
            if left.is_zero() {
                return;
            }
            env.sleep(left).await;
        }
    }

    fn renew(&self, owner: &NodeId, id: Uuid, heard: HostTime) -> Life {
        let (until, now) = (self.until(heard), self.time());
        let mut held = self.held.lock();
        let Some(known) = held.get_mut(&id).filter(|known| known.owner == *owner) else {
            return Life::Unknown;
        };
        match &known.end {
            Some(why) => Life::Ended(why.clone()),
            None => {
                known.until = until.map_or(known.until, |until| until.max(known.until));
                Life::Runs(now)
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
