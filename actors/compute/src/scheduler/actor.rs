//! The scheduler's actor: from a cast to a committed placement.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use updraft_protocol::compute::{Goal, SCHEDULER, SelectHost};
use updraft_runtime::{
    directory::Directory,
    env::UnixMicros,
    rpc::{Ctx, Rpc, Service},
    store::{Store, StoreError, Txn},
    trace::{Step, StepKind, Tracer},
    transport::NodeId,
};
use uuid::Uuid;

use super::{Driver, HostState, Ratios, Refusal, Request};
use crate::{
    groups::GroupRow,
    rows::{FaultRow, HostRow, Placement, ServerRow, VmState},
    servers,
};

/// How many hosts are ranked at once; a cell has no more.
const HOSTS_MAX: usize = 10_000;

/// Chooses hosts; cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    rpc: Rpc,
    store: Store,
    tracer: Tracer,
    driver: Arc<Driver>,
    ratios: Ratios,
    rng: Arc<Mutex<ChaCha8Rng>>,
}

impl Scheduler {
    /// A scheduler over this store.
    #[must_use]
    pub fn new(rpc: Rpc, store: Store, tracer: Tracer, driver: Driver, ratios: Ratios) -> Self {
        let rng = Arc::new(Mutex::new(rpc.env().rng("scheduler")));
        Self { rpc, store, tracer, driver: Arc::new(driver), ratios, rng }
    }

    /// The service to run.
    #[must_use]
    pub fn service(&self) -> Service {
        let scheduler = self.clone();
        Service::new(SCHEDULER).cast(move |ctx, message: SelectHost| {
            let scheduler = scheduler.clone();
            async move { Ok(scheduler.select(&ctx, message.server).await?) }
        })
    }

    fn directory(&self) -> &Directory {
        self.rpc.directory()
    }

    /// Reads the hosts, ranks them, and claims the best that still fits.
    async fn select(&self, ctx: &Ctx, server: Uuid) -> Result<(), StoreError> {
        let Some((request, hosts)) = self.gather(ctx, server).await? else { return Ok(()) };
        let starting = hosts.iter().any(HostState::is_starting);
        let (ranked, mut refusals) = {
            let mut rng = self.rng.lock();
            self.driver.rank(hosts, &request, &mut *rng)
        };
        for host in ranked {
            match self.claim(server, &host.row.name).await? {
                Claimed::Yes => {
                    tracing::info!(%server, host = host.row.name, "placed");
                    self.record(ctx, "compute/placed");
                    return Ok(());
                }
                Claimed::NotNeeded => return Ok(()),
                Claimed::Refused(refusal) => refusals.push(refusal),
            }
        }
        if starting || !self.directory().has_listened() {
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
                let rows = txn.scan::<HostRow>(None, HOSTS_MAX)?;
                let hosts = rows.into_iter().map(|row| self.state(row, &request.server)).collect();
                Ok(Some((request, hosts)))
            })
            .await
    }

    fn state(&self, row: HostRow, server: &ServerRow) -> HostState {
        let live = NodeId::new(&row.name).is_ok_and(|node| self.directory().is_live(&node));
        HostState::new(row, live, self.ratios, server)
    }

    /// Places the server if the host still fits, in one transaction with the claim.
    async fn claim(&self, server: Uuid, host: &str) -> Result<Claimed, StoreError> {
        self.store
            .transact(|txn| {
                let Some(request) = looking(txn, server)? else { return Ok(Claimed::NotNeeded) };
                let Some(row) = txn.get::<HostRow>(host)? else { return Ok(Claimed::NotNeeded) };
                let state = self.state(row, &request.server);
                if let Some(refusal) = self.driver.refusal(&state, &request) {
                    return Ok(Claimed::Refused(refusal));
                }
                place(txn, &request.server, host)?;
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
                let mut new = old.clone();
                new.state = VmState::Error;
                new.updated = now;
                new.fault = Some(no_valid_host(&old, refusals, now));
                new.action = None;
                new.auth = None;
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
    let Some(server) = txn.get::<ServerRow>(&server.to_string())? else { return Ok(None) };
    if server.placement.is_some() || server.goal == Goal::Absent || server.fault.is_some() {
        return Ok(None);
    }
    let mut request = Request { server, policy: None, group_hosts: BTreeSet::new() };
    if let Some(group) = request.server.group {
        let key = group.to_string();
        request.policy = txn.get::<GroupRow>(&key)?.map(|group| group.policy);
        let members = txn.find::<ServerRow>("group", &key)?;
        let hosts = members
            .into_iter()
            .filter(|member| member.id != request.server.id)
            .filter_map(|member| member.placement.map(|placement| placement.host));
        request.group_hosts.extend(hosts);
    }
    Ok(Some(request))
}

fn place(txn: &mut Txn, old: &ServerRow, host: &str) -> Result<(), StoreError> {
    let mut new = old.clone();
    new.generation += 1;
    new.placement = Some(Placement { host: host.to_owned(), goal: Goal::Present });
    new.observed = None;
    new.network_released = new.nics.is_empty();
    servers::rewrite(txn, old, &new, old.updated)
}

/// The refusals per host: "no valid host" alone helps nobody.
fn no_valid_host(row: &ServerRow, refusals: &[Refusal], now: UnixMicros) -> FaultRow {
    let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let reasons =
        if lines.is_empty() { "there is no compute host".to_owned() } else { lines.join("; ") };
    FaultRow {
        code: 500,
        message: format!("No valid host was found. {reasons}"),
        details: format!("server {} was refused by every host:\n{}", row.id, lines.join("\n")),
        created: now,
    }
}
