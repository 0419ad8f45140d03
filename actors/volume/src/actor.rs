//! What other services ask of volumes: keep one for a server, say how it is reached, hear that it is in use,
//! and let it go. Every answer may be asked for twice; what comes too late is refused.

use std::sync::Arc;

use updraft_edge::seal::Placement;
use updraft_protocol::volume::{
    API, Api, Attached, Connect, Connection, ExportWant, FileWant, GetFile, Release, Reserve,
    VolumeInfo,
};
use updraft_runtime::{
    env::UnixMicros,
    planted::{Bug, is_planted},
    rpc::{Ctx, Fault, Service},
    sometimes,
    trace::StepKind,
};
use uuid::Uuid;

use crate::{
    Shared,
    error::Error,
    rows::{Attachment, AttachmentState, BY_COPIED, SnapshotRow, VolumeRow, VolumeStatus},
};

/// Most attachments of a volume that are remembered as over; older ones are forgotten first.
const RELEASED_MAX: usize = 64;

/// The handlers of `volume.api`.
pub(crate) fn service(shared: &Arc<Shared>) -> Service {
    let (reserve, connect) = (shared.clone(), shared.clone());
    let (attached, release, file) = (shared.clone(), shared.clone(), shared.clone());
    Service::of::<Api>()
        .call(move |ctx, message: Reserve| {
            let shared = reserve.clone();
            async move { shared.reserve(&ctx, message).await }
        })
        .call(move |ctx, message: Connect| {
            let shared = connect.clone();
            async move { shared.connect(&ctx, message).await }
        })
        .call(move |_ctx, message: Attached| {
            let shared = attached.clone();
            async move { shared.attached(message).await }
        })
        .call(move |_ctx, message: Release| {
            let shared = release.clone();
            async move { shared.release(message).await }
        })
        .call(move |ctx, GetFile { id }: GetFile| {
            let shared = file.clone();
            async move { Ok(shared.file_on(ctx.peer.node.as_str(), id).await?) }
        })
        .into()
}

impl Shared {
    async fn reserve(&self, ctx: &Ctx, message: Reserve) -> Result<VolumeInfo, Fault> {
        let (_, principal) = self.context.principal(ctx)?;
        let row = self
            .changed(message.volume, |row| {
                self.on_volume(&principal, None, "volume:attachment_create", row)?;
                reserved(row, &message)
            })
            .await?;
        Ok(info(&row)?)
    }

    async fn connect(&self, ctx: &Ctx, message: Connect) -> Result<Connection, Fault> {
        let (_, principal) = self.context.principal(ctx)?;
        let Connect { server, host, generation, seal, .. } = &message;
        let placement = Placement { server: *server, host, generation: *generation };
        self.context.placed(ctx, &placement, seal)?;
        let key = message.volume.to_string();
        let row = self
            .repository
            .change::<VolumeRow>(&key, |txn, row| {
                self.on_volume(&principal, None, "volume:get", row)?;
                let copied = !txn.find::<VolumeRow>(BY_COPIED, &key)?.is_empty()
                    || !txn.find::<SnapshotRow>(BY_COPIED, &key)?.is_empty();
                if copied {
                    let words = format!("volume {key} is being copied from; try again");
                    return Err(Error::Unavailable(words));
                }
                connected(row, &message)
            })
            .await?
            .ok_or(Error::VolumeNotFound(key))?;
        let connection = connection(&row, &message.host)?;
        let trace_id = ctx.trace.trace_id;
        self.context.record(trace_id, StepKind::Store, "volume/connection", API, "database");
        Ok(connection)
    }

    async fn attached(&self, message: Attached) -> Result<(), Fault> {
        let now = self.context.env.wall();
        self.changed(message.volume, |row| attached(row, &message, now)).await?;
        Ok(())
    }

