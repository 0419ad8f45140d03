//! The documents and paths of the API's versions.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::{
    cloud::Cloud,
    identity::{
        DEMO, OTHER,
        Who::{Admin, Member},
    },
};

async fn at(cloud: &Cloud, path: &str, token: bool) -> crate::cloud::Answer {
    let mut request = Request::builder().uri(path).header("host", "cloud");
    if token {
        request = request.header("x-auth-token", Member.token());
    }
    cloud.exchange(request.body(Body::empty()).expect("a request")).await
}

#[tokio::test(start_paused = true)]
async fn the_versions_are_told_without_a_token() {
    let cloud = Cloud::still().await;
    let all = at(&cloud, "/", false).await;
    let versions = all.is(200).json()["versions"].clone();
    assert_eq!(versions[1]["id"], "v2.1");
    assert_eq!(
        (&versions[1]["min_version"], &versions[1]["version"]),
        (&json!("2.1"), &json!("2.100"))
    );
    for path in ["/v2.1", "/v2.1/"] {
        assert_eq!(at(&cloud, path, false).await.is(200).json()["version"]["status"], "CURRENT");
    }
    assert_eq!(at(&cloud, "/v2/", false).await.is(200).json()["version"]["id"], "v2.0");
}

#[tokio::test(start_paused = true)]
async fn the_path_may_name_the_tokens_project_and_no_other() {
    let cloud = Cloud::still().await;
    cloud.server(Member, "web").await;
    for version in ["v2", "v2.1"] {
        let own = at(&cloud, &format!("/{version}/{DEMO}/servers"), true).await;
        let link = own.is(200).json()["servers"][0]["links"][0]["href"].clone();
        let link = link.as_str().expect("a link").to_owned();
        assert!(link.starts_with(&format!("http://cloud/{version}/{DEMO}/servers/")), "{link}");
    }
    let other = at(&cloud, &format!("/v2/{OTHER}/servers"), true).await;
    other.is_error(
        400,
        &format!(
            "Malformed request URL: URL's project_id '{OTHER}' doesn't match Context's project_id \
             '{DEMO}'"
        ),
    );
}

/// The keys that each version added, for an administrator.
const ADDED: &[(&str, &[&str])] = &[
    (
        "2.1",
        &[
            "id",
            "name",
            "status",
            "tenant_id",
            "user_id",
            "metadata",
            "hostId",
            "image",
            "flavor",
            "created",
            "updated",
            "addresses",
            "accessIPv4",
            "accessIPv6",
            "links",
            "OS-DCF:diskConfig",
            "progress",
            "OS-EXT-AZ:availability_zone",
            "config_drive",
            "key_name",
            "OS-SRV-USG:launched_at",
            "OS-SRV-USG:terminated_at",
            "security_groups",
            "OS-EXT-STS:task_state",
            "OS-EXT-STS:vm_state",
            "OS-EXT-STS:power_state",
            "os-extended-volumes:volumes_attached",
            "OS-EXT-SRV-ATTR:host",
            "OS-EXT-SRV-ATTR:instance_name",
            "OS-EXT-SRV-ATTR:hypervisor_hostname",
        ],
    ),
    (
        "2.3",
        &[
            "OS-EXT-SRV-ATTR:reservation_id",
            "OS-EXT-SRV-ATTR:launch_index",
            "OS-EXT-SRV-ATTR:kernel_id",
            "OS-EXT-SRV-ATTR:ramdisk_id",
            "OS-EXT-SRV-ATTR:root_device_name",
            "OS-EXT-SRV-ATTR:user_data",
            "OS-EXT-SRV-ATTR:hostname",
        ],
    ),
    ("2.9", &["locked"]),
    ("2.16", &["host_status"]),
    ("2.19", &["description"]),
    ("2.26", &["tags"]),
    ("2.63", &["trusted_image_certificates"]),
    ("2.71", &["server_groups"]),
    ("2.73", &["locked_reason"]),
    ("2.96", &["pinned_availability_zone"]),
    ("2.100", &["scheduler_hints"]),
];

#[tokio::test(start_paused = true)]
async fn a_server_has_exactly_the_keys_of_its_version() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    let mut expected: Vec<&str> = Vec::new();
    for (version, added) in ADDED {
        expected.extend(*added);
        expected.sort_unstable();
        let answer = cloud.send_at(version, Admin, &format!("GET /servers/{id}"), ()).await;
        let server = answer.is(200).json()["server"].clone();
        let keys: Vec<&str> =
            server.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, expected, "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_sees_nothing_of_hosts() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    let server = cloud.get(Member, &format!("/servers/{id}")).await["server"].clone();
    let keys = server.as_object().expect("an object").keys().map(String::as_str);
    let told: Vec<&str> =
        keys.filter(|key| key.contains("SRV-ATTR") || key.contains("host_")).collect();
    assert_eq!(told, ["OS-EXT-SRV-ATTR:hostname"]);
}

#[tokio::test(start_paused = true)]
async fn image_and_flavor_are_told_as_their_version_tells_them() {
    let cloud = Cloud::still().await;
    let id = cloud.server(Member, "web").await;
    let path = format!("GET /servers/{id}");
    let old = cloud.send_at("2.46", Member, &path, ()).await.json()["server"].clone();
    assert_eq!(
        old["flavor"],
        json!({"id": "1", "links": [{"rel": "bookmark", "href": "http://cloud/flavors/1"}]})
    );
    assert_eq!(old["image"].get("properties"), None);
    let new = cloud.send_at("2.98", Member, &path, ()).await.json()["server"].clone();
    assert_eq!(
        new["flavor"],
        json!({
            "vcpus": 1, "ram": 512, "disk": 1, "ephemeral": 0, "swap": 0,
            "original_name": "m1.tiny", "extra_specs": {},
        })
    );
    assert_eq!(new["image"]["properties"], json!({"os_type": "linux"}));
    assert_eq!(new["OS-SRV-USG:launched_at"], Value::Null);
}
