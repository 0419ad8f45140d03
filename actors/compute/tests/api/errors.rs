//! What a user's mistake gets: nova's status and words.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use updraft_runtime::rpc::{Fault, FaultKind};
use uuid::Uuid;

use crate::{
    cloud::{Cloud, server_body},
    identity::Who::{Member, Reader},
    peers::{IMAGE, NETWORK, VOLUME},
};

const NOWHERE: &str = "0f7d1c52-71f4-4f43-8f3c-1f1f1f1f1f1f";

/// A body that asks for one server, with one thing else.
fn with(name: &str, value: Value) -> Value {
    let mut body = server_body("web");
    body["server"][name] = value;
    body
}

async fn refused(cloud: &Cloud, body: Value, status: u16, words: &str) {
    cloud.send(Member, "POST /servers", body).await.is_error(status, words);
}

#[tokio::test(start_paused = true)]
async fn what_a_server_is_made_from_must_exist() {
    let cloud = Cloud::still().await;
    let table = [
        (with("flavorRef", json!("huge")), "Flavor huge could not be found.".to_owned()),
        (
            with("imageRef", json!(NOWHERE)),
            format!("Can not find requested image: Image {NOWHERE} could not be found."),
        ),
        (
            with("imageRef", json!("cirros")),
            "Invalid imageRef provided: 'cirros' is not the id of an image.".to_owned(),
        ),
        (
            with("networks", json!([{"uuid": NOWHERE}])),
            format!("Network {NOWHERE} could not be found."),
        ),
        (
            with("key_name", json!("k1")),
            format!("Invalid key_name provided. Keypair k1 not found for user {}", Member.user()),
        ),
        (
            with("availability_zone", json!("mars")),
            "The requested availability zone is not available: mars".to_owned(),
        ),
    ];
    for (body, words) in table {
        refused(&cloud, body, 400, &words).await;
    }
    let mut grouped = server_body("web");
    grouped["os:scheduler_hints"] = json!({"group": NOWHERE});
    let words = format!("Instance group {NOWHERE} could not be found.");
    refused(&cloud, grouped, 400, &words).await;
    assert!(cloud.rows::<updraft_compute::rows::ServerRow>().is_empty(), "nothing is half made");
}

