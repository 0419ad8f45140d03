//! The scheduler's actor: from a cast to a committed placement.

use std::sync::Arc;

use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use updraft_protocol::compute::{self, SCHEDULER, SelectHost};
use updraft_runtime::{
    planted::{Bug, is_planted},
    rpc::{Ctx, Rpc, Service},
    sometimes,
    store::{Decoded, Store, StoreError, Txn},
    trace::{Step, StepKind, Tracer},
};
use uuid::Uuid;

use super::{
    HOSTS_MAX, HostState, Judge, Refusal, Request, fault::no_valid_host, judge::is_looking,
};
use crate::{
    plan::{self, ALTERNATES_MAX},
    rows::{HostRow, ServerRow},
    servers,
};

/// Chooses hosts; cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    rpc: Rpc,
    store: Store,
    tracer: Tracer,
    judge: Judge,
    rng: Arc<Mutex<ChaCha8Rng>>,
    /// Hosts as they were last read; of thousands few have changed since.
    hosts: Arc<Decoded<HostRow>>,
}

impl Scheduler {
    /// A scheduler over this store.
    #[must_use]
    pub fn new(rpc: Rpc, store: Store, tracer: Tracer, judge: Judge) -> Self {
        let rng = Arc::new(Mutex::new(rpc.env().rng("scheduler")));
        let hosts = Arc::new(Decoded::new(HOSTS_MAX));
        Self { rpc, store, tracer, judge, rng, hosts }
    }

    /// The service to run.
    #[must_use]
    pub fn service(&self) -> Service {
        let scheduler = self.clone();
        Service::of::<compute::Scheduler>()
            .cast(move |ctx, message: SelectHost| {
                let scheduler = scheduler.clone();
                async move { Ok(scheduler.select(&ctx, message.server).await?) }
            })
            .into()
    }

    /// Reads the hosts, ranks them, and claims the best that still fits.
    async fn select(&self, ctx: &Ctx, server: Uuid) -> Result<(), StoreError> {
        let Some((request, hosts)) = self.gather(ctx, server).await? else { return Ok(()) };
        let starting = hosts.iter().any(HostState::is_starting);
        let (ranked, mut refusals) = {
            let mut rng = self.rng.lock();
            self.judge.driver().rank(hosts, &request, &mut *rng)
        };
        for (place, host) in ranked.iter().enumerate() {
            let alternates = alternates(&ranked[place + 1..]);
            match self.claim(server, &host.row.name, &alternates).await? {
                Claimed::Yes => {
                    tracing::info!(%server, host = host.row.name, "placed");
                    self.record(ctx, "compute/placed");
                    return Ok(());
                }
                Claimed::NotNeeded => return Ok(()),
                Claimed::Refused(refusal) => refusals.push(refusal),
            }
        }
        if starting || !self.judge.directory().has_listened() {
            // A host may be on its way up, and a scheduler that has just started cannot tell who is dead; it is
            // asked again soon.
            return Ok(());
        }
        self.give_up(server, &refusals).await
    }

    /// Step 8 of document 000: what the database says of the hosts.
    async fn gather(
        &self,
        ctx: &Ctx,
        server: Uuid,
    ) -> Result<Option<(Request, Vec<HostState>)>, StoreError> {
        self.record(ctx, "compute/hosts");
        self.store
            .read(|txn| {
                let Some(request) = looking(txn, server)? else { return Ok(None) };
                let rows = txn.scan_decoded(&self.hosts)?;
                let hosts =
                    rows.into_iter().map(|row| self.judge.state(row, &request.server)).collect();
                Ok(Some((request, hosts)))
            })
            .await
    }

    /// Places the server if the host still fits, in one transaction with the claim.
    async fn claim(
        &self,
        server: Uuid,
        host: &str,
        alternates: &[String],
    ) -> Result<Claimed, StoreError> {
        self.store
            .transact(|txn| {
                let Some(request) = looking(txn, server)? else { return Ok(Claimed::NotNeeded) };
                if !is_planted(Bug::ClaimWithoutSecondLook)
                    && let Some(refusal) = self.judge.refusal(txn, host, &request)?
                {
                    sometimes!(true, "a host that fitted does not when it is claimed");
                    return Ok(Claimed::Refused(refusal));
                }
                let old = request.server;
                let new = plan::placed(&old, host, alternates.to_vec());
                servers::rewrite(txn, &old, &new, old.updated)?;
                Ok(Claimed::Yes)
            })
            .await
    }

    async fn give_up(&self, server: Uuid, refusals: &[Refusal]) -> Result<(), StoreError> {
        let now = self.rpc.env().wall();
        self.store
            .transact(|txn| {
                let Some(request) = looking(txn, server)? else { return Ok(()) };
                let old = request.server;
                let fault = no_valid_host(&old, refusals, now);
                let new = plan::without_host(&old, fault, Judge::is_kept(txn, &old)?);
                servers::rewrite(txn, &old, &new, now)
            })
            .await
    }

    fn record(&self, ctx: &Ctx, name: &str) {
        let here = self.rpc.local().to_string();
        self.tracer.record(Step {
            trace_id: ctx.trace.trace_id,
            at: self.rpc.env().wall(),
            kind: StepKind::Store,
            name: name.to_owned(),
            from: SCHEDULER.to_owned(),
            from_node: here.clone(),
            to: "compute.store".to_owned(),
            to_node: here,
        });
    }
}

enum Claimed {
    Yes,
    NotNeeded,
    Refused(Refusal),
}

/// The server, if it looks for a host.
fn looking(txn: &Txn, server: Uuid) -> Result<Option<Request>, StoreError> {
    let row = txn.get::<ServerRow>(&server.to_string())?;
    row.filter(is_looking).map(|row| Request::of(txn, row)).transpose()
}

/// The hosts after this one that a failed build may go on with.
fn alternates(after: &[HostState]) -> Vec<String> {
    after.iter().take(ALTERNATES_MAX).map(|host| host.row.name.clone()).collect()
}
