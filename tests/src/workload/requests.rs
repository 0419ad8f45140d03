//! A request as it is sent.

use serde_json::{Value, json};

use super::{Ask, NewServer, users::Kind};
use crate::{
    cloud::{PASSWORD, TOKENS, log_in},
    flow::Prepared,
};

pub(super) const SERVERS: &str = "/compute/v2.1/servers";
pub(super) const VOLUMES: &str = "/volume/v3/volumes";
pub(super) const SNAPSHOTS: &str = "/volume/v3/snapshots";
pub(super) const IMAGES: &str = "/image/v2/images";
pub(super) const NETWORKS: &str = "/networking/v2.0/networks";
pub(super) const PORTS: &str = "/networking/v2.0/ports";
pub(super) const KEY_PAIRS: &str = "/compute/v2.1/os-keypairs";

/// What an uploaded image holds.
const BYTES: &[u8] = b"a disk that somebody made up";

/// A request, and what its answer means.
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) about: About,
}

/// What becomes of something when a request is taken.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// It is made.
    Makes(Kind),
    /// It shall be gone.
    Deletes(Kind, String),
    /// It changes.
    Changes,
    /// It is a token.
    LogsIn,
}

/// Picks one of a kind by counting around; `None` if there is none.
pub(super) trait Known {
    fn pick(&self, kind: Kind, which: u8) -> Option<String>;
    fn have(&self) -> &Prepared;
    fn small_flavor(&self) -> &str;
    fn fresh_number(&mut self) -> u64;
}

#[allow(clippy::needless_pass_by_value, reason = "callers write the body where they send it")]
fn sends(method: &'static str, path: String, body: Value, about: About) -> Request {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Request { method, path, content_type: "application/json", body, about }
}

fn makes(path: &str, kind: Kind, body: Value) -> Option<Request> {
    Some(sends("POST", path.to_owned(), body, About::Makes(kind)))
}

fn deletes(known: &impl Known, path: &str, kind: Kind, which: u8) -> Option<Request> {
    let id = known.pick(kind, which)?;
    Some(delete(path, kind, &id))
}

/// The request that deletes this.
pub(super) fn delete(path: &str, kind: Kind, id: &str) -> Request {
    let about = About::Deletes(kind, id.to_owned());
    sends("DELETE", format!("{path}/{id}"), Value::Null, about)
}

fn acts(known: &impl Known, which: u8, body: Value) -> Option<Request> {
    let server = known.pick(Kind::Server, which)?;
    Some(sends("POST", format!("{SERVERS}/{server}/action"), body, About::Changes))
}

/// The request that asks for this; `None` if there is nothing to ask it of.
pub(super) fn of(known: &mut impl Known, ask: &Ask) -> Option<Request> {
    let number = known.fresh_number();
    let name = format!("r{number}");
    match ask {
        Ask::MakeNetwork => makes(NETWORKS, Kind::Network, json!({"network": {"name": name}})),
        Ask::DeleteNetwork(which) => deletes(known, NETWORKS, Kind::Network, *which),
        Ask::MakePort(which) => {
            let network = network(known, *which);
            makes(PORTS, Kind::Port, json!({"port": {"name": name, "network_id": network}}))
        }
        Ask::DeletePort(which) => deletes(known, PORTS, Kind::Port, *which),
        Ask::MakeVolume(gib) => {
            makes(VOLUMES, Kind::Volume, json!({"volume": {"size": gib.max(&1), "name": name}}))
        }
        Ask::DeleteVolume(which) => deletes(known, VOLUMES, Kind::Volume, *which),
        Ask::MakeSnapshot(which) => {
            let volume = known.pick(Kind::Volume, *which)?;
            let body = json!({"snapshot": {"volume_id": volume, "name": name, "force": true}});
            makes(SNAPSHOTS, Kind::Snapshot, body)
        }
        Ask::DeleteSnapshot(which) => deletes(known, SNAPSHOTS, Kind::Snapshot, *which),
        Ask::MakeVolumeFrom(which) => {
            let snapshot = known.pick(Kind::Snapshot, *which)?;
            let body = json!({"volume": {"size": 3, "name": name, "snapshot_id": snapshot}});
            makes(VOLUMES, Kind::Volume, body)
        }
        Ask::MakeImage => {
            let body = json!({"name": name, "disk_format": "raw", "container_format": "bare"});
            makes(IMAGES, Kind::Image, body)
        }
        Ask::Upload(which) => {
            let image = known.pick(Kind::Image, *which)?;
            let path = format!("{IMAGES}/{image}/file");
            let upload = sends("PUT", path, Value::Null, About::Changes);
            let content_type = "application/octet-stream";
            Some(Request { content_type, body: BYTES.to_vec(), ..upload })
        }
        Ask::DeleteImage(which) => deletes(known, IMAGES, Kind::Image, *which),
        Ask::MakeKeyPair => makes(KEY_PAIRS, Kind::KeyPair, key_pair(&name)),
        Ask::DeleteKeyPair(which) => deletes(known, KEY_PAIRS, Kind::KeyPair, *which),
        Ask::LogIn => {
            let body = log_in("admin", "admin", PASSWORD);
            Some(sends("POST", TOKENS.to_owned(), body, About::LogsIn))
        }
        _ => of_server(known, ask, &name),
    }
}

