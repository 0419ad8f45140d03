//! `/networks` and what may be wrong with a request for it.

use serde_json::json;

use crate::support::{A_WHILE, Cloud, Who, text};

#[tokio::test(start_paused = true)]
async fn a_network_has_neutrons_keys() {
    let cloud = Cloud::new().await;
    let network = cloud.make(Who::Admin, "network", json!({"name": "n"})).await;
    let keys: Vec<&str> = network.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "admin_state_up",
        "availability_zone_hints",
        "availability_zones",
        "created_at",
        "description",
        "id",
        "ipv4_address_scope",
        "ipv6_address_scope",
        "mtu",
        "name",
        "port_security_enabled",
        "project_id",
        "provider:network_type",
        "provider:physical_network",
        "provider:segmentation_id",
        "revision_number",
        "router:external",
        "shared",
        "status",
        "subnets",
        "tags",
        "tenant_id",
        "updated_at",
    ];
    assert_eq!(keys, expected);
    assert_eq!(network["tags"], json!([]));
    assert!(text(&network, "created_at").ends_with('Z'));
}

#[tokio::test(start_paused = true)]
async fn who_is_no_administrator_does_not_see_the_provider() {
    let cloud = Cloud::new().await;
    let network = cloud.make(Who::Member, "network", json!({"name": "n"})).await;
    assert!(network.get("provider:network_type").is_none());
    assert_eq!(network["port_security_enabled"], json!(true));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_a_new_revision_and_if_match_names_the_old() {
    let cloud = Cloud::new().await;
    let network = cloud.make(Who::Member, "network", json!({"name": "n"})).await;
    let path = format!("/networks/{}", text(&network, "id"));
    let rename = json!({"network": {"name": "m"}});
    cloud.pass(A_WHILE).await;
    let changed = cloud.put(Who::Member, &path, rename.clone()).await.is(200).json();
    let changed = &changed["network"];
    assert_eq!(changed["revision_number"], json!(2));
    assert_ne!(changed["updated_at"], network["updated_at"]);
    assert_eq!(changed["created_at"], network["created_at"]);
    let old = Some("revision_number=1");
    let full = format!("/v2.0{path}");
    let refused = cloud.send_if(Who::Member, "PUT", &full, Some(rename), old).await;
    refused.refuses(412, "RevisionNumberConstraintFailed", "current revision is 2");
    let new = Some("revision_number=2");
    cloud.send_if(Who::Member, "DELETE", &full, None, new).await.is(204);
}

#[tokio::test(start_paused = true)]
async fn bulk_is_all_or_nothing() {
    let cloud = Cloud::new().await;
    let body = json!({"networks": [{"name": "a"}, {"name": "b"}]});
    let made = cloud.post(Who::Member, "/networks", body).await.is(201);
    let names: Vec<String> =
        made.list("networks").iter().map(|one| text(one, "name").to_owned()).collect();
    assert_eq!(names, ["a", "b"]);
    let flat = json!({"provider:network_type": "flat", "provider:physical_network": "p"});
    let body = json!({"networks": [{"name": "c"}, flat, flat]});
    let refused = cloud.post(Who::Admin, "/networks", body).await;
    refused.refuses(409, "FlatNetworkInUse", "Physical network p is in use.");
    assert_eq!(cloud.get(Who::Admin, "/networks?name=c").await.list("networks").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_named() {
    let cloud = Cloud::new().await;
    let cases = [
        (
            json!({"network": {"name": 5}}),
            "HTTPBadRequest",
            "Invalid input for name. Reason: '5' is not a valid string.",
        ),
        (
            json!({"network": {"name": "x".repeat(256)}}),
            "HTTPBadRequest",
            "exceeds maximum length of 255",
        ),
        (
            json!({"network": {"color": "red"}}),
            "HTTPBadRequest",
            "Unrecognized attribute(s) 'color'",
        ),
        (
            json!({"network": {"admin_state_up": "maybe"}}),
            "InvalidInput",
            "Invalid input for operation: admin_state_up: 'maybe' cannot be converted to boolean.",
        ),
        (
            json!({"network": {"status": "ACTIVE"}}),
            "HTTPBadRequest",
            "Attribute 'status' not allowed in POST",
        ),
        (json!({"net": {}}), "HTTPBadRequest", "Unable to find 'network' in request body"),
        (json!({"network": [1]}), "HTTPBadRequest", "Object 'network' contains invalid data"),
        (json!({"networks": []}), "HTTPBadRequest", "Resources required"),
        (
            json!({"network": {"project_id": "x"}}),
            "HTTPBadRequest",
            "Specifying 'project_id' other than the authenticated project",
        ),
        (
            json!({"network": {"mtu": -1}}),
            "HTTPBadRequest",
            "Invalid input for mtu. Reason: '-1' should be non-negative.",
        ),
    ];
    for (body, kind, words) in cases {
        cloud.post(Who::Member, "/networks", body).await.refuses(400, kind, words);
    }
    let cases = [
        (json!({"provider:network_type": "gre9"}), "network_type value 'gre9' not supported"),
        (json!({"provider:physical_network": "p"}), "network_type required"),
        (
            json!({"provider:network_type": "flat"}),
            "physical_network required for flat provider network",
        ),
        (
            json!({"provider:network_type": "vlan", "provider:physical_network": "p", "provider:segmentation_id": 5000}),
            "segmentation_id out of range (1 through 4094)",
        ),
    ];
    for (network, words) in cases {
        let refused = cloud.post(Who::Admin, "/networks", json!({"network": network})).await;
        refused.refuses(400, "InvalidInput", words);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_json_is_refused() {
    let cloud = Cloud::new().await;
    let refused = cloud.send(Who::Member, "POST", "/v2.0/networks", Some(json!("text"))).await;
    refused.refuses(400, "HTTPBadRequest", "Body contains invalid data");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_named() {
    let cloud = Cloud::new().await;
    let body = json!({"network": {"name": "x"}});
    let words = "Network nonsense could not be found.";
    cloud.get(Who::Member, "/networks/nonsense").await.refuses(404, "NetworkNotFound", words);
    let refused = cloud.put(Who::Member, "/networks/nonsense", body).await;
    refused.refuses(404, "NetworkNotFound", words);
    cloud.delete(Who::Member, "/networks/nonsense").await.refuses(404, "NetworkNotFound", words);
    cloud.get(Who::Member, "/nonsense").await.refuses(404, "HTTPNotFound", "could not be found");
}

#[tokio::test(start_paused = true)]
async fn a_network_with_ports_stays_and_one_without_takes_its_subnets_along() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let port = cloud.make(Who::Member, "port", json!({"network_id": net.network})).await;
    let path = format!("/networks/{}", net.network);
    let words = format!("id for these ports is: {}.", text(&port, "id"));
    cloud.delete(Who::Member, &path).await.refuses(409, "NetworkInUse", &words);
    cloud.delete(Who::Member, &format!("/ports/{}", text(&port, "id"))).await.is(204);
    cloud.delete(Who::Member, &path).await.is(204);
    cloud.get(Who::Member, &format!("/subnets/{}", net.subnet)).await.is(404);
    assert_eq!(cloud.keys("network/allocation/").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_network_can_go_while_a_deleted_port_of_it_is_still_being_unplugged() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    cloud.host1.state.lock().deaf = true;
    assert!(!cloud.release(2).await.unwrap());
    cloud.delete(Who::Member, &format!("/networks/{}", net.network)).await.is(204);
    cloud.host1.state.lock().deaf = false;
    cloud.pass(A_WHILE).await;
    assert!(cloud.release(2).await.unwrap());
    for left in ["network/port/", "network/allocation/", "network/dhcp/"] {
        assert_eq!(cloud.keys(left).await, Vec::<String>::new(), "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_external_network_takes_floating_ips_along_that_lead_nowhere() {
    let cloud = Cloud::new().await;
    let outer = cloud.external("172.24.4.0/24").await;
    let body = json!({"floating_network_id": outer.network});
    cloud.make(Who::Member, "floatingip", body).await;
    cloud.delete(Who::Admin, &format!("/networks/{}", outer.network)).await.is(204);
    assert_eq!(cloud.get(Who::Admin, "/floatingips").await.list("floatingips").len(), 0);
    assert_eq!(cloud.keys("network/port/").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_larger_mtu_reaches_the_host_in_a_new_generation() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    let info = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    let body = json!({"network": {"mtu": 1400}});
    cloud.put(Who::Member, &format!("/networks/{}", net.network), body).await.is(200);
    cloud.pass(A_WHILE).await;
    let state = cloud.host1.state.lock();
    let want = &state.ports[&info.ports[0].port];
    assert_eq!((want.mtu, want.generation), (1_400, 2));
}
