//! Servers as rows that converge: carries out what their plan asks for.

use std::{collections::BTreeMap, time::Duration};

use updraft_protocol::{
    compute::{CONDUCTOR, Converge, Goal, Node, SCHEDULER, Scheduler, SelectHost, Stage},
    network, volume,
};
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
    planted::{Bug, is_planted},
    rows::{Kind, Plan},
    rpc::{Cx, FaultKind, Rpc, TraceContext},
    store::{Record, StoreError, Txn},
    transport::NodeId,
};
use uuid::Uuid;

use crate::{
    conductor::want_of,
    consoles,
    plan::{self, Effect, Facts, Learned},
    rows::{Claim, HostRow, LeftRow, Placement, ServerRow, UsageRow},
    scheduler::Judge,
};

/// The topic that speaks for the API.
pub const API: &str = "compute.api";

/// How long a server may take to settle: a build at its longest, and the clearing away of one that failed.
const SETTLES_WITHIN: Duration = Duration::from_secs(900);

/// Servers, on a control node.
#[derive(Clone)]
pub struct Servers {
    /// The door to the world.
    pub env: Env,
    /// For telling hosts and services.
    pub rpc: Rpc,
    /// Says which alternate can take a server.
    pub judge: Judge,
}

impl Kind for Servers {
    type Row = ServerRow;
    type Facts = Facts;
    type Effect = Effect;
    type Learned = Learned;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, txn: &Txn, row: &ServerRow) -> Result<Facts, StoreError> {
        Ok(Facts {
            alternate: self.judge.alternate(txn, row)?,
            fenced: self.judge.is_fenced(txn, row)?,
            kept: Judge::is_kept(txn, row)?,
        })
    }

    fn plan(row: &ServerRow, facts: &Facts, now: UnixMicros) -> Plan<Self> {
        plan::plan(row, facts, now)
    }

    fn deadline(row: &ServerRow) -> Option<UnixMicros> {
        plan::deadline(row)
    }

    fn learn(row: &mut ServerRow, learned: Learned, _now: UnixMicros) -> bool {
        plan::learn(row, learned)
    }

    fn accompany(
        &self,
        txn: &mut Txn,
        old: &ServerRow,
        new: Option<&ServerRow>,
    ) -> Result<(), StoreError> {
        follow(txn, old, new, self.env.wall())
    }

    fn trace(row: &ServerRow) -> TraceContext {
        row.trace
    }

    fn perform(&self, row: ServerRow, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        let servers = self.clone();
        Box::pin(async move {
            match effect {
                Effect::SelectHost => servers.select_host(&row),
                Effect::Converge { host, generation } => servers.converge(&row, &host, generation),
                Effect::AnnounceVolume { attachment } => servers.announce(&row, attachment).await,
                Effect::ReleaseVolume { attachment } => servers.release(&row, attachment).await,
                Effect::ReleaseNetwork => servers.release_network(&row).await,
                Effect::LeaveNetwork { host } => servers.leave_network(&row, host).await,
            }
        })
    }
}

impl Servers {
    fn cx(source: &str, row: &ServerRow) -> Cx {
        let context = row.auth.as_ref().and_then(|auth| auth.encode().ok()).unwrap_or_default();
        Cx::new(source, row.trace).with_context(context.into())
    }

    fn select_host(&self, row: &ServerRow) -> Option<Learned> {
        let message = SelectHost { server: row.id };
        if let Err(error) = self.rpc.client::<Scheduler>().cast(&message, &Self::cx(API, row)) {
            tracing::info!(server = %row.id, %error, "asked again later");
        }
        None
    }

    fn converge(&self, row: &ServerRow, host: &str, generation: u64) -> Option<Learned> {
        let source = if row.launched.is_none() { SCHEDULER } else { API };
        let message = Converge { server: row.id, generation, trace: row.trace };
        let node = NodeId::new(host).ok()?;
        let node = self.rpc.client::<Node>().on(&node);
        if let Err(error) = node.cast(&message, &Self::cx(source, row)) {
            tracing::info!(server = %row.id, %error, "told again later");
        }
        None
    }

    async fn announce(&self, row: &ServerRow, attachment: Uuid) -> Option<Learned> {
        let known = row.volumes.iter().find(|volume| volume.attachment == attachment)?;
        let message =
            volume::Attached { volume: known.volume, attachment, device: known.device.clone()? };
        match self.rpc.client::<volume::Api>().call(&message, &Self::cx(CONDUCTOR, row)).await {
            Ok(()) => Some(Learned::VolumeAnnounced(attachment)),
            Err(error) => later(row, &error),
        }
    }

    async fn release(&self, row: &ServerRow, attachment: Uuid) -> Option<Learned> {
        let known = row.volumes.iter().find(|volume| volume.attachment == attachment)?;
        let message = volume::Release { volume: known.volume, attachment };
        match self.rpc.client::<volume::Api>().call(&message, &Self::cx(CONDUCTOR, row)).await {
            Ok(()) => Some(Learned::VolumeReleased(attachment)),
            Err(error) if error.fault().is_some_and(|f| f.kind == FaultKind::NotFound) => {
                Some(Learned::VolumeReleased(attachment))
            }
            Err(error) => later(row, &error),
        }
    }

