//! The provisioning flow, and what of it is left in a cloud.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

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
