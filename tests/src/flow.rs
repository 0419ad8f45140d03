//! The provisioning flow, and what of it is left in a cloud.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use updraft_runtime::trace::Step;

use crate::{
    census,
    cloud::{Client, SimCloud},
    filters,
};

/// What the flow needs to be there first.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// An image.
    pub image: String,
    /// A flavor.
    pub flavor: String,
    /// A network with a subnet.
    pub network: String,
}

/// Makes what a server needs.
#[must_use]
pub fn prepare(cloud: &mut SimCloud, client: &Client) -> Prepared {
    let image = client.image(cloud, b"not much of a disk");
    let flavor = client.flavor(cloud, 64);
    let network = client.network(cloud, "10.1.0.0/24");
    Prepared { image, flavor, network }
}

/// Builds a server with a port, deletes it, and checks that nothing is left.
///
/// # Panics
/// If any of it goes wrong.
pub fn build_and_delete(cloud: &mut SimCloud) {
    let client = Client::log_in(cloud);
    let have = prepare(cloud, &client);
    let before = inventory(cloud);
    let server = client.server(cloud, &have.image, &have.flavor, Some(&have.network));
    let built = client.wait_for(cloud, &server, Some("ACTIVE"));
    let shown = client.show(cloud, &server);
    assert!(built, "{shown:#?}");
    let during = inventory(cloud);
    for kind in ["guest", "disk", "tap", "filter", "lease", "claim", "usage", "port", "allocation"]
    {
        let more = during.difference(&before).any(|line| line.starts_with(kind));
        assert!(more, "no {kind} in {:?}", during.difference(&before));
    }
    assert_eq!(filters::differences(cloud, Duration::from_secs(5)), Vec::<String>::new());
    client.must(cloud, "DELETE", &format!("/compute/v2.1/servers/{server}"), Value::Null);
    assert!(client.wait_for(cloud, &server, None), "the server does not go");
    assert_eq!(leftovers(cloud, &before, Duration::from_secs(5)), Vec::<String>::new());
}

/// Everything there is, a line each.
#[must_use]
pub fn inventory(cloud: &SimCloud) -> BTreeSet<String> {
    census::take(cloud).lines()
}

/// What is there and was not before, once it has had this long to go.
#[must_use]
pub fn leftovers(
    cloud: &mut SimCloud,
    before: &BTreeSet<String>,
    patience: Duration,
) -> Vec<String> {
    let end = cloud.world.now() + patience;
    loop {
        let now = inventory(cloud);
        let left: Vec<String> = now.difference(before).cloned().collect();
        if left.is_empty() || cloud.world.now() >= end {
            return left;
        }
        cloud.world.run_for(Duration::from_millis(100));
    }
}

/// A new project, and a member of it with the same name, whose password that is too.
///
/// # Panics
/// If any of them is not made.
pub fn member(cloud: &mut SimCloud, admin: &Client, name: &str) -> Client {
    let project = json!({"project": {"name": name}});
    let project = admin.must(cloud, "POST", "/identity/v3/projects", project);
    let user = json!({"user": {"name": name, "password": name}});
    let user = admin.must(cloud, "POST", "/identity/v3/users", user);
    let roles = admin.must(cloud, "GET", "/identity/v3/roles?name=member", Value::Null);
    let id = |value: &Value| value["id"].as_str().unwrap_or_default().to_owned();
    let (project, user) = (id(&project["project"]), id(&user["user"]));
    let role = id(&roles["roles"][0]);
    let grant = format!("/identity/v3/projects/{project}/users/{user}/roles/{role}");
    admin.must(cloud, "PUT", &grant, Value::Null);
    Client::log_in_as(cloud, name, name, name)
}

/// How long a volume may take to be made while nothing goes wrong, and the database to be read.
const PATIENCE: Duration = Duration::from_secs(20);

/// Entries of the log of steps read at most.
const ENTRIES_MAX: usize = 100_000;

/// Makes a volume, and returns its id once it is available.
///
/// # Panics
/// If it does not become so.
pub fn volume(cloud: &mut SimCloud, client: &Client) -> String {
    let body = json!({"volume": {"size": 1, "name": "data"}});
    let made = client.must(cloud, "POST", "/volume/v3/volumes", body);
    let path = format!("/volume/v3/volumes/{}", text(&made["volume"]["id"]));
    let end = cloud.world.now() + PATIENCE;
    while cloud.world.now() < end {
        let shown = client.must(cloud, "GET", &path, Value::Null);
        if shown["volume"]["status"] == "available" {
            return text(&made["volume"]["id"]);
        }
        cloud.world.run_for(Duration::from_millis(50));
    }
    panic!("the volume does not become available");
}

/// What a user asks for who wants a server with a port and a volume: all that the flow has to do with.
#[must_use]
pub fn server_with_all(have: &Prepared, volume: &str) -> Value {
    json!({"server": {
        "name": "vm", "imageRef": have.image, "flavorRef": have.flavor,
        "networks": [{"uuid": have.network}],
        "block_device_mapping_v2": [{"uuid": volume, "source_type": "volume",
            "destination_type": "volume", "boot_index": -1}]}})
}

/// The id of the only server, once it is active or has had its time.
pub fn active(cloud: &mut SimCloud, client: &Client, patience: Duration) -> Option<String> {
    let end = cloud.world.now() + patience;
    let mut id = None;
    while cloud.world.now() < end {
        let path = "/compute/v2.1/servers/detail";
        let listed = client.send(cloud, "GET", path, Value::Null)?.body;
        let server = &listed["servers"][0];
        id = server["id"].as_str().map(str::to_owned);
        if server["status"] == "ACTIVE" {
            break;
        }
        cloud.world.run_for(Duration::from_millis(100));
    }
    id
}

/// Every step in the database's log, by time.
///
/// # Panics
/// If it cannot be read.
pub fn steps(cloud: &mut SimCloud) -> Vec<Step> {
    let (Some(node), Some(database)) = (cloud.serving(), cloud.database()) else {
        panic!("no control node runs");
    };
    let log = database.scoped("telemetry/");
    let read = async move { log.log_read("telemetry/steps", 0, ENTRIES_MAX).await };
    let entries = match cloud.world.must(&node, PATIENCE, read) {
        Ok(entries) => entries,
        Err(error) => panic!("the steps are not read: {error}"),
    };
    let of_entry = |value: &[u8]| serde_json::from_slice::<Vec<Step>>(value);
    let read = entries.iter().map(|entry| of_entry(&entry.value)).collect::<Result<Vec<_>, _>>();
    let mut steps = read.unwrap_or_else(|error| panic!("a step is not read: {error}")).concat();
    steps.sort_by_key(|step| step.at);
    steps
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
