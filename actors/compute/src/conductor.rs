//! The conductor: what compute nodes may know of the store, and what they may tell it.
//!
//! Promises that a node hears of, and writes to, only the servers placed on it.

use std::{collections::BTreeMap, net::SocketAddr};

use updraft_edge::{context::Context, seal::Placement};
use updraft_protocol::{
    compute::{
        self, CONDUCTOR, FORCED_DOWN, FindDisk, GetMetadata, GetServer, Goal, GuestWant, HostSlice,
        MayCopyDisk, NetworkChanged, PortTaken, ReportHost, ReportServer, ReportTaken, RootDisk,
        Seal, ServerMetadata, Stage, Unusable, VolumeWant,
    },
    hypervisor::HostReport,
};
use updraft_runtime::{
    planted::{Bug, is_planted},
    rows::Engine,
    rpc::{Ctx, Fault, FaultKind, Service},
    sometimes,
    store::{StoreError, Txn},
    trace::StepKind,
    transport::NodeId,
};
use uuid::Uuid;

use crate::{
    plan::Learned,
    rows::{HostRow, LeftRow, MigrationPhase, ServerRow},
    servers::Servers,
};

/// The zone of hosts that nobody put into another.
pub(crate) const ZONE: &str = "nova";

/// Answers compute nodes; cheap to clone.
#[derive(Clone)]
pub struct Conductor {
    context: Context,
    engine: Engine<Servers>,
}

impl Conductor {
    /// A conductor that folds reports into these rows.
    #[must_use]
    pub fn new(context: Context, engine: Engine<Servers>) -> Self {
        Self { context, engine }
    }

    /// The service to run.
    #[must_use]
    pub fn service(&self) -> Service {
        let [get, report, host, network, taken, metadata, find, may] =
            std::array::from_fn(|_| self.clone());
        Service::of::<compute::Conductor>()
            .call(move |ctx, message: GetServer| {
                let conductor = get.clone();
                async move { conductor.get_server(&ctx, message.server).await }
            })
            .call(move |ctx, message: ReportServer| {
                let conductor = report.clone();
                async move { conductor.report_server(&ctx, message).await }
            })
            .call(move |ctx, message: ReportHost| {
                let conductor = host.clone();
                async move { conductor.report_host(&ctx, message).await }
            })
            .call(move |_, message: NetworkChanged| {
                let conductor = network.clone();
                async move {
                    let learned = Learned::Ports(message.ports);
                    conductor.engine.learn(&message.server.to_string(), learned).await?;
                    Ok(())
                }
            })
            .call(move |_, PortTaken { server, port, index }: PortTaken| {
                let conductor = taken.clone();
                async move {
                    let learned = Learned::PortTaken { port, index };
                    conductor.engine.learn(&server.to_string(), learned).await?;
                    Ok(())
                }
            })
            .call(move |ctx, message: GetMetadata| {
                let conductor = metadata.clone();
                async move { conductor.get_metadata(&ctx, message.server).await }
            })
            .call(move |ctx, message: FindDisk| {
                let conductor = find.clone();
                async move { conductor.find_disk(&ctx, message.server).await }
            })
            .call(move |ctx, message: MayCopyDisk| {
                let conductor = may.clone();
                async move { conductor.may_copy_disk(&ctx, &message).await }
            })
            .into()
    }

    /// The server, if it is placed on the host that asks.
    async fn placed_on(&self, ctx: &Ctx, server: Uuid) -> Result<ServerRow, Fault> {
        let row = self.context.store.read(|txn| txn.get::<ServerRow>(&server.to_string())).await?;
        let host = ctx.peer.node.as_str();
        let here = |row: &ServerRow| row.placement.as_ref().is_some_and(|p| p.host == host);
        sometimes!(
            row.as_ref().is_some_and(|row| !here(row)),
            "a host asks about a server that is not placed on it"
        );
        row.filter(|row| here(row) || is_planted(Bug::ForeignServerShown))
            .ok_or_else(|| not_placed(server, host))
    }

    /// Steps 11 and 12 of document 000: the database is asked for the server.
    async fn get_server(&self, ctx: &Ctx, server: Uuid) -> Result<GuestWant, Fault> {
        if let Some(left) = self.left_by(ctx, server).await? {
            return Ok(left.want);
        }
        let row = self.placed_on(ctx, server).await?;
        self.record(ctx, "compute/server");
        let placement =
            Placement { server, host: ctx.peer.node.as_str(), generation: row.generation };
        Ok(GuestWant { seal: self.context.seal(&placement)?, ..want_of(&row) })
    }

