//! The provisioning flow, and what of it is left in a cloud.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

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
