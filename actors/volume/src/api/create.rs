//! Making a volume: of nothing, of a snapshot, of another volume, or of an image.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, JsonBody, Links, Microversion, Service};
use updraft_protocol::{
    image::{self, ImageLocation, Locate},
    volume::{API, FileSource},
};
use updraft_runtime::rpc::{CallError, Cx, FaultKind};
use uuid::Uuid;

use super::{
    Flag, Number, ZONE, checked_metadata, invalid, member, read, text, types, view::Viewer,
};
use crate::{
    Shared,
    error::Error,
    quota::{self, Wanted},
    rows::{Caller, FileState, SnapshotRow, SnapshotStatus, Source, VolumeRow, VolumeStatus},
};

const GIB: u64 = 1 << 30;

/// What a client may say of a new volume. Older versions take any other field, too.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    name: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    display_description: Option<String>,
    size: Option<Number>,
    volume_type: Option<String>,
    availability_zone: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    snapshot_id: Option<Uuid>,
    source_volid: Option<Uuid>,
    #[serde(rename = "imageRef")]
    image_ref: Option<String>,
    image_id: Option<String>,
    multiattach: Option<Flag>,
    consistencygroup_id: Option<String>,
    group_id: Option<String>,
    backup_id: Option<String>,
}

/// The fields above, and those that are passed over.
const FIELDS: [&str; 17] = [
    "name",
    "display_name",
    "description",
    "display_description",
    "size",
    "volume_type",
    "availability_zone",
    "metadata",
    "snapshot_id",
    "source_volid",
    "imageRef",
    "image_id",
    "multiattach",
    "consistencygroup_id",
    "group_id",
    "backup_id",
    "scheduler_hints",
];

/// From this version on a field that is not known is refused.
const STRICT_SINCE: Microversion = Microversion::new(3, 53);

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    version: Microversion,
    links: Links,
    JsonBody(mut body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let project = shared.in_project(&auth, "volume:create")?;
    if let Some(body) = body.as_object_mut() {
        body.remove("OS-SCH-HNT:scheduler_hints");
    }
    let members = member(&body, "volume")?;
    if version >= STRICT_SINCE
        && let Some(other) = members.keys().find(|key| !FIELDS.contains(&key.as_str()))
    {
        let words = format!("Additional properties are not allowed ('{other}' was unexpected)");
        return Err(Service::Volume.invalid_field("volume", "an object", &words).into());
    }
    let body: Body = read(members)?;
    let plan = shared.planned(&auth, &body).await?;
    let row = shared.new_volume(&auth, &project, &body, plan)?;
    shared
        .repository
        .insert(&row, |txn| {
            check_source(txn, &row)?;
            quota::check(txn, &project, Wanted::Volume { size_gib: row.file.size_gib })
        })
        .await?;
    let viewer = Viewer { links: &links, version, admin: shared.is_admin(&auth) };
    Ok((StatusCode::ACCEPTED, Json(json!({"volume": viewer.volume_itself(&row)}))))
}

/// What a new volume shall begin as.
struct Planned {
    source: Source,
    file: FileSource,
    size_gib: u64,
    bootable: bool,
    image_metadata: BTreeMap<String, String>,
}

impl Shared {
    async fn planned(&self, auth: &Auth, body: &Body) -> Result<Planned, Error> {
        check_features(body)?;
        let asked = body.size.as_ref().map(|size| size.positive("size")).transpose()?;
        if let Some(id) = body.snapshot_id {
            return self.of_snapshot(auth, id, asked).await;
        }
        if let Some(id) = body.source_volid {
            return self.of_volume(auth, id, asked).await;
        }
        let image = body.image_ref.as_ref().or(body.image_id.as_ref());
        let size_gib = asked.ok_or_else(no_size)?;
        if let Some(image) = image.filter(|image| !image.is_empty()) {
            return self.of_image(auth, image, size_gib).await;
        }
        Ok(Planned {
            source: Source::Nothing,
            file: FileSource::Empty,
            size_gib,
            bootable: false,
            image_metadata: BTreeMap::new(),
        })
    }