    /// What the host that asks is to clear away of a server that is another's by now.
    async fn left_by(&self, ctx: &Ctx, server: Uuid) -> Result<Option<LeftRow>, StoreError> {
        let key = LeftRow::key_of(ctx.peer.node.as_str(), server);
        self.context.store.read(|txn| txn.get::<LeftRow>(&key)).await
    }

    /// Forgets that a host has something of a server, once it says that it has cleared that away.
    async fn cleared(&self, host: &str, message: &ReportServer) -> Result<(), StoreError> {
        let (seen, key) = (&message.observation, LeftRow::key_of(host, message.server));
        if seen.stage != Stage::Gone {
            return Ok(());
        }
        let forget = |txn: &mut Txn| {
            let over = |left: LeftRow| !left.is_parked() && left.want.generation <= seen.generation;
            if txn.get::<LeftRow>(&key)?.is_some_and(over) {
                sometimes!(true, "a host that came back has cleared away what it no longer has");
                txn.delete::<LeftRow>(&key)?;
            }
            Ok(())
        };
        self.context.store.transact(forget).await
    }

    async fn report_server(&self, ctx: &Ctx, message: ReportServer) -> Result<ReportTaken, Fault> {
        let host = ctx.peer.node.to_string();
        self.cleared(&host, &message).await?;
        let learned = Learned::Observed { host: host.clone(), observation: message.observation };
        let row = self.engine.learn(&message.server.to_string(), learned).await?;
        self.record(ctx, "compute/server_state");
        let here = row.filter(|row| row.placement.as_ref().is_some_and(|p| p.host == host));
        Ok(ReportTaken { wanted_generation: here.map(|row| row.generation) })
    }

    async fn report_host(&self, ctx: &Ctx, message: ReportHost) -> Result<HostSlice, Fault> {
        let name = ctx.peer.node.to_string();
        self.note_host(&name, &message.hypervisor).await?;
        // Apart, so that a host hears of nothing that a crash could take back: a read waits for the disk, and what
        // was just noted may not.
        let slice = self.context.store.read(|txn| slice(txn, &name)).await?;
        let servers = slice.ok_or_else(|| forced_down(&name))?;
        for (guest, _) in &message.guests {
            if !servers.iter().any(|(server, _)| server == guest) {
                tracing::debug!(host = name, %guest, "the host has something of a server not placed there");
            }
        }
        Ok(HostSlice { servers })
    }

    async fn note_host(
        &self,
        name: &str,
        hypervisor: &Result<HostReport, Unusable>,
    ) -> Result<(), StoreError> {
        let now = self.context.env.wall();
        let (id, service_id) = (self.context.env.uuid(), self.context.env.uuid());
        let note = |txn: &mut Txn| {
            let old = txn.get::<HostRow>(name)?;
            let mut row = old.clone().unwrap_or_else(|| HostRow {
                name: name.to_owned(),
                id,
                service_id,
                report: HostReport::default(),
                unavailable: None,
                starting: false,
                disabled: None,
                forced_down: false,
                zone: ZONE.to_owned(),
                reported: now,
                claims: BTreeMap::new(),
            });
            row.reported = now;
            match hypervisor {
                Ok(report) => {
                    row.report = report.clone();
                    (row.unavailable, row.starting) = (None, false);
                }
                Err(why) => {
                    (row.unavailable, row.starting) = (Some(why.reason.clone()), why.starting);
                }
            }
            if old.is_some_and(|old| row.only_lives_on(&old)) {
                txn.relax();
            }
            txn.put(&row)
        };
        self.context.store.transact(note).await
    }

    async fn get_metadata(&self, ctx: &Ctx, server: Uuid) -> Result<ServerMetadata, Fault> {
        let row = self.placed_on(ctx, server).await?;
        let user_data = row.user_data.as_deref().and_then(decode_user_data);
        Ok(ServerMetadata {
            server: row.id,
            name: row.name,
            hostname: row.hostname,
            project_id: row.project_id,
            availability_zone: row.availability_zone.unwrap_or_else(|| ZONE.to_owned()),
            metadata: row.metadata,
            key: row.key.map(|key| (key.name, key.public_key)),
            user_data,
        })
    }

    /// Where the host listens that keeps the disk of a server, for the host that is to copy it.
    async fn find_disk(&self, ctx: &Ctx, server: Uuid) -> Result<SocketAddr, Fault> {
        let row = self.placed_on(ctx, server).await?;
        let RootDisk::CopyOf { host, .. } = disk_of(&row) else {
            let message = format!("Instance {server} is not being moved to this host.");
            return Err(Fault::new(FaultKind::Stale, "NotMoving", message));
        };
        let node = NodeId::new(&host).ok();
        let known = node.and_then(|node| self.context.rpc.directory().member(&node));
        let unknown = || {
            let message = format!("host {host}, which keeps the disk of {server}, was not heard");
            Fault::new(FaultKind::Unavailable, "HostNotHeard", message)
        };
        Ok(known.ok_or_else(unknown)?.member.address)
    }

