//! A cloud in which there is one of everything, and what it left on the disk.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use updraft_runtime::{
    Env,
    store::{Shape, Store},
};

use super::Recorded;
use crate::cloud::{Client, Machine, Made};

/// More rows than any table here has.
const ROWS_MAX: usize = 10_000;

/// A key that nobody has the other half of.
const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMEeyfgMBPgAd7fjqvhyBNY9zpQ72YDEL7l0Or+Lt4M4 updraft-test";

/// What one of everything leaves in both stores.
pub(super) async fn rows(shapes: &BTreeMap<&'static str, Shape>) -> Vec<Recorded> {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    let made = client.furnish().await;
    people(&client).await;
    network(&client, &made).await;
    servers(&machine, &client, &made).await;
    assert_eq!(machine.run(&["down"]).code, Some(0));
    let mut rows = Vec::new();
    for file in ["control.redb", "compute.redb"] {
        let store = Store::redb(Env::real(), &machine.data_dir().join(file)).await.unwrap();
        for table in shapes.keys() {
            rows.extend(of_table(&store, table).await);
        }
        store.close().await;
    }
    rows
}

async fn of_table(store: &Store, table: &str) -> Vec<Recorded> {
    let prefix = format!("{table}/");
    let found = store.read(|txn| txn.scan_raw(&prefix, None, ROWS_MAX)).await.unwrap();
    let rows = found.into_iter().map(|(_, entry)| entry.value);
    let log = store.log_read(table, 0, ROWS_MAX).await.unwrap();
    let entries = log.into_iter().map(|entry| entry.value);
    rows.chain(entries)
        .map(|value| Recorded {
            table: table.to_owned(),
            value: serde_json::from_slice(&value).unwrap(),
        })
        .collect()
}

/// Makes one, and returns the id that the answer has under this name.
async fn make(client: &Client, path: &str, name: &str, body: Value) -> String {
    let answer = client.must("POST", path, json!({ name: body })).await;
    answer[name]["id"].as_str().unwrap().to_owned()
}

/// Of identity.
async fn people(client: &Client) {
    let v3 = |path: &str| format!("/identity/v3/{path}");
    let domain =
        make(client, &v3("domains"), "domain", json!({"name": "d", "description": "x"})).await;
    let project = json!({"name": "p", "domain_id": domain, "description": "y", "tags": ["a"]});
    let project = make(client, &v3("projects"), "project", project).await;
    let user = json!({"name": "u", "domain_id": domain, "password": "secret", "email": "u@x",
        "default_project_id": project});
    let user = make(client, &v3("users"), "user", user).await;
    let group = json!({"name": "g", "domain_id": domain});
    let group = make(client, &v3("groups"), "group", group).await;
    let role = make(client, &v3("roles"), "role", json!({"name": "r"})).await;
    let other =
        make(client, &v3("roles"), "role", json!({"name": "r2", "domain_id": domain})).await;
    for path in [
        format!("groups/{group}/users/{user}"),
        format!("projects/{project}/users/{user}/roles/{role}"),
        format!("domains/{domain}/groups/{group}/roles/{other}"),
        format!("roles/{role}/implies/{other}"),
    ] {
        client.ask("PUT", &v3(&path), Value::Null).await;
    }
    make(client, &v3("regions"), "region", json!({"id": "north", "description": "z"})).await;
    let service = json!({"type": "toys", "name": "toys"});
    let service = make(client, &v3("services"), "service", service).await;
    let endpoint = json!({"service_id": service, "interface": "public", "url": "http://toys",
        "region_id": "north"});
    make(client, &v3("endpoints"), "endpoint", endpoint).await;
    // His tokens are revoked with this.
    client.must("PATCH", &v3(&format!("users/{user}")), json!({"user": {"enabled": false}})).await;
}

/// Of the network.
async fn network(client: &Client, made: &Made) {
    let v2 = |path: &str| format!("/networking/v2.0/{path}");
    let outside = json!({"name": "outside", "router:external": true, "shared": true,
        "provider:network_type": "flat", "provider:physical_network": "public"});
    let outside = make(client, &v2("networks"), "network", outside).await;
    let subnet = json!({"network_id": outside, "ip_version": 4, "cidr": "203.0.113.0/24",
        "enable_dhcp": false});
    make(client, &v2("subnets"), "subnet", subnet).await;
    let path = v2(&format!("subnets?network_id={}", made.network));
    let subnets = client.must("GET", &path, Value::Null).await;
    let inside = subnets["subnets"][0]["id"].as_str().unwrap().to_owned();
    let router = json!({"name": "r", "external_gateway_info": {"network_id": outside}});
    let router = make(client, &v2("routers"), "router", router).await;
    let path = v2(&format!("routers/{router}/add_router_interface"));
    client.must("PUT", &path, json!({"subnet_id": inside})).await;
    let group = json!({"name": "sg", "description": "web"});
    let group = make(client, &v2("security-groups"), "security_group", group).await;
    let rule = json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp",
        "port_range_min": 80, "port_range_max": 80, "remote_ip_prefix": "198.51.100.0/24"});
    make(client, &v2("security-group-rules"), "security_group_rule", rule).await;
    let port = json!({"network_id": made.network, "security_groups": [group],
        "allowed_address_pairs": [{"ip_address": "10.9.0.77"}]});
    let port = make(client, &v2("ports"), "port", port).await;
    let floating = json!({"floating_network_id": outside, "port_id": port});
    make(client, &v2("floatingips"), "floatingip", floating).await;
    let quota = json!({"quota": {"port": 77}});
    client.must("PUT", &v2(&format!("quotas/{}", client.project().await)), quota).await;
}