    async fn of_snapshot(
        &self,
        auth: &Auth,
        id: Uuid,
        asked: Option<u64>,
    ) -> Result<Planned, Error> {
        let row = self.snapshot_for(auth, &id.to_string(), "volume:get_snapshot").await?;
        let least = row.file.size_gib;
        let size_gib = asked.unwrap_or(least);
        if size_gib < least {
            return Err(Error::InvalidInput(format!(
                "Volume size '{size_gib}'GB cannot be smaller than the snapshot size {least}GB. \
                 They must be >= original snapshot size."
            )));
        }
        Ok(Planned {
            source: Source::Snapshot(id),
            file: FileSource::File(id),
            size_gib,
            bootable: row.bootable,
            image_metadata: BTreeMap::new(),
        })
    }

    async fn of_volume(&self, auth: &Auth, id: Uuid, asked: Option<u64>) -> Result<Planned, Error> {
        let row = self.volume_for(auth, &id.to_string(), "volume:get").await?;
        let least = row.size_gib();
        let size_gib = asked.unwrap_or(least);
        if size_gib < least {
            return Err(Error::InvalidInput(format!(
                "Volume size '{size_gib}'GB cannot be smaller than original volume size  {least}GB. \
                 They must be >= original volume size."
            )));
        }
        Ok(Planned {
            source: Source::Volume(id),
            file: FileSource::File(id),
            size_gib,
            bootable: row.bootable,
            image_metadata: row.image_metadata,
        })
    }

    async fn of_image(&self, auth: &Auth, image: &str, size_gib: u64) -> Result<Planned, Error> {
        self.in_project(auth, "volume:create_from_image")?;
        let location = self.locate(auth, image).await?;
        check_image(&location, size_gib)?;
        Ok(Planned {
            source: Source::Image(location.image),
            file: FileSource::Image(location.image),
            size_gib,
            bootable: true,
            image_metadata: image_metadata(&location),
        })
    }

    /// Asks the image service, on behalf of the user.
    async fn locate(&self, auth: &Auth, image: &str) -> Result<ImageLocation, Error> {
        let unknown = || {
            Error::BadRequest(format!(
                "Invalid image identifier or unable to access requested image: {image}"
            ))
        };
        // A reference may be an address that ends in the id.
        let id = image.rsplit('/').next().and_then(|id| id.parse().ok()).ok_or_else(unknown)?;
        let env = &self.context.env;
        let context =
            auth.context().encode().map_err(|error| Error::BadRequest(error.to_string()))?;
        let cx = Cx::new(API, auth.request_id.trace(env)).with_context(context.into());
        match self.context.rpc.client::<image::Api>().call(&Locate { image: id }, &cx).await {
            Ok(location) => Ok(location),
            Err(CallError::Rejected(fault)) if fault.kind == FaultKind::Conflict => {
                Err(Error::InvalidInput(fault.message))
            }
            Err(CallError::Rejected(fault)) if fault.kind != FaultKind::Unavailable => {
                Err(unknown())
            }
            Err(error) => Err(Error::Unavailable(format!("the image service: {error}"))),
        }
    }

    fn new_volume(
        &self,
        auth: &Auth,
        project: &str,
        body: &Body,
        plan: Planned,
    ) -> Result<VolumeRow, Error> {
        let now = self.context.env.wall();
        let caller = match &plan.source {
            Source::Image(_) => Some(self.caller(auth)?),
            _ => None,
        };
        let metadata = checked_metadata(body.metadata.clone().unwrap_or_default())?;
        let file = FileState::wanted(plan.size_gib, self.config.format, plan.file, now);
        Ok(VolumeRow {
            id: self.context.env.uuid(),
            project: project.to_owned(),
            user: auth.principal.user.id.clone(),
            name: text("name", body.name.as_ref().or(body.display_name.as_ref()))?,
            description: text(
                "description",
                body.description.as_ref().or(body.display_description.as_ref()),
            )?,
            availability_zone: ZONE.to_owned(),
            metadata,
            bootable: plan.bootable,
            image_metadata: plan.image_metadata,
            source: plan.source,
            file,
            extend_failed: false,
            attachment: None,
            released: BTreeMap::new(),
            reset: None,
            caller,
            created_at: now,
            updated_at: None,
        })
    }

    fn caller(&self, auth: &Auth) -> Result<Caller, Error> {
        let context = auth.context().encode();
        let context = context.map_err(|error| Error::BadRequest(error.to_string()))?;
        let trace = auth.request_id.trace(&self.context.env);
        Ok(Caller { context: STANDARD.encode(context), trace })
    }
}

fn no_size() -> Error {
    Error::InvalidInput("Volume size 'None' must be an integer and greater than 0".to_owned())
}

