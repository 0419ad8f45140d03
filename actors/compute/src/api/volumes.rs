//! /servers/{id}/os-volume_attachments.

use axum::{
    Json, Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use updraft_edge::rest::{JsonBody, Page, Query, Service};
use updraft_protocol::compute::Goal;
use updraft_runtime::store::Txn;
use uuid::Uuid;

use super::{
    Api,
    body::Flag,
    call::Call,
    change::{self, Verb},
    create::{
        blocks::{invalid_volume, refused_for_attaching},
        body::Tag,
    },
    servers::json as answer,
};
use crate::{
    error::{Outcome, bad_field, bad_request, forbidden, not_found},
    reservations::{self, Held},
    rows::{ActionKind, ServerRow, VolumeRow},
};

/// Most disks of one server: the letters that its guest names them by.
const DISKS_MAX: usize = 26;

/// The routes of volumes of a server.
pub(super) fn routes() -> Router<Api> {
    Router::new().route("/servers/{server}/os-volume_attachments", get(index).post(attach)).route(
        "/servers/{server}/os-volume_attachments/{volume}",
        get(show).put(update).delete(detach),
    )
}

/// An attachment as its users see it.
#[derive(Serialize)]
struct View {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(rename = "volumeId")]
    volume: Uuid,
    #[serde(rename = "serverId")]
    server: Uuid,
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_on_termination: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bdm_uuid: Option<Uuid>,
}

fn view(call: &Call, row: &ServerRow, index: usize, volume: &VolumeRow) -> View {
    let newest = call.version >= 89;
    View {
        id: (!newest).then_some(volume.volume),
        volume: volume.volume,
        server: row.id,
        device: volume.device.clone().or_else(|| Some(device(row, index, volume))),
        tag: (call.version >= 70).then_some(None),
        delete_on_termination: (call.version >= 79).then_some(volume.delete_on_termination),
        attachment_id: newest.then_some(volume.attachment),
        bdm_uuid: newest.then_some(volume.attachment),
    }
}

/// The device that the guest will most likely show the volume as.
fn device(row: &ServerRow, index: usize, volume: &VolumeRow) -> String {
    let place = if volume.boot { 0 } else { index + usize::from(row.image.is_some()) };
    let letter = u8::try_from(place.min(DISKS_MAX - 1)).map_or(b'z', |place| b'a' + place);
    format!("/dev/vd{}", char::from(letter))
}

#[derive(Serialize)]
struct Many {
    #[serde(rename = "volumeAttachments")]
    attachments: Vec<View>,
}

async fn index(call: Call, query: Query, Path(id): Path<String>) -> Outcome<Response> {
    let row = call.read_server(&id, "os-volumes-attachments:index").await?;
    let page = Page::of(Service::Compute, &query)?;
    let all = row.volumes.iter().enumerate();
    let all = all.map(|(index, volume)| view(&call, &row, index, volume));
    let shown = all.skip(page.offset).take(page.limit.unwrap_or(usize::MAX));
    answer(&Many { attachments: shown.collect() })
}

#[derive(Serialize)]
struct One {
    #[serde(rename = "volumeAttachment")]
    attachment: View,
}