/// Of compute and volume.
async fn servers(machine: &Machine, client: &Client, made: &Made) {
    let project = client.project().await;
    let quota = json!({"quota_set": {"instances": 77, "ram": -1}});
    client.must("PUT", &format!("/compute/v2.1/os-quota-sets/{project}"), quota).await;
    let quota = json!({"quota_set": {"volumes": 77}});
    client.must("PUT", &format!("/volume/v3/os-quota-sets/{project}"), quota).await;
    let pair = json!({"keypair": {"name": "k", "public_key": PUBLIC_KEY}});
    client.must("POST", "/compute/v2.1/os-keypairs", pair).await;
    let group = json!({"name": "g", "policy": "anti-affinity"});
    let group = make(client, "/compute/v2.1/os-server-groups", "server_group", group).await;
    let large = json!({"flavor": {"id": "f2", "name": "f2", "ram": 256, "disk": 1, "vcpus": 1}});
    client.must("POST", "/compute/v2.1/flavors", large).await;
    let volume = json!({"size": 1, "name": "v", "metadata": {"a": "b"}});
    let volume = make(client, "/volume/v3/volumes", "volume", volume).await;
    let spare = make(client, "/volume/v3/volumes", "volume", json!({"size": 1})).await;
    let volumes_are = async |wanted: &str| {
        let listed = client.must("GET", "/volume/v3/volumes/detail", Value::Null).await;
        let volumes = listed["volumes"].as_array().unwrap().clone();
        volumes.iter().any(|v| v["id"] == volume.as_str() && v["status"] == wanted)
    };
    machine.until("the volume is there", async || volumes_are("available").await).await;
    make(client, "/volume/v3/snapshots", "snapshot", json!({"volume_id": spare, "name": "s"}))
        .await;
    let full = json!({"server": {"name": "full", "flavorRef": "f", "imageRef": made.image,
        "key_name": "k", "metadata": {"a": "b"}, "networks": [{"uuid": made.network}],
        "user_data": "IyE=", "description": "with everything"},
        "os:scheduler_hints": {"group": group}});
    let full = client.must("POST", "/compute/v2.1/servers", full).await;
    let full = full["server"]["id"].as_str().unwrap().to_owned();
    let resized = client.create(made, "resized").await.unwrap();
    let stopped = client.create(made, "stopped").await.unwrap();
    client.all_run(machine).await;
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    client
        .must("POST", &format!("/compute/v2.1/servers/{full}/os-volume_attachments"), attach)
        .await;
    let console = json!({"remote_console": {"protocol": "serial", "type": "serial"}});
    let path = format!("/compute/v2.1/servers/{full}/remote-consoles");
    client.must("POST", &path, console).await;
    client.act(&full, json!({"lock": {"locked_reason": "mine"}})).await;
    client.act(&resized, json!({"resize": {"flavorRef": "f2"}})).await;
    client.act(&stopped, json!({"os-stop": null})).await;
    machine.until("the volume is in use", async || volumes_are("in-use").await).await;
    let is = async |id: &str, status: &str| {
        client.servers().await.iter().any(|server| server.id == id && server.status == status)
    };
    machine.until("it is resized", async || is(&resized, "VERIFY_RESIZE").await).await;
    machine.until("it is stopped", async || is(&stopped, "SHUTOFF").await).await;
    let impossible =
        json!({"flavor": {"id": "f3", "name": "f3", "ram": 1 << 30, "disk": 0, "vcpus": 1}});
    client.must("POST", "/compute/v2.1/flavors", impossible).await;
    let failed = json!({"server": {"name": "failed", "flavorRef": "f3", "imageRef": made.image,
        "networks": "none"}});
    let failed = client.must("POST", "/compute/v2.1/servers", failed).await;
    let failed = failed["server"]["id"].as_str().unwrap().to_owned();
    machine.until("no host takes it", async || is(&failed, "ERROR").await).await;
}
