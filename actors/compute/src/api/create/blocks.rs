//! The block devices of a request for servers.

use updraft_runtime::rpc::{CallError, Cx, FaultKind};
use uuid::Uuid;

use super::{
    body::{BlockDevice, DestinationType, Server, SourceType},
    peers::unreachable_service,
};
use crate::{
    Goal,
    api::call::Call,
    error::{Error, Outcome, bad_request},
    reservations::{self, Held, HoldError},
    rows::VolumeRow,
};

/// What nova puts before every complaint about block devices.
const INVALID: &str = "Block Device Mapping is Invalid";

/// One volume asked for.
struct Wanted {
    volume: Uuid,
    boot: bool,
    delete_on_termination: bool,
}

/// The volumes asked for, not yet reserved.
pub(super) struct Asked(Vec<Wanted>);

/// The volumes, reserved.
pub(super) struct Blocks(Vec<(Wanted, Held)>);

/// What a server boots from, and its volumes.
pub(super) fn read(server: &Server) -> Outcome<(Option<Uuid>, Asked)> {
    let mut image = match server.image.as_deref() {
        None | Some("") => None,
        // Old clients send an address that ends in the id.
        Some(text) => {
            let id = text.rsplit('/').next().and_then(|id| Uuid::try_parse(id).ok());
            let words =
                || format!("Invalid imageRef provided: '{text}' is not the id of an image.");
            Some(id.ok_or_else(|| bad_request(words()))?)
        }
    };
    let mut asked = Vec::new();
    for block in &server.block_device_mapping_v2 {
        match kind(block)? {
            Kind::Root(named) if image.is_none_or(|image| image == named) => image = Some(named),
            Kind::Root(_) => return Err(boot_sequence()),
            Kind::Volume(wanted) => asked.push(wanted),
        }
    }
    let boots = asked.iter().filter(|wanted| wanted.boot).count();
    match (image, boots) {
        (None, 0) if asked.is_empty() => Err(bad_request("Missing imageRef attribute")),
        (Some(_), 0) | (None, 1) => Ok((image, Asked(asked))),
        _ => Err(boot_sequence()),
    }
}

enum Kind {
    /// The root disk is made from this image.
    Root(Uuid),
    Volume(Wanted),
}

fn kind(block: &BlockDevice) -> Outcome<Kind> {
    let source = block.source_type.or(block.volume_id.map(|_| SourceType::Volume));
    let id = block.uuid.or(block.volume_id);
    match (source, block.destination_type, id) {
        (Some(SourceType::Image), Some(DestinationType::Local), Some(id)) => Ok(Kind::Root(id)),
        (Some(SourceType::Volume), None | Some(DestinationType::Volume), Some(id)) => {
            Ok(Kind::Volume(Wanted {
                volume: id,
                boot: block.boot_index.is_some_and(|index| index.0 == 0),
                delete_on_termination: block.delete_on_termination.is_some_and(|flag| flag.0),
            }))
        }
        (Some(SourceType::Image | SourceType::Volume), _, None) => {
            Err(bad_request(format!("{INVALID}: a block device names no image or volume.")))
        }
        _ => Err(bad_request(format!(
            "{INVALID}: a server's disks are made from an image on its host, or are volumes that exist."
        ))),
    }
}

fn boot_sequence() -> Error {
    bad_request(format!(
        "{INVALID}: Boot sequence for the instance and image/block device mapping combination is not \
         valid."
    ))
}

impl Asked {
    /// Reserves them for the server.
    pub(super) async fn hold(
        self,
        call: &Call,
        cx: &Cx,
        server: Uuid,
        count: u64,
    ) -> Outcome<Blocks> {
        if self.0.is_empty() {
            return Ok(Blocks(Vec::new()));
        }
        if count > 1 {
            return Err(bad_request("Cannot attach one or more volumes to multiple instances"));
        }
        call.must("servers:create:attach_volume")?;
        let volumes: Vec<Uuid> = self.0.iter().map(|wanted| wanted.volume).collect();
        let context = &call.api.context;
        let held = reservations::hold((&context.rpc, &context.store), cx, server, &volumes).await;
        let held = held.map_err(refused)?;
        let blocks = Blocks(self.0.into_iter().zip(held).collect());
        if let Err(error) = blocks.check() {
            reservations::let_go(&context.store, &blocks.attachments()).await;
            return Err(error);
        }
        Ok(blocks)
    }
}

fn refused(error: HoldError) -> Error {
    let (volume, error) = match error {
        HoldError::Store(error) => return error.into(),
        HoldError::Volume { volume, error } => (volume, error),
    };
    match error.fault().map(|fault| (fault.kind, &fault.message)) {
        Some((FaultKind::NotFound, _)) => {
            bad_request(format!("{INVALID}: failed to get volume {volume}."))
        }
        Some((FaultKind::Conflict | FaultKind::Invalid, message)) => invalid_volume(message),
        Some((FaultKind::Forbidden, message)) => crate::error::forbidden(message),
        _ => unreachable_service("volume", &error),
    }
}

/// Cinder's words about a volume, with nova's in front of them.
pub(crate) fn invalid_volume(message: &str) -> Error {
    match message.starts_with("Invalid volume") {
        true => bad_request(message),
        false => bad_request(format!("Invalid volume: {message}")),
    }
}

/// Why a volume cannot be reserved for a server that exists, where nova answers 404 for one that does not.
pub(crate) fn refused_for_attaching(error: HoldError) -> Error {
    match &error {
        HoldError::Volume { volume, error: CallError::Rejected(fault) }
            if fault.kind == FaultKind::NotFound =>
        {
            crate::error::not_found(format!("Volume {volume} could not be found."))
        }
        _ => refused(error),
    }
}

impl Blocks {
    /// Whether a server can have these at once.
    fn check(&self) -> Outcome<()> {
        let unbootable = self.0.iter().find(|(wanted, held)| wanted.boot && !held.volume.bootable);
        if let Some((wanted, _)) = unbootable {
            return Err(bad_request(format!("Block Device {} is not bootable.", wanted.volume)));
        }
        Ok(())
    }

    /// The host that has the first of the volumes, the one that a server boots from if it has no image.
    pub(super) fn host(&self) -> Option<&str> {
        self.0.first().map(|(_, held)| held.volume.host.as_str())
    }

    pub(super) fn attachments(&self) -> Vec<Uuid> {
        self.0.iter().map(|(_, held)| held.attachment).collect()
    }

    /// As the server's row keeps them.
    pub(super) fn volumes(&self) -> Vec<VolumeRow> {
        let row = |(wanted, held): &(Wanted, Held)| VolumeRow {
            volume: wanted.volume,
            attachment: held.attachment,
            goal: Goal::Present,
            boot: wanted.boot,
            delete_on_termination: wanted.delete_on_termination,
            device: None,
            announced: false,
        };
        self.0.iter().map(row).collect()
    }
}
