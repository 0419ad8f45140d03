//! What clients ask of every nova: its extensions, and host aggregates, of which there are none here.

use axum::{Router, extract::Path, response::Response, routing::get};
use serde_json::{Value, json};

use super::{Api, call::Call, servers::json as answer};
use crate::error::{Outcome, not_found};

/// The extensions of nova that are here, by alias and name.
const EXTENSIONS: [(&str, &str); 24] = [
    ("NMN", "Multinic"),
    ("OS-DCF", "DiskConfig"),
    ("OS-EXT-AZ", "ExtendedAvailabilityZone"),
    ("OS-EXT-IPS", "ExtendedIps"),
    ("OS-EXT-IPS-MAC", "ExtendedIpsMac"),
    ("OS-EXT-SRV-ATTR", "ExtendedServerAttributes"),
    ("OS-EXT-STS", "ExtendedStatus"),
    ("OS-FLV-DISABLED", "FlavorDisabled"),
    ("OS-FLV-EXT-DATA", "FlavorExtraData"),
    ("OS-SCH-HNT", "SchedulerHints"),
    ("OS-SRV-USG", "ServerUsage"),
    ("os-admin-actions", "AdminActions"),
    ("os-attach-interfaces", "AttachInterfaces"),
    ("os-availability-zone", "AvailabilityZone"),
    ("os-block-device-mapping-v2-boot", "BlockDeviceMappingV2Boot"),
    ("os-config-drive", "ConfigDrive"),
    ("os-console-output", "ConsoleOutput"),
    ("os-flavor-access", "FlavorAccess"),
    ("os-flavor-manage", "FlavorManage"),
    ("os-hypervisors", "Hypervisors"),
    ("os-instance-actions", "InstanceActions"),
    ("os-keypairs", "Keypairs"),
    ("os-quota-sets", "Quotas"),
    ("os-server-groups", "ServerGroups"),
];

/// The routes of these.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/extensions", get(extensions))
        .route("/extensions/{alias}", get(extension))
        .route("/os-aggregates", get(aggregates))
        .route("/os-aggregates/{aggregate}", get(aggregate))
}

fn view((alias, name): (&str, &str)) -> Value {
    json!({
        "alias": alias,
        "name": name,
        "description": "",
        "links": [],
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        "updated": "2014-12-03T00:00:00Z",
    })
}

async fn extensions(call: Call) -> Outcome<Response> {
    call.must("extensions")?;
    answer(&json!({"extensions": EXTENSIONS.map(view)}))
}

async fn extension(call: Call, Path(alias): Path<String>) -> Outcome<Response> {
    call.must("extensions")?;
    let found = EXTENSIONS.into_iter().find(|(known, _)| *known == alias);
    let words = || not_found(format!("Extension {alias} could not be found."));
    answer(&json!({"extension": view(found.ok_or_else(words)?)}))
}

async fn aggregates(call: Call) -> Outcome<Response> {
    call.must("os-aggregates:index")?;
    answer(&json!({"aggregates": []}))
}

async fn aggregate(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    call.must("os-aggregates:index")?;
    Err(not_found(format!("Aggregate {id} could not be found.")))
}
