//! Volumes, snapshots and attachments as clients see them, by microversion.

use serde_json::{Value, json};
use updraft_edge::rest::{Links, Microversion, time::iso_micros};

use super::types;
use crate::rows::{Attachment, AttachmentState, SnapshotRow, VolumeRow};

/// Who looks, and by which version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viewer<'a> {
    pub(super) links: &'a Links,
    pub(super) version: Microversion,
    pub(super) admin: bool,
}

impl Viewer<'_> {
    fn since(&self, minor: u32) -> bool {
        self.version >= Microversion::new(3, minor)
    }

    /// A volume in a short list.
    pub(super) fn volume_summary(&self, row: &VolumeRow) -> Value {
        json!({
            "id": row.id,
            "name": row.name,
            "links": self.links.resource(&format!("volumes/{}", row.id)),
        })
    }

    /// A volume as lists with details and looks at one show it.
    pub(super) fn volume(&self, row: &VolumeRow) -> Value {
        let mut view = self.volume_itself(row);
        view["os-vol-tenant-attr:tenant_id"] = json!(row.project);
        if !row.image_metadata.is_empty() {
            view["volume_image_metadata"] = json!(row.image_metadata);
        }
        if self.admin {
            view["os-vol-host-attr:host"] = json!(row.file.host.as_deref().map(backend));
            view["os-vol-mig-status-attr:migstat"] = Value::Null;
            view["os-vol-mig-status-attr:name_id"] = Value::Null;
        }
        view
    }

    /// A volume as it is answered when it is made or changed: without what extensions add.
    pub(super) fn volume_itself(&self, row: &VolumeRow) -> Value {
        let (snapshot, source_volume) = match &row.source {
            crate::rows::Source::Snapshot(id) => (Some(*id), None),
            crate::rows::Source::Volume(id) => (None, Some(*id)),
            _ => (None, None),
        };
        let mut view = json!({
            "id": row.id,
            "status": row.status().as_str(),
            "size": row.size_gib(),
            "availability_zone": row.availability_zone,
            "created_at": iso_micros(row.created_at),
            "updated_at": row.updated_at.map(iso_micros),
            "name": row.name,
            "description": row.description,
            "volume_type": types::NAME,
            "snapshot_id": snapshot,
            "source_volid": source_volume,
            "metadata": row.metadata,
            "links": self.links.resource(&format!("volumes/{}", row.id)),
            "user_id": row.user,
            "bootable": row.bootable.to_string(),
            "encrypted": false,
            "replication_status": null,
            "consistencygroup_id": null,
            "multiattach": false,
            "attachments": self.attachments(row),
        });
        self.add_for_admin(&mut view);
        self.add_by_version(&mut view);
        view
    }

    fn add_for_admin(&self, view: &mut Value) {
        if !self.admin {
            return;
        }
        view["migration_status"] = Value::Null;
        if self.since(21) {
            view["provider_id"] = Value::Null;
        }
        if self.since(61) {
            view["cluster_name"] = Value::Null;
        }
    }

    fn add_by_version(&self, view: &mut Value) {
        if self.since(13) {
            view["group_id"] = Value::Null;
        }
        if self.since(48) {
            view["shared_targets"] = json!(false);
            view["service_uuid"] = Value::Null;
        }
        if self.since(63) {
            view["volume_type_id"] = json!(types::ID);
        }
        if self.since(65) {
            view["consumes_quota"] = json!(true);
        }
    }

    fn attachments(&self, row: &VolumeRow) -> Vec<Value> {
        let attached = row.attachment.as_ref();
        let attached = attached.filter(|held| held.state == AttachmentState::Attached);
        let view = |held: &Attachment| {
            json!({
                "id": row.id,
                "attachment_id": held.id,
                "volume_id": row.id,
                "server_id": held.server,
                "host_name": held.host.as_ref().filter(|_| self.admin),
                "device": held.device,
                "attached_at": held.attached_at.map(iso_micros),
            })
        };
        attached.into_iter().map(view).collect()
    }

    /// A snapshot in a short list.
    pub(super) fn snapshot_summary(&self, row: &SnapshotRow) -> Value {
        json!({
            "id": row.id,
            "created_at": iso_micros(row.created_at),
            "updated_at": row.updated_at.map(iso_micros),
            "name": row.name,
            "description": row.description,
            "volume_id": row.volume,
            "status": row.status().as_str(),
            "size": row.file.size_gib,
            "metadata": row.metadata,
        })
    }

    /// A snapshot as it is answered when it is made or changed: without what extensions add.
    pub(super) fn snapshot_itself(&self, row: &SnapshotRow) -> Value {
        let mut view = self.snapshot_summary(row);
        if self.since(14) {
            view["group_snapshot_id"] = Value::Null;
        }
        if self.since(41) {
            view["user_id"] = json!(row.user);
        }
        if self.since(65) {
            view["consumes_quota"] = json!(true);
        }
        view
    }

    /// A snapshot as lists with details and looks at one show it.
    pub(super) fn snapshot(&self, row: &SnapshotRow) -> Value {
        let mut view = self.snapshot_itself(row);
        let progress = if row.file.served > 0 { "100%" } else { "0%" };
        view["os-extended-snapshot-attributes:progress"] = json!(progress);
        view["os-extended-snapshot-attributes:project_id"] = json!(row.project);
        view
    }
}

/// A host as operators of the real service know it: with its back end and pool.
fn backend(host: &str) -> String {
    format!("{host}@files#files")
}

/// An attachment.
pub(super) fn attachment(row: &VolumeRow, held: &Attachment, detailed: bool) -> Value {
    let mut view = json!({
        "id": held.id,
        "status": held.state.as_str(),
        "instance": held.server,
        "volume_id": row.id,
    });
    if detailed {
        view["attached_at"] = json!(held.attached_at.map(iso_micros).unwrap_or_default());
        view["detached_at"] = json!("");
        view["attach_mode"] = json!("rw");
        view["connection_info"] = connection(row, held);
    }
    view
}

fn connection(row: &VolumeRow, held: &Attachment) -> Value {
    if held.state == AttachmentState::Reserved {
        return json!({});
    }
    json!({
        "driver_volume_type": "local",
        "device_path": row.file.path,
        "attachment_id": held.id,
        "volume_id": row.id,
        "access_mode": "rw",
        "encrypted": false,
    })
}