async fn show(call: Call, Path((id, volume)): Path<(String, String)>) -> Outcome<Response> {
    let row = call.read_server(&id, "os-volumes-attachments:show").await?;
    let found = row.volumes.iter().position(|known| known.volume.to_string() == volume);
    let found = found.and_then(|index| Some((index, row.volumes.get(index)?)));
    let (index, known) = found.ok_or_else(|| not_attached(&id, &volume))?;
    answer(&One { attachment: view(&call, &row, index, known) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttachBody {
    #[serde(rename = "volumeAttachment")]
    attachment: Attach,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attach {
    #[serde(rename = "volumeId")]
    volume: Uuid,
    /// The guest names its devices itself, whatever is asked for.
    #[serde(rename = "device")]
    _device: Option<String>,
    tag: Option<Tag>,
    delete_on_termination: Option<Flag>,
}

impl Attach {
    fn check_version(&self, version: u32) -> Outcome<()> {
        let early = match (&self.tag, &self.delete_on_termination) {
            (Some(_), _) if version < 49 => "tag",
            (_, Some(_)) if version < 79 => "delete_on_termination",
            _ => return Ok(()),
        };
        let reason = format!("Additional properties are not allowed ('{early}' was unexpected)");
        Err(bad_field("volumeAttachment", "an object", &reason))
    }
}

/// Checks, reserves the volume, and then gives it to the server in one transaction.
async fn attach(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<AttachBody>,
) -> Outcome<Response> {
    let wanted = body.attachment;
    wanted.check_version(call.version)?;
    let trace = call.begin_flow("POST /servers/{id}/os-volume_attachments");
    let context = &call.api.context;
    let allowed = |txn: &Txn| change::allowed(&call, txn, &id, Verb::AttachVolume);
    let server = context.store.read(allowed).await?;
    let cx = call.cx(trace)?;
    let access = (&context.rpc, &context.store);
    let held = reservations::hold(access, &cx, server.id, &[wanted.volume]).await;
    let held = held.map_err(refused_for_attaching)?;
    let add = |txn: &mut Txn, row: &mut ServerRow| {
        held.iter().try_for_each(|held| add(txn, row, held, &wanted))
    };
    let added =
        change::begin(&call, &id, Verb::AttachVolume, ActionKind::AttachVolume, trace, add).await;
    let row = match added {
        Ok(row) => row,
        Err(error) => {
            let attachments: Vec<Uuid> = held.iter().map(|held| held.attachment).collect();
            reservations::let_go(&context.store, &attachments).await;
            return Err(error);
        }
    };
    let index = row.volumes.iter().rposition(|known| known.volume == wanted.volume);
    let device = index
        .and_then(|index| Some(device(&row, index, row.volumes.get(index)?)))
        .unwrap_or_default();
    let mut attachment = json!({
        "id": wanted.volume,
        "volumeId": wanted.volume,
        "serverId": row.id,
        "device": device,
    });
    if call.version >= 70 {
        attachment["tag"] = json!(wanted.tag.as_ref().map(|tag| &tag.0));
    }
    if call.version >= 79 {
        let delete = wanted.delete_on_termination.is_some_and(|flag| flag.0);
        attachment["delete_on_termination"] = json!(delete);
    }
    Ok(Json(json!({"volumeAttachment": attachment})).into_response())
}

fn add(txn: &mut Txn, row: &mut ServerRow, held: &Held, wanted: &Attach) -> Outcome<()> {
    // It could not be held if the volume service had not let go of what goes: only this row does not know of it yet. A
    // want with both would have the guest unplug the volume for the one, and plug it for the other, for ever.
    row.volumes.retain(|known| known.volume != wanted.volume || known.goal == Goal::Present);
    if row.volumes.iter().any(|known| known.volume == wanted.volume) {
        let words = format!("volume '{}' is already attached to this server", wanted.volume);
        return Err(invalid_volume(&words));
    }
    if row.volumes.len() + usize::from(row.image.is_some()) >= DISKS_MAX {
        return Err(forbidden(format!(
            "The maximum allowed number of disk devices ({DISKS_MAX}) to attach to a single instance has \
             been exceeded."
        )));
    }
    if !reservations::take(txn, held.attachment)? {
        return Err(bad_request("The volume's reservation ended before it was attached."));
    }
    row.volumes.push(VolumeRow {
        volume: wanted.volume,
        attachment: held.attachment,
        goal: Goal::Present,
        boot: false,
        delete_on_termination: wanted.delete_on_termination.is_some_and(|flag| flag.0),
        device: None,
        announced: false,
    });
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    #[serde(rename = "volumeAttachment")]
    attachment: Update,
}

#[derive(Deserialize)]
struct Update {
    #[serde(rename = "volumeId")]
    volume: Uuid,
    delete_on_termination: Option<Flag>,
}

/// Another volume in the place of one is not offered; whether it goes with the server can be said.
async fn update(
    call: Call,
    Path((id, volume)): Path<(String, String)>,
    JsonBody(body): JsonBody<UpdateBody>,
) -> Outcome<Response> {
    let (same, flag) =
        (body.attachment.volume.to_string() == volume, body.attachment.delete_on_termination);
    let (Some(Flag(delete)), true, true) = (flag, same, call.version >= 85) else {
        let message = "The requested functionality is not supported.";
        return Err(Service::Compute.not_implemented(message).into());
    };
    let act = |_: &mut Txn, row: &mut ServerRow| {
        let known = row.volumes.iter_mut().find(|known| known.volume == body.attachment.volume);
        let known = known.ok_or_else(|| not_attached(&id, &volume))?;
        known.delete_on_termination = delete;
        Ok(())
    };
    let verb = Verb::Describe("os-volumes-attachments:create");
    change::at_once(&call, &id, verb, act).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn not_attached(id: &str, volume: &str) -> crate::error::Error {
    not_found(format!("Instance {id} is not attached to volume {volume}"))
}

/// The guest is asked to let go; what follows is the plan's.
async fn detach(call: Call, Path((id, volume)): Path<(String, String)>) -> Outcome<Response> {
    let trace = call.begin_flow("DELETE /servers/{id}/os-volume_attachments/{volume}");
    let act = |_: &mut Txn, row: &mut ServerRow| {
        let known = row.volumes.iter_mut().find(|known| known.volume.to_string() == volume);
        let known = known.ok_or_else(|| not_attached(&id, &volume))?;
        if known.boot {
            return Err(forbidden("Cannot detach a root device volume"));
        }
        known.goal = Goal::Absent;
        Ok(())
    };
    change::begin(&call, &id, Verb::DetachVolume, ActionKind::DetachVolume, trace, act).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