    async fn release(&self, message: Release) -> Result<(), Fault> {
        let now = self.context.env.wall();
        let released = self.changed(message.volume, |row| Ok(released(row, &message, now)));
        match released.await {
            // A volume that is gone is held by nobody.
            Ok(_) | Err(Error::VolumeNotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is wanted of a volume's or snapshot's file, if its place is this host.
    async fn file_on(&self, host: &str, id: Uuid) -> Result<Option<FileWant>, Error> {
        let key = id.to_string();
        let file = self.repository.read(|txn| {
            let volume = txn.get::<VolumeRow>(&key)?.map(|row| row.file);
            let snapshot = txn.get::<SnapshotRow>(&key)?.map(|row| row.file);
            Ok(volume.or(snapshot))
        });
        let here = file.await?.filter(|file| file.host.as_deref() == Some(host));
        Ok(here.map(|file| file.want(id)))
    }

    async fn changed(
        &self,
        volume: Uuid,
        change: impl Fn(&VolumeRow) -> Result<VolumeRow, Error>,
    ) -> Result<VolumeRow, Error> {
        let key = volume.to_string();
        let row = self.repository.change::<VolumeRow>(&key, |_, row| change(row)).await?;
        row.ok_or(Error::VolumeNotFound(key))
    }
}

pub(crate) fn reserved(row: &VolumeRow, message: &Reserve) -> Result<VolumeRow, Error> {
    if row.released.contains_key(&message.attachment) {
        return Err(over(message.attachment));
    }
    if let Some(held) = &row.attachment
        && held.id == message.attachment
        && held.server == message.server
    {
        return Ok(row.clone());
    }
    let taken = row.status() != VolumeStatus::Available || row.attachment.is_some();
    sometimes!(row.attachment.is_some(), "a volume is asked for that another attachment has");
    if (taken && !is_planted(Bug::VolumeReservedTwice)) || !row.file.is_ready() {
        return Err(Error::InvalidVolume(format!(
            "Volume {} status must be available or downloading to reserve, but the current status is \
             {}.",
            row.id,
            row.status().as_str()
        )));
    }
    let attachment = Attachment {
        id: message.attachment,
        server: message.server,
        state: AttachmentState::Reserved,
        host: None,
        generation: 0,
        device: None,
        attached_at: None,
    };
    Ok(VolumeRow { attachment: Some(attachment), reset: None, ..row.clone() })
}

pub(crate) fn connected(row: &VolumeRow, message: &Connect) -> Result<VolumeRow, Error> {
    let mut row = row.clone();
    let attachment = current(&mut row, message.attachment)?;
    if attachment.server != message.server {
        return Err(Error::AttachmentNotFound(message.attachment.to_string()));
    }
    if message.generation < attachment.generation {
        return Err(Error::Stale(format!(
            "generation {} of server {} is older than {}, which has been seen",
            message.generation, message.server, attachment.generation
        )));
    }
    attachment.generation = message.generation;
    attachment.host = Some(message.host.clone());
    if attachment.state == AttachmentState::Reserved {
        attachment.state = AttachmentState::Attaching;
    }
    let (attachment, host) = (message.attachment, message.host.clone());
    let is_remote = row.file.host.as_ref() != Some(&host);
    row.file.serve(is_remote.then_some(ExportWant { attachment, host }));
    Ok(row)
}

pub(crate) fn attached(
    row: &VolumeRow,
    message: &Attached,
    now: UnixMicros,
) -> Result<VolumeRow, Error> {
    let mut row = row.clone();
    let attachment = current(&mut row, message.attachment)?;
    if attachment.state != AttachmentState::Attached {
        attachment.state = AttachmentState::Attached;
        attachment.attached_at = Some(now);
    }
    attachment.device = Some(message.device.clone());
    row.reset = None;
    Ok(row)
}

pub(crate) fn released(row: &VolumeRow, message: &Release, now: UnixMicros) -> VolumeRow {
    let mut row = row.clone();
    if row.attachment.as_ref().is_some_and(|held| held.id == message.attachment) {
        row.attachment = None;
        // Free for others only once its host has confirmed that it serves it no longer.
        row.file.serve(None);
        row.reset = None;
        row.updated_at = Some(now);
    }
    // It may come before the reservation that it ends.
    row.released.entry(message.attachment).or_insert(now);
    while row.released.len() > RELEASED_MAX {
        let oldest = row.released.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id);
        row.released.retain(|id, _| Some(*id) != oldest);
    }
    row
}

/// The volume's attachment, if it is this one.
fn current(row: &mut VolumeRow, id: Uuid) -> Result<&mut Attachment, Error> {
    if row.released.contains_key(&id) {
        return Err(over(id));
    }
    let held = row.attachment.as_mut().filter(|held| held.id == id);
    held.ok_or_else(|| Error::AttachmentNotFound(id.to_string()))
}

fn over(id: Uuid) -> Error {
    Error::Stale(format!("attachment {id} is over"))
}

fn info(row: &VolumeRow) -> Result<VolumeInfo, Error> {
    let missing = || Error::Unavailable(format!("the file of volume {} is not there", row.id));
    Ok(VolumeInfo {
        volume: row.id,
        name: row.name.clone().unwrap_or_default(),
        size_gib: row.size_gib(),
        bootable: row.bootable,
        host: row.file.host.clone().ok_or_else(missing)?,
    })
}

/// How this host reaches the volume, once the volume's own host has made it so.
pub(crate) fn connection(row: &VolumeRow, host: &str) -> Result<Connection, Error> {
    let (id, file) = (row.id, &row.file);
    if let Some(reason) = &file.failure {
        return Err(Error::InvalidVolume(format!("Volume {id} is in error: {reason}")));
    }
    if file.export.is_some() != file.exported.is_some() || !file.is_ready() {
        let words = format!("the way of host {host} to volume {id} is being made; try again");
        return Err(Error::Unavailable(words));
    }
    let missing = || Error::Unavailable(format!("the file of volume {id} is not there"));
    Ok(Connection {
        volume: info(row)?,
        path: file.path.clone().ok_or_else(missing)?,
        format: file.format,
        remote: file.exported.clone(),
    })
}