/// The same for what is asked of servers.
fn of_server(known: &impl Known, ask: &Ask, name: &str) -> Option<Request> {
    match ask {
        Ask::MakeServer(new) => {
            let body = server(known, new, name);
            makes(SERVERS, Kind::Server, body)
        }
        Ask::DeleteServer(which) => deletes(known, SERVERS, Kind::Server, *which),
        Ask::Stop(which) => acts(known, *which, json!({"os-stop": null})),
        Ask::Start(which) => acts(known, *which, json!({"os-start": null})),
        Ask::Reboot(which, hard) => {
            let how = if *hard { "HARD" } else { "SOFT" };
            acts(known, *which, json!({"reboot": {"type": how}}))
        }
        Ask::Resize(which) => {
            let flavor = known.small_flavor().to_owned();
            acts(known, *which, json!({"resize": {"flavorRef": flavor}}))
        }
        Ask::ConfirmResize(which) => acts(known, *which, json!({"confirmResize": null})),
        Ask::RevertResize(which) => acts(known, *which, json!({"revertResize": null})),
        Ask::Attach(server, volume) => {
            let server = known.pick(Kind::Server, *server)?;
            let volume = known.pick(Kind::Volume, *volume)?;
            let path = format!("{SERVERS}/{server}/os-volume_attachments");
            let body = json!({"volumeAttachment": {"volumeId": volume}});
            Some(sends("POST", path, body, About::Changes))
        }
        Ask::Detach(server, volume) => {
            let server = known.pick(Kind::Server, *server)?;
            let volume = known.pick(Kind::Volume, *volume)?;
            let path = format!("{SERVERS}/{server}/os-volume_attachments/{volume}");
            Some(sends("DELETE", path, Value::Null, About::Changes))
        }
        // What is not of servers is asked above, and what to proceed with its user has made up his mind on.
        _ => None,
    }
}

/// One that users made, or else the one that was there before.
fn network(known: &impl Known, which: u8) -> String {
    let made = (which > 0).then(|| known.pick(Kind::Network, which)).flatten();
    made.unwrap_or_else(|| known.have().network.clone())
}

fn key_pair(name: &str) -> Value {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    json!({"keypair": {"name": name, "public_key": key, "type": "ssh"}})
}

fn server(known: &impl Known, new: &NewServer, name: &str) -> Value {
    let image = new.image.and_then(|which| known.pick(Kind::Image, which));
    let mut nics = Vec::new();
    nics.extend(new.network.map(|which| json!({"uuid": network(known, which)})));
    let port = new.port.and_then(|which| known.pick(Kind::Port, which));
    nics.extend(port.map(|port| json!({"port": port})));
    let networks = if nics.is_empty() { json!("none") } else { json!(nics) };
    let mut server = json!({
        "name": name,
        "imageRef": image.as_ref().unwrap_or(&known.have().image),
        "flavorRef": known.have().flavor,
        "networks": networks,
    });
    if let Some(key) = new.key_pair.and_then(|which| known.pick(Kind::KeyPair, which)) {
        server["key_name"] = json!(key);
    }
    if let Some(volume) = new.volume.and_then(|which| known.pick(Kind::Volume, which)) {
        server["block_device_mapping_v2"] = json!([
            {"boot_index": 0, "uuid": server["imageRef"], "source_type": "image",
             "destination_type": "local", "delete_on_termination": true},
            {"boot_index": -1, "uuid": volume, "source_type": "volume",
             "destination_type": "volume", "delete_on_termination": false}]);
    }
    json!({"server": server})
}
