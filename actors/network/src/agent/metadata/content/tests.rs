//! What guests read, path by path.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;

const SERVER: Uuid = Uuid::from_u128(0x1B2C_3D4E_0000_4000_8000_0000_0000_0001);

fn guest() -> Guest {
    let nic = Nic {
        network: Uuid::from_u128(7),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        mtu: 1450,
        dns_servers: vec!["9.9.9.9".parse().unwrap()],
    };
    Guest { server: SERVER, address: "10.1.0.11".parse().unwrap(), nics: vec![nic] }
}

fn metadata() -> ServerMetadata {
    ServerMetadata {
        server: SERVER,
        name: "Web One".to_owned(),
        hostname: "web-one".to_owned(),
        project_id: "p1".to_owned(),
        availability_zone: "nova".to_owned(),
        metadata: BTreeMap::from([("role".to_owned(), "front".to_owned())]),
        key: Some(("mine".to_owned(), "ssh-ed25519 AAAA me".to_owned())),
        user_data: Some(bytes::Bytes::from_static(b"#!/bin/sh\n\xFF")),
    }
}

fn read_of(metadata: &ServerMetadata, path: &str) -> Option<bytes::Bytes> {
    let tree = tree(&guest(), metadata, b"seed");
    tree.at(path).map(|found| found.render().1)
}

fn read(path: &str) -> String {
    let bytes = read_of(&metadata(), path).unwrap_or_else(|| panic!("{path} is missing"));
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_at(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

#[test]
fn ec2_metadata_names_the_server_its_address_and_its_zone() {
    for (path, text) in [
        ("instance-id", "1b2c3d4e-0000-4000-8000-000000000001"),
        ("hostname", "web-one"),
        ("local-hostname", "web-one"),
        ("local-ipv4", "10.1.0.11"),
        ("mac", "fa:16:3e:00:00:01"),
        ("placement/availability-zone", "nova"),
        ("public-keys", "0=mine"),
        ("public-keys/0", "openssh-key"),
        ("public-keys/0/openssh-key", "ssh-ed25519 AAAA me"),
    ] {
        assert_eq!(read(&format!("/latest/meta-data/{path}")), text, "{path}");
    }
}

#[test]
fn everything_that_a_directory_lists_can_be_read() {
    for directory in ["/latest/meta-data", "/openstack/latest", "/openstack"] {
        for line in read(directory).lines() {
            let path = format!("{directory}/{line}");
            assert!(read_of(&metadata(), &path).is_some(), "{path}");
        }
    }
}

#[test]
fn the_version_that_guests_ask_for_is_offered() {
    assert!(read("/").lines().any(|line| line == "2009-04-04"));
    assert!(read("/openstack").lines().any(|line| line == "2018-08-27"));
    assert_eq!(read("/2009-04-04/meta-data/hostname"), "web-one");
}

#[test]
fn meta_data_json_has_the_users_keys_and_values() {
    let document = json_at("/openstack/latest/meta_data.json");
    assert_eq!(document["uuid"], SERVER.to_string());
    assert_eq!(document["name"], "Web One");
    assert_eq!(document["meta"], json!({ "role": "front" }));
    assert_eq!(document["public_keys"], json!({ "mine": "ssh-ed25519 AAAA me" }));
    assert_eq!(document["random_seed"], "c2VlZA==");
}

#[test]
fn network_data_json_says_that_each_interface_is_configured_by_dhcp() {
    let document = json_at("/openstack/latest/network_data.json");
    assert_eq!(document["links"][0]["ethernet_mac_address"], "fa:16:3e:00:00:01");
    assert_eq!(document["links"][0]["mtu"], 1450);
    assert_eq!(document["networks"][0]["type"], "ipv4_dhcp");
    assert_eq!(document["services"], json!([{ "type": "dns", "address": "9.9.9.9" }]));
}

#[test]
fn user_data_is_handed_out_byte_for_byte() {
    let expected = metadata().user_data;
    assert_eq!(read_of(&metadata(), "/latest/user-data"), expected);
    assert_eq!(read_of(&metadata(), "/openstack/latest/user_data"), expected);
}

#[test]
fn a_server_without_key_and_user_data_has_neither_path() {
    let bare = ServerMetadata { key: None, user_data: None, ..metadata() };
    for path in
        ["/latest/user-data", "/openstack/latest/user_data", "/latest/meta-data/public-keys"]
    {
        assert_eq!(read_of(&bare, path), None, "{path}");
    }
}