    async fn release_network(&self, row: &ServerRow) -> Option<Learned> {
        let message = network::Release { server: row.id, generation: row.generation };
        match self.rpc.client::<network::Server>().call(&message, &Self::cx(CONDUCTOR, row)).await {
            Ok(true) => Some(Learned::NetworkReleased),
            Ok(false) => None,
            Err(error) => later(row, &error),
        }
    }

    async fn leave_network(&self, row: &ServerRow, host: String) -> Option<Learned> {
        let message = network::LeaveHost { server: row.id, host };
        match self.rpc.client::<network::Server>().call(&message, &Self::cx(CONDUCTOR, row)).await {
            Ok(true) => Some(Learned::NetworkLeft),
            Ok(false) => None,
            Err(error) => later(row, &error),
        }
    }
}

fn later(row: &ServerRow, error: &updraft_runtime::rpc::CallError) -> Option<Learned> {
    tracing::info!(server = %row.id, %error, "asked again later");
    None
}

/// Replaces a server's row together with everything that goes with it.
pub fn rewrite(
    txn: &mut Txn,
    old: &ServerRow,
    new: &ServerRow,
    now: UnixMicros,
) -> Result<(), StoreError> {
    follow(txn, old, Some(new), now)?;
    txn.put(new)
}

/// Writes what must change together with a server: its claim, its action, its project's usage.
fn follow(
    txn: &mut Txn,
    old: &ServerRow,
    new: Option<&ServerRow>,
    now: UnixMicros,
) -> Result<(), StoreError> {
    move_claim(txn, old, new)?;
    leave(txn, old, new, now)?;
    consoles::follow(txn, old, new)?;
    crate::actions::follow(txn, old, new, now)?;
    match new {
        Some(new) if Claim::of(&new.flavor) == Claim::of(&old.flavor) => Ok(()),
        Some(new) => {
            count(txn, old, -1)?;
            count(txn, new, 1)
        }
        None if is_planted(Bug::UsageNotReturned) => Ok(()),
        None => count(txn, old, -1),
    }
}

/// Keeps the claims on hosts in step with the placement, and with what is parked.
fn move_claim(txn: &mut Txn, old: &ServerRow, new: Option<&ServerRow>) -> Result<(), StoreError> {
    let (before, after) = (claims_of(old), new.map(claims_of).unwrap_or_default());
    for host in before.keys().filter(|host| !after.contains_key(*host)) {
        if let Some(mut row) = txn.get::<HostRow>(host)? {
            row.claims.remove(&old.id);
            txn.put(&row)?;
        }
    }
    for (host, claim) in after.iter().filter(|(host, claim)| before.get(*host) != Some(claim)) {
        if let Some(mut row) = txn.get::<HostRow>(host)? {
            row.claims.insert(old.id, *claim);
            txn.put(&row)?;
        }
    }
    Ok(())
}

fn claims_of(row: &ServerRow) -> BTreeMap<String, Claim> {
    let leaves = |placement: &Placement| placement.goal == Goal::Absent;
    let mut claims = row.claims();
    if is_planted(Bug::ClaimReleasedEarly)
        && let Some(placement) = row.placement.as_ref().filter(|placement| leaves(placement))
    {
        claims.remove(&placement.host);
    }
    claims
}

/// Notes what a host has left that is down by an operator's word and has not confirmed that it has nothing, and which
/// host keeps the disk of a server that moves, for as long as it is of use.
fn leave(
    txn: &mut Txn,
    old: &ServerRow,
    new: Option<&ServerRow>,
    now: UnixMicros,
) -> Result<(), StoreError> {
    let host_of = |row: &ServerRow| row.placement.as_ref().map(|placed| placed.host.clone());
    let (before, after) = (host_of(old), new.and_then(host_of));
    if let Some(migration) = &old.migration {
        let known = txn.get::<LeftRow>(&LeftRow::key_of(&migration.from, old.id))?;
        let kept = LeftRow::kept(known.as_ref(), old, new, now);
        kept.map_or(Ok(()), |left| txn.put(&left))?;
    }
    if before == after {
        return Ok(());
    }
    let confirmed = old.current().is_some_and(|seen| seen.stage == Stage::Gone);
    if let Some(host) = before.filter(|_| !confirmed)
        && txn.get::<HostRow>(&host)?.is_some_and(|row| row.forced_down)
    {
        txn.put(&LeftRow::new(&host, want_of(old), now))?;
    }
    if let Some(host) = after {
        txn.delete::<LeftRow>(&LeftRow::key_of(&host, old.id))?;
    }
    Ok(())
}

/// Adds a server to what its project uses, or takes it away.
pub fn count(txn: &mut Txn, row: &ServerRow, sign: i64) -> Result<(), StoreError> {
    let mut usage = txn
        .get::<UsageRow>(&row.project_id)?
        .unwrap_or_else(|| UsageRow { project_id: row.project_id.clone(), ..UsageRow::default() });
    let claim = Claim::of(&row.flavor);
    let add = |to: &mut u64, by: u64| *to = to.saturating_add_signed(sign * by.cast_signed());
    add(&mut usage.instances, 1);
    add(&mut usage.cores, claim.vcpus);
    add(&mut usage.ram_mib, claim.ram_mib);
    if usage.instances == 0 {
        return txn.delete::<UsageRow>(&usage.key()).map(drop);
    }
    txn.put(&usage)
}
