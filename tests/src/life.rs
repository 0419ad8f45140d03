//! The life of a server with a port and a volume, as a user lives it who does not give up: what was not
//! answered is looked up, and what cannot be had is gone without.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    census,
    cloud::{Client, SimCloud},
    filters,
    flow::{self, Prepared},
    invariants,
};

/// How long anything may take to be settled after one fault: a build's own deadline is 600 s.
pub const SETTLES: Duration = Duration::from_secs(900);

/// How long everything may take to come to rest once users have what they asked for: a reservation that nobody
/// took is given up after 60 s, a driver that is late acts after 45 s.
pub const COMES_TO_REST: Duration = Duration::from_secs(240);

/// How often somebody who waits looks.
const LOOKS: Duration = Duration::from_millis(50);

const SERVERS: &str = "/compute/v2.1/servers";
const VOLUMES: &str = "/volume/v3/volumes";
const IMAGES: &str = "/image/v2/images";

/// What the image holds.
const BYTES: &[u8] = b"not much of a disk, either";

/// How a life ended, in a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lived {
    /// The image's status.
    pub image: String,
    /// The volume's status.
    pub volume: String,
    /// The server's status, with the fault's words.
    pub server: String,
    /// What became of attaching a volume.
    pub attached: String,
}

/// What the flow needs, and a volume on every host but one: where a server will be nobody knows yet.
#[must_use]
pub fn prepare(cloud: &mut SimCloud, client: &Client) -> Prepared {
    let have = flow::prepare(cloud, client);
    for _ in 1..cloud.hosts().len() {
        let body = json!({"volume": {"size": 1, "name": "spare"}});
        let id = text(&client.must(cloud, "POST", VOLUMES, body)["volume"]["id"]);
        let ready = wait(cloud, |cloud| Some(status_of(cloud, client, &id)? == "available"));
        assert!(ready, "a volume is not made");
    }
    have
}

/// Makes an image, a volume, a server with a port, and attaches a volume of the server's host.
///
/// # Panics
/// If what was acknowledged is lost, or something does not settle.
pub fn begin(cloud: &mut SimCloud, client: &Client, have: &Prepared) -> Lived {
    let (image, id) = make_image(cloud, client);
    let volume = make_volume(cloud, client);
    let server = make_server(cloud, client, have, id.as_ref().unwrap_or(&have.image));
    let attached = match server.starts_with("ACTIVE") {
        true => attach(cloud, client),
        false => "not tried".to_owned(),
    };
    Lived { image, volume, server, attached }
}

/// The image's status, and its id if there is one.
fn make_image(cloud: &mut SimCloud, client: &Client) -> (String, Option<String>) {
    let body = json!({"name": "disk", "disk_format": "raw", "container_format": "bare"});
    let taken = client.send(cloud, "POST", IMAGES, body).is_some_and(|answer| answer.status == 201);
    let (mut id, mut end) = (None, String::new());
    let settled = wait(cloud, |cloud| {
        let found = images(cloud, client)?.into_iter().next();
        end = found.as_ref().map_or("none".to_owned(), |image| text(&image["status"]));
        id = found.map(|image| text(&image["id"]));
        if end == "queued" {
            let path = format!("{IMAGES}/{}/file", id.as_deref().unwrap_or_default());
            client.send_bytes(cloud, "PUT", &path, "application/octet-stream", BYTES.to_vec());
        }
        Some(matches!(end.as_str(), "active" | "none"))
    });
    assert!(settled, "the image is {end} for ever");
    assert!(!taken || end != "none", "an acknowledged image is lost");
    (end, id)
}

/// The images that the life makes.
fn images(cloud: &mut SimCloud, client: &Client) -> Option<Vec<Value>> {
    let answer = client.send(cloud, "GET", &format!("{IMAGES}?name=disk"), Value::Null)?;
    answer.body["images"].as_array().filter(|_| answer.status == 200).cloned()
}

fn make_volume(cloud: &mut SimCloud, client: &Client) -> String {
    let body = json!({"volume": {"size": 1, "name": "data"}});
    let taken =
        client.send(cloud, "POST", VOLUMES, body).is_some_and(|answer| answer.status == 202);
    let mut end = String::new();
    let settled = wait(cloud, |cloud| {
        let listed = list(cloud, client, VOLUMES, "volumes")?;
        let made = listed.iter().find(|volume| volume["name"] == "data");
        end = made.map_or("none".to_owned(), |volume| text(&volume["status"]));
        Some(matches!(end.as_str(), "available" | "error" | "none"))
    });
    assert!(settled, "the volume is {end} for ever");
    assert!(!taken || end != "none", "an acknowledged volume is lost");
    end
}

fn make_server(cloud: &mut SimCloud, client: &Client, have: &Prepared, image: &str) -> String {
    let body = json!({"server": {"name": "vm", "imageRef": image, "flavorRef": have.flavor,
        "networks": [{"uuid": have.network}]}});
    let taken =
        client.send(cloud, "POST", SERVERS, body).is_some_and(|answer| answer.status == 202);
    let (mut status, mut fault) = (String::new(), String::new());
    let settled = wait(cloud, |cloud| {
        let listed = list(cloud, client, SERVERS, "servers")?;
        assert!(listed.len() <= 1, "one POST made {} servers", listed.len());
        status = listed.first().map_or("none".to_owned(), |server| text(&server["status"]));
        fault = listed.first().map_or_else(String::new, |server| text(&server["fault"]["message"]));
        Some(status != "BUILD")
    });
    assert!(settled, "the server is {status} for ever");
    assert!(!taken || status != "none", "an acknowledged server is lost");
    assert!(status != "ERROR" || !fault.is_empty(), "a server is in error without a reason");
    format!("{status} {fault}").trim_end().to_owned()
}