    /// Whether a host is the one that is to copy what the host keeps that asks.
    async fn may_copy_disk(&self, ctx: &Ctx, message: &MayCopyDisk) -> Result<bool, Fault> {
        let key = message.server.to_string();
        let row = self.context.store.read(|txn| txn.get::<ServerRow>(&key)).await?;
        let wanted =
            RootDisk::CopyOf { host: ctx.peer.node.to_string(), generation: message.generation };
        let placed = |row: &ServerRow| {
            let placed = row.placement.as_ref().filter(|placed| placed.goal == Goal::Present);
            placed.is_some_and(|placed| placed.host == message.host)
        };
        Ok(row.is_some_and(|row| placed(&row) && disk_of(&row) == wanted))
    }

    fn record(&self, ctx: &Ctx, name: &str) {
        let store = "compute.store";
        self.context.record(ctx.trace.trace_id, StepKind::Store, name, CONDUCTOR, store);
    }
}

/// The servers that are placed on a host, and what it is to clear away, each with the generation wanted. `None` if an
/// operator said that it is down: what it had may be placed elsewhere at any moment, so that it is to begin nothing.
fn slice(txn: &Txn, host: &str) -> Result<Option<Vec<(Uuid, u64)>>, StoreError> {
    if txn.get::<HostRow>(host)?.is_some_and(|row| row.forced_down) {
        return Ok(None);
    }
    let placed = txn.find::<ServerRow>("host", host)?;
    let left = txn.find::<LeftRow>(LeftRow::BY_HOST, host)?;
    let left = left.iter().map(|left| (left.want.server, left.want.generation));
    Ok(Some(placed.iter().map(|row| (row.id, row.generation)).chain(left).collect()))
}

fn forced_down(host: &str) -> Fault {
    let message = format!("An operator said that host {host} is down; it is to begin nothing.");
    Fault::new(FaultKind::Conflict, FORCED_DOWN, message)
}

fn decode_user_data(text: &str) -> Option<bytes::Bytes> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok().map(Into::into)
}

fn not_placed(server: Uuid, host: &str) -> Fault {
    let message = format!("Instance {server} is not placed on host {host}.");
    Fault::new(FaultKind::NotFound, "InstanceNotFound", message)
}

/// What a host is to make of a server; not sealed yet.
#[must_use]
pub fn want_of(row: &ServerRow) -> GuestWant {
    let goal = match &row.placement {
        Some(placement) => placement.goal,
        None => Goal::Absent,
    };
    let volumes = row.volumes.iter().map(|volume| VolumeWant {
        volume: volume.volume,
        attachment: volume.attachment,
        goal: volume.goal,
        boot: volume.boot,
    });
    let context = row.auth.as_ref().and_then(|auth| auth.encode().ok()).unwrap_or_default();
    GuestWant {
        server: row.id,
        generation: row.generation,
        goal,
        power: row.power,
        reboots: row.reboots,
        instance_name: instance_name(row.id),
        name: row.name.clone(),
        project_id: row.project_id.clone(),
        flavor: row.flavor.clone(),
        image: row.image,
        nics: row.nics.clone(),
        security_groups: row.security_groups.clone(),
        volumes: volumes.collect(),
        trace: row.trace,
        context: context.into(),
        seal: Seal::default(),
        disk: disk_of(row),
    }
}

/// Where a server's root disk comes from on the host that it is placed on.
fn disk_of(row: &ServerRow) -> RootDisk {
    let Some(migration) = row.migration.as_ref().filter(|_| row.goal == Goal::Present) else {
        return RootDisk::Here;
    };
    let back = row.placement.as_ref().is_none_or(|placed| placed.host == migration.from);
    match (migration.phase, back) {
        (MigrationPhase::Leaving, _) => RootDisk::Parked,
        (MigrationPhase::Returning, true) => RootDisk::Kept,
        (MigrationPhase::Moving | MigrationPhase::Moved, false) => {
            RootDisk::CopyOf { host: migration.from.clone(), generation: migration.parked }
        }
        (MigrationPhase::Moving | MigrationPhase::Moved, true)
        | (MigrationPhase::Returning, false) => RootDisk::Here,
    }
}

/// The hypervisor's name for a server; nova counts, we take the id's first part.
#[must_use]
pub fn instance_name(server: Uuid) -> String {
    format!("instance-{}", &server.simple().to_string()[..8])
}