#[tokio::test(start_paused = true)]
async fn a_body_of_the_wrong_form_is_refused_by_its_field() {
    let cloud = Cloud::still().await;
    let field = "Invalid input for field/attribute";
    let table = [
        (with("name", json!(7)), "server.name. Value: 7. a number where a string belongs"),
        (with("name", json!("")), "server.name. Value: \"\". '' is too short"),
        (
            with("min_count", json!("many")),
            "server.min_count. Value: \"many\". 'many' is not an integer",
        ),
        (
            with("networks", json!([{"uuid": 7}])),
            "server.networks[0].uuid. Value: 7. a number where a formatted UUID string belongs",
        ),
        (
            with("networks", json!("any")),
            "server.networks. Value: \"any\". 'any' is not one of ['auto', 'none']",
        ),
        (
            with("colour", json!("red")),
            "server.colour. Value: \"red\". Additional properties are not allowed ('colour' was \
             unexpected)",
        ),
        (
            with("networks", Value::Null),
            "server. Value: an object. 'networks' is a required property",
        ),
        (
            with("accessIPv4", json!("::1")),
            "server.accessIPv4. Value: \"::1\". '::1' is not a 'ipv4'",
        ),
        (
            with("accessIPv6", json!("::x")),
            "server.accessIPv6. Value: \"::x\". '::x' is not a 'ipv6'",
        ),
        (with("user_data", json!("?")), "user_data. Value: ***. it is not a 'base64'"),
        (
            with("metadata", json!({"a/b": "c"})),
            "server.metadata. Value: an object. Additional properties are not allowed ('a/b' was \
             unexpected)",
        ),
    ];
    for (body, words) in table {
        refused(&cloud, body, 400, &format!("{field} {words}")).await;
    }
    let unnamed = json!({"server": {"flavorRef": "1"}});
    let words = format!("{field} server. Value: an object. 'name' is a required property");
    refused(&cloud, unnamed, 400, &words).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_json_or_too_much_of_it_is_refused() {
    let cloud = Cloud::still().await;
    let broken = cloud.send(Member, "POST /servers", "{\"server\": ").await;
    let words = "Malformed request body: EOF while parsing a value at line 1 column 11";
    broken.is_error(400, words);
    let long = with("description", json!("x".repeat(200_000)));
    refused(&cloud, long, 413, "Request is too large. The limit is 114688 bytes.").await;
}

#[tokio::test(start_paused = true)]
async fn without_the_right_or_a_token_nothing_is_made() {
    let cloud = Cloud::still().await;
    let denied = cloud.send(Reader, "POST /servers", server_body("web")).await;
    denied.is_error(403, "Policy doesn't allow os_compute_api:servers:create to be performed.");
    let request = Request::builder().method("POST").uri("/v2.1/servers").header("host", "cloud");
    let answer = cloud.exchange(request.body(Body::empty()).expect("a request")).await;
    answer.is_error(401, "The request you have made requires authentication.");
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_used_up_is_named_with_its_figures() {
    let cloud = Cloud::still().await;
    cloud.quota(Member.project(), |quota| quota.instances = 1).await;
    cloud.server(Member, "first").await;
    refused(
        &cloud,
        server_body("second"),
        403,
        "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances",
    )
    .await;
    cloud
        .quota(Member.project(), |quota| {
            quota.instances = 2;
            quota.cores = 2;
            quota.ram_mib = 600;
        })
        .await;
    let mut two = server_body("more");
    two["server"]["min_count"] = json!(2);
    two["server"]["max_count"] = json!(3);
    let words = "Quota exceeded for cores, instances, ram: Requested 3, 2-3, 1536, but already used 1, 1, \
                 512 of 2, 2, 600 cores, instances, ram";
    refused(&cloud, two, 403, words).await;
}

#[tokio::test(start_paused = true)]
async fn an_image_must_fit_the_flavor() {
    let cloud = Cloud::still().await;
    let change = |change: fn(&mut updraft_protocol::image::ImageLocation)| {
        cloud.peers.change(|state| change(state.images.get_mut(&IMAGE).expect("the image")));
    };
    change(|image| image.min_ram_mib = 1_024);
    let words = "Flavor's memory is too small for requested image.";
    refused(&cloud, server_body("web"), 400, words).await;
    change(|image| (image.min_ram_mib, image.min_disk_gib) = (0, 2));
    let words = "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk \
                 is 1073741824 bytes, minimum size is 2147483648 bytes.";
    refused(&cloud, server_body("web"), 400, words).await;
    change(|image| (image.min_disk_gib, image.size_bytes) = (0, 1 << 31));
    let words = "Flavor's disk is too small for requested image. Flavor disk is 1073741824 bytes, image is \
                 2147483648 bytes.";
    refused(&cloud, server_body("web"), 400, words).await;
    change(|image| (image.size_bytes, image.virtual_size_bytes) = (8, Some(1 << 31)));
    refused(&cloud, server_body("web"), 400, words).await;
    change(|image| image.status = "queued".to_owned());
    refused(&cloud, server_body("web"), 400, &format!("Image {IMAGE} is not active.")).await;
}

#[tokio::test(start_paused = true)]
async fn an_image_must_be_a_disk_that_boots() {
    let cloud = Cloud::still().await;
    let table = [
        ("ovf", "qcow2", "no server boots from a container of format ovf"),
        ("docker", "raw", "no server boots from a container of format docker"),
        ("compressed", "qcow2", "no server boots from a container of format compressed"),
        ("bare", "vmdk", "no server boots from a disk of format vmdk"),
        ("aki", "aki", "no server boots from a disk of format aki"),
    ];
    for (container, disk, reason) in table {
        cloud.peers.change(|state| {
            let image = state.images.get_mut(&IMAGE).expect("the image");
            (image.container_format, image.disk_format) = (container.to_owned(), disk.to_owned());
        });
        let words = format!("Image {IMAGE} is unacceptable: {reason}");
        refused(&cloud, server_body("web"), 400, &words).await;
    }
}

#[tokio::test(start_paused = true)]
async fn block_devices_are_refused_in_novas_words() {
    let cloud = Cloud::still().await;
    let boot = |volume: &str| {
        json!({"server": {
            "name": "web", "flavorRef": "1", "networks": "none",
            "block_device_mapping_v2": [{
                "uuid": volume, "boot_index": 0, "source_type": "volume",
                "destination_type": "volume",
            }],
        }})
    };
    let invalid = "Block Device Mapping is Invalid";
    refused(&cloud, boot(NOWHERE), 400, &format!("{invalid}: failed to get volume {NOWHERE}."))
        .await;
    let held = Some(Uuid::from_u128(9));
    cloud.peers.change(|state| {
        state.volumes.insert(VOLUME, held);
    });
    let words = "Invalid volume: Volume status must be available to reserve, but the status is \
                 in-use.";
    refused(&cloud, boot(&VOLUME.to_string()), 400, words).await;
    let mut both = boot(&VOLUME.to_string());
    both["server"]["imageRef"] = json!(IMAGE);
    let words = format!(
        "{invalid}: Boot sequence for the instance and image/block device mapping combination is not \
         valid."
    );
    refused(&cloud, both, 400, &words).await;
    let mut nothing = server_body("web");
    nothing["server"]["imageRef"] = json!("");
    refused(&cloud, nothing, 400, "Missing imageRef attribute").await;
    assert_eq!(cloud.peers.attachment_of(VOLUME), held, "whoever has it keeps it");
}

#[tokio::test(start_paused = true)]
async fn several_servers_share_no_port_address_or_volume() {
    let cloud = Cloud::still().await;
    let two = |name: &str, value: Value| {
        let mut body = with(name, value);
        body["server"]["max_count"] = json!(2);
        body
    };
    let table = [
        (
            two("networks", json!([{"port": NETWORK}])),
            "Failed to launch instances: Unable to launch multiple instances with a single configured \
             port ID. Please launch your instance one by one with different ports.",
        ),
        (
            two("networks", json!([{"uuid": NETWORK, "fixed_ip": "10.0.0.9"}])),
            "Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is \
             specified.",
        ),
        (
            two("block_device_mapping_v2", json!([{"uuid": VOLUME, "source_type": "volume"}])),
            "Cannot attach one or more volumes to multiple instances",
        ),
        (two("min_count", json!(3)), "min_count must be <= max_count"),
    ];
    for (body, words) in table {
        refused(&cloud, body, 400, words).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer_is_said_to_be_away() {
    let cloud = Cloud::still().await;
    cloud.peers.change(|state| state.away = true);
    let image = "The image service is not available.";
    refused(&cloud, server_body("web"), 503, image).await;
}

#[tokio::test(start_paused = true)]
async fn paths_and_methods_that_are_not_there_are_refused_as_compute_does_it() {
    let cloud = Cloud::still().await;
    let answer = cloud.send(Member, "GET /nothing", ()).await;
    answer.is_error(404, "The resource could not be found.");
    let answer = cloud.send(Member, "PATCH /servers", ()).await;
    answer.is_error(405, "The method PATCH is not allowed for this resource.");
    assert_eq!(answer.json()["badMethod"]["code"], 405);
}

#[tokio::test(start_paused = true)]
async fn what_the_network_service_refuses_is_told_as_nova_tells_it() {
    let cloud = Cloud::still().await;
    let body = with("networks", json!([{"port": NETWORK}]));
    let port = NETWORK;
    let table = [
        (
            Fault::new(
                FaultKind::NotFound,
                "PortNotFound",
                format!("Port {port} could not be found."),
            ),
            400,
            format!("Port id {port} could not be found."),
        ),
        (
            Fault::new(
                FaultKind::Conflict,
                "PortInUse",
                format!("Unable to complete operation on port {port} for network n."),
            ),
            409,
            format!("Port {port} is still in use."),
        ),
        (
            Fault::new(
                FaultKind::NotFound,
                "SecurityGroupNotFound",
                "Security group web does not exist",
            ),
            400,
            "Security group web not found.".to_owned(),
        ),
        (
            Fault::new(
                FaultKind::Forbidden,
                "ExternalNetworkAttachForbidden",
                "It is not allowed to create an interface on external network n",
            ),
            403,
            "It is not allowed to create an interface on external network n".to_owned(),
        ),
        (
            Fault::new(
                FaultKind::OverLimit,
                "OverQuota",
                "Quota exceeded for resources: ['port'].",
            ),
            403,
            "Maximum number of ports exceeded".to_owned(),
        ),
        (
            Fault::new(FaultKind::Conflict, "NetworkAmbiguous", "Multiple possible networks found"),
            409,
            "Multiple possible networks found".to_owned(),
        ),
    ];
    for (fault, status, words) in table {
        cloud.peers.change(|state| state.network_refusal = Some(fault));
        refused(&cloud, body.clone(), status, &words).await;
    }
}
