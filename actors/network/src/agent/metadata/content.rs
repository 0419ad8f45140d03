//! What a guest may read: EC2's tree below a date or `latest`, and OpenStack's below `openstack`.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use updraft_protocol::compute::ServerMetadata;

use super::{
    leases::{Guest, Nic},
    tree::{Entry, Tree},
};

/// EC2's versions. Guests choose the newest they know; all say the same here.
const EC2_VERSIONS: [&str; 10] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "latest",
];

/// OpenStack's versions. Guests choose the newest they know; all say the same here.
const OPENSTACK_VERSIONS: [&str; 11] = [
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "2020-10-14",
    "2025-04-04",
    "latest",
];

/// Everything that this guest may read. `seed` is fresh entropy for it.
pub(super) fn tree(guest: &Guest, metadata: &ServerMetadata, seed: &[u8]) -> Tree {
    let ec2 = ec2(guest, metadata);
    let openstack = openstack(guest, metadata, seed);
    let versions = |names: &[&str], tree: &Tree| -> Vec<Entry> {
        names.iter().map(|name| Entry::new(name, tree.clone()).listed(*name)).collect()
    };
    let mut top = versions(&EC2_VERSIONS, &ec2);
    let openstack = Tree::Directory(versions(&OPENSTACK_VERSIONS, &openstack));
    // As in the service that guests know, the top lists EC2's versions; OpenStack's are found by name.
    top.push(Entry::new("openstack", openstack).listed("openstack"));
    Tree::Directory(top)
}

fn ec2(guest: &Guest, metadata: &ServerMetadata) -> Tree {
    let placement =
        Tree::Directory(vec![Entry::text("availability-zone", &metadata.availability_zone)]);
    let mut entries = vec![
        Entry::text("ami-launch-index", "0"),
        Entry::text("hostname", &metadata.hostname),
        Entry::text("instance-action", "none"),
        Entry::text("instance-id", metadata.server.to_string()),
        Entry::text("local-hostname", &metadata.hostname),
        Entry::text("local-ipv4", guest.address.to_string()),
        Entry::new("placement", placement),
        Entry::text("public-hostname", &metadata.hostname),
    ];
    if let Some(nic) = guest.nics.first() {
        entries.insert(6, Entry::text("mac", &nic.mac_address));
    }
    if let Some((name, key)) = &metadata.key {
        let key = Tree::Directory(vec![Entry::text("openssh-key", key)]);
        let keys = Tree::Directory(vec![Entry::new("0", key).listed(format!("0={name}"))]);
        entries.push(Entry::new("public-keys", keys));
    }
    let mut top = vec![Entry::new("meta-data", Tree::Directory(entries))];
    if let Some(data) = &metadata.user_data {
        top.push(Entry::new("user-data", Tree::Bytes(data.clone())));
    }
    Tree::Directory(top)
}

fn openstack(guest: &Guest, metadata: &ServerMetadata, seed: &[u8]) -> Tree {
    let json = |value: Value| Tree::Json(value.to_string());
    let mut entries = vec![Entry::new("meta_data.json", json(meta_data(metadata, seed)))];
    if let Some(data) = &metadata.user_data {
        entries.push(Entry::new("user_data", Tree::Bytes(data.clone())));
    }
    entries.push(Entry::new("vendor_data.json", json(json!({}))));
    entries.push(Entry::new("vendor_data2.json", json(json!({}))));
    entries.push(Entry::new("network_data.json", json(network_data(guest))));
    Tree::Directory(entries)
}

fn meta_data(metadata: &ServerMetadata, seed: &[u8]) -> Value {
    let mut document = json!({
        "uuid": metadata.server,
        "name": metadata.name,
        "hostname": metadata.hostname,
        "launch_index": 0,
        "availability_zone": metadata.availability_zone,
        "project_id": metadata.project_id,
        "random_seed": BASE64_STANDARD.encode(seed),
        "devices": [],
        "dedicated_cpus": [],
    });
    if !metadata.metadata.is_empty() {
        document["meta"] = json!(metadata.metadata);
    }
    if let Some((name, key)) = &metadata.key {
        document["public_keys"] = json!({ name: key });
        document["keys"] = json!([{ "name": name, "type": "ssh", "data": key }]);
    }
    document
}

fn network_data(guest: &Guest) -> Value {
    let links: Vec<Value> = guest.nics.iter().enumerate().map(link).collect();
    let networks: Vec<Value> = guest.nics.iter().enumerate().map(network).collect();
    let servers: BTreeSet<_> = guest.nics.iter().flat_map(|nic| &nic.dns_servers).collect();
    let services: Vec<Value> =
        servers.iter().map(|address| json!({ "type": "dns", "address": address })).collect();
    json!({ "links": links, "networks": networks, "services": services })
}

fn link((index, nic): (usize, &Nic)) -> Value {
    json!({
        "id": format!("interface{index}"),
        "type": "phy",
        "ethernet_mac_address": nic.mac_address,
        "mtu": nic.mtu,
    })
}

fn network((index, nic): (usize, &Nic)) -> Value {
    json!({
        "id": format!("network{index}"),
        "type": "ipv4_dhcp",
        "link": format!("interface{index}"),
        "network_id": nic.network,
    })
}

#[cfg(test)]
mod tests;