/// Refuses what this service does not have, in words that say so.
fn check_features(body: &Body) -> Result<(), Error> {
    if let Some(kind) = body.volume_type.as_deref().filter(|kind| !kind.is_empty())
        && kind != types::NAME
        && kind != types::ID
    {
        return Err(types::unknown(kind));
    }
    if let Some(zone) = body.availability_zone.as_deref().filter(|zone| *zone != ZONE) {
        return Err(Error::InvalidInput(format!("Availability zone '{zone}' is invalid.")));
    }
    if body.multiattach.as_ref().map(|flag| flag.get("multiattach")).transpose()? == Some(true) {
        let words = "multiattach parameter has been removed. The default behavior is to use \
                     multiattach enabled volume types. Contact your administrator to create a \
                     multiattach enabled volume type and use it to create multiattach volumes.";
        return Err(Error::BadRequest(words.to_owned()));
    }
    for (name, value) in [
        ("consistencygroup_id", &body.consistencygroup_id),
        ("group_id", &body.group_id),
        ("backup_id", &body.backup_id),
    ] {
        if let Some(value) = value {
            return Err(invalid(name, value, "names nothing: there are no groups and no backups"));
        }
    }
    let sources = [
        body.snapshot_id.is_some(),
        body.source_volid.is_some(),
        body.image_ref.is_some() || body.image_id.is_some(),
    ];
    if sources.iter().filter(|given| **given).count() > 1 {
        let words = "May specify only one of snapshot, imageRef or source volume.";
        return Err(Error::InvalidInput(words.to_owned()));
    }
    Ok(())
}

fn check_image(image: &ImageLocation, size_gib: u64) -> Result<(), Error> {
    let image_gib = image.size_bytes.div_ceil(GIB);
    if image_gib > size_gib {
        return Err(Error::InvalidInput(format!(
            "Size of specified image {image_gib}GB is larger than volume size {size_gib}GB."
        )));
    }
    if image.min_disk_gib > size_gib {
        return Err(Error::InvalidInput(format!(
            "Volume size {size_gib}GB cannot be smaller than the image minDisk size {}GB.",
            image.min_disk_gib
        )));
    }
    if !["qcow2", "raw"].contains(&image.disk_format.as_str()) {
        return Err(Error::BadRequest(format!(
            "Image {} is unacceptable: format {} cannot be made into a volume",
            image.image, image.disk_format
        )));
    }
    Ok(())
}

fn image_metadata(image: &ImageLocation) -> BTreeMap<String, String> {
    let mut metadata = image.properties.clone();
    for (name, value) in [
        ("image_id", image.image.to_string()),
        ("image_name", image.name.clone()),
        ("disk_format", image.disk_format.clone()),
        ("container_format", image.container_format.clone()),
        ("min_disk", image.min_disk_gib.to_string()),
        ("min_ram", image.min_ram_mib.to_string()),
        ("size", image.size_bytes.to_string()),
    ] {
        metadata.insert(name.to_owned(), value);
    }
    let boot = [("kernel_id", image.kernel), ("ramdisk_id", image.ramdisk)];
    let boot = boot.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id?.to_string())));
    metadata.extend(boot);
    metadata
}

/// Refuses a source that cannot be copied now, in the transaction that makes the copy.
fn check_source(txn: &updraft_runtime::store::Txn, row: &VolumeRow) -> Result<(), Error> {
    match row.source {
        Source::Snapshot(id) => {
            let snapshot = txn.get::<SnapshotRow>(&id.to_string())?;
            let ready = snapshot.is_some_and(|snapshot| {
                snapshot.status() == SnapshotStatus::Available && snapshot.file.is_ready()
            });
            let words = "Originating snapshot status must be one of 'available' values";
            if ready { Ok(()) } else { Err(Error::InvalidSnapshot(words.to_owned())) }
        }
        Source::Volume(id) => {
            let volume = txn.get::<VolumeRow>(&id.to_string())?;
            // A guest that writes while its disk is copied makes a copy that never was.
            let ready = volume.is_some_and(|volume| {
                volume.status() == VolumeStatus::Available && volume.file.is_ready()
            });
            let words = "Originating volume status must be one of 'available' values";
            if ready { Ok(()) } else { Err(Error::InvalidVolume(words.to_owned())) }
        }
        Source::Nothing | Source::Image(_) => Ok(()),
    }
}