/// Attaches a volume that is on another host than the server, or on the same one if there is no other, and waits for what
/// becomes of it.
fn attach(cloud: &mut SimCloud, client: &Client) -> String {
    let mut chosen = None;
    let found = wait(cloud, |cloud| {
        let server = list(cloud, client, SERVERS, "servers")?.first()?.clone();
        let host = text(&server["OS-EXT-SRV-ATTR:host"]);
        let volumes = list(cloud, client, VOLUMES, "volumes")?;
        let is_near = |volume: &Value| {
            let at = text(&volume["os-vol-host-attr:host"]);
            at.split('@').next() == Some(&host)
        };
        let free = volumes.iter().filter(|volume| volume["status"] == "available");
        let volume = free.min_by_key(|volume| is_near(volume)).map(|volume| text(&volume["id"]));
        chosen = Some((text(&server["id"]), volume));
        Some(true)
    });
    let Some((server, volume)) = chosen.filter(|_| found) else { return "not listed".to_owned() };
    let Some(volume) = volume else { return "no volume there".to_owned() };
    let path = format!("{SERVERS}/{server}/os-volume_attachments");
    let body = json!({"volumeAttachment": {"volumeId": volume}});
    let taken = client.send(cloud, "POST", &path, body).map(|answer| answer.status);
    let mut end = String::new();
    let settled = wait(cloud, |cloud| {
        end = status_of(cloud, client, &volume)?;
        Some(matches!(end.as_str(), "available" | "in-use"))
    });
    assert!(settled, "the volume is {end} for ever after its attachment ended in {taken:?}");
    match taken {
        Some(200) => end,
        other => format!("{end} after {other:?}"),
    }
}

/// Deletes every server, the volume and the image that were made.
///
/// # Panics
/// If something does not go.
pub fn end(cloud: &mut SimCloud, client: &Client) {
    let gone = wait(cloud, |cloud| {
        let servers = list(cloud, client, SERVERS, "servers")?;
        for server in &servers {
            let path = format!("{SERVERS}/{}", text(&server["id"]));
            client.send(cloud, "DELETE", &path, Value::Null);
        }
        Some(servers.is_empty())
    });
    assert!(gone, "the server does not go");
    let gone = wait(cloud, |cloud| {
        let volumes = list(cloud, client, VOLUMES, "volumes")?;
        let data: Vec<&Value> = volumes.iter().filter(|volume| volume["name"] == "data").collect();
        for volume in &data {
            let path = format!("{VOLUMES}/{}", text(&volume["id"]));
            client.send(cloud, "DELETE", &path, Value::Null);
        }
        Some(data.is_empty())
    });
    assert!(gone, "the volume does not go");
    let gone = wait(cloud, |cloud| {
        let images = images(cloud, client)?;
        for image in &images {
            let path = format!("{IMAGES}/{}", text(&image["id"]));
            client.send(cloud, "DELETE", &path, Value::Null);
        }
        Some(images.is_empty())
    });
    assert!(gone, "the image does not go");
}

/// Waits until everything is as it is when nothing is going on.
///
/// # Panics
/// If it never is.
pub fn rest(cloud: &mut SimCloud) {
    let until = cloud.world.now() + COMES_TO_REST;
    loop {
        let broken = invariants::broken(&census::take(cloud), true);
        if broken.is_empty() {
            break;
        }
        assert!(cloud.world.now() < until, "not at rest: {broken:#?}");
        cloud.world.run_for(LOOKS);
    }
    assert_eq!(filters::differences(cloud, COMES_TO_REST), Vec::<String>::new());
}

/// Waits until nothing is left that was not there before.
///
/// # Panics
/// If something stays.
pub fn leaves_nothing(cloud: &mut SimCloud, before: &BTreeSet<String>) {
    let left = flow::leftovers(cloud, before, COMES_TO_REST);
    assert!(left.is_empty(), "left behind: {left:#?}");
}

fn wait(cloud: &mut SimCloud, mut is_so: impl FnMut(&mut SimCloud) -> Option<bool>) -> bool {
    let until = cloud.world.now() + SETTLES;
    while cloud.world.now() < until {
        if is_so(cloud) == Some(true) {
            return true;
        }
        cloud.world.run_for(LOOKS);
    }
    false
}

fn list(cloud: &mut SimCloud, client: &Client, path: &str, name: &str) -> Option<Vec<Value>> {
    let answer = client.send(cloud, "GET", &format!("{path}/detail"), Value::Null)?;
    answer.body[name].as_array().filter(|_| answer.status == 200).cloned()
}

fn status_of(cloud: &mut SimCloud, client: &Client, volume: &str) -> Option<String> {
    let answer = client.send(cloud, "GET", &format!("{VOLUMES}/{volume}"), Value::Null)?;
    (answer.status == 200).then(|| text(&answer.body["volume"]["status"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
