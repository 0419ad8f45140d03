//! Volumes over REST.

use axum::http::StatusCode;
use serde_json::{Value, json};
use updraft_volume::driver::SimulatedFile;

use crate::support::{Cloud, IMAGE, Settings, Who, image_bytes, request};

fn file(cloud: &Cloud, volume: &str) -> SimulatedFile {
    let id = volume.parse().expect("an id");
    let files = cloud.hosts[0].files.simulated_files();
    files.get(&id).cloned().unwrap_or_else(|| panic!("{volume} has no file"))
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_request_full_of_nulls_makes_a_volume() {
    let cloud = Cloud::new().await;
    let body = json!({
        "name": "v1", "size": 1, "description": null, "source_volid": null,
        "availability_zone": null, "consistencygroup_id": null, "metadata": null, "imageRef": null,
        "snapshot_id": null, "volume_type": null, "backup_id": null,
    });
    let answer = cloud.post(Who::Member, "/v3/volumes", json!({"volume": body})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    assert_eq!(answer.headers["openstack-api-version"], "volume 3.65");
    let volume = &answer.json()["volume"];
    assert_eq!((&volume["status"], &volume["size"]), (&json!("creating"), &json!(1)));
    assert!(volume.get("os-vol-tenant-attr:tenant_id").is_none(), "extensions add nothing here");
    let id = volume["id"].as_str().expect("an id");
    cloud.until(id, "available").await;
    assert_eq!(file(&cloud, id).size_gib, 1);
}

#[tokio::test(start_paused = true)]
async fn a_volume_shows_every_key_of_its_version_and_no_other() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let base = [
        "attachments",
        "availability_zone",
        "bootable",
        "consistencygroup_id",
        "created_at",
        "description",
        "encrypted",
        "id",
        "links",
        "metadata",
        "multiattach",
        "name",
        "os-vol-tenant-attr:tenant_id",
        "replication_status",
        "size",
        "snapshot_id",
        "source_volid",
        "status",
        "updated_at",
        "user_id",
        "volume_type",
    ];
    let newer = ["consumes_quota", "group_id", "service_uuid", "shared_targets", "volume_type_id"];
    for (version, more) in [("3.0", &newer[..0]), ("3.65", &newer[..])] {
        let path = format!("/v3/volumes/{volume}");
        let mut request = request(Who::Member, "GET", &path);
        let headers = request.headers_mut().expect("headers");
        let version = format!("volume {version}").parse().expect("a header");
        headers.insert("openstack-api-version", version);
        let shown = cloud.send(request.body(axum::body::Body::empty()).expect("one")).await.json();
        let mut wanted: Vec<&str> = base.iter().chain(more).copied().collect();
        wanted.sort_unstable();
        let keys = shown["volume"].as_object().expect("an object").keys();
        assert_eq!(keys.map(String::as_str).collect::<Vec<_>>(), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_new_volume_are_told_and_name_the_field() {
    let cloud = Cloud::new().await;
    for (volume, status, words) in [
        (json!({}), 400, "Volume size 'None' must be an integer and greater than 0"),
        (json!({"size": 0}), 400, "field/attribute size. Value: 0."),
        (json!({"size": -1}), 400, "field/attribute size. Value: -1."),
        (json!({"size": "x"}), 400, "field/attribute size. Value: x."),
        (json!({"size": ""}), 400, "field/attribute size."),
        (json!({"size": []}), 400, "size"),
        (json!({"size": 1, "name": 5}), 400, "field/attribute name"),
        (json!({"size": 1, "name": "x".repeat(256)}), 400, "field/attribute name"),
        (json!({"size": 1, "metadata": {"a": 5}}), 400, "metadata.a"),
        (json!({"size": 1, "colour": "red"}), 400, "'colour' was unexpected"),
        (
            json!({"size": 1, "volume_type": "fast"}),
            404,
            "Volume type with name fast could not be found.",
        ),
        (
            json!({"size": 1, "availability_zone": "mars"}),
            400,
            "Availability zone 'mars' is invalid",
        ),
        (json!({"size": 1, "multiattach": true}), 400, "multiattach parameter has been removed"),
        (json!({"size": 1, "snapshot_id": "x"}), 400, "field/attribute snapshot_id"),
        (json!({"snapshot_id": IMAGE}), 404, "could not be found"),
        (json!({"source_volid": IMAGE}), 404, "could not be found"),
        (json!({"size": 1, "imageRef": "x"}), 400, "Invalid image identifier"),
        (json!({"size": 1, "backup_id": "x"}), 400, "backup_id"),
    ] {
        let answer = cloud.post(Who::Member, "/v3/volumes", json!({"volume": volume})).await;
        answer.says(status, words);
    }
    cloud.post(Who::Member, "/v3/volumes", json!({})).await.says(400, "'volume' is a required");
    assert!(cloud.settled().await.files.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_not_there_is_named() {
    let cloud = Cloud::new().await;
    let answer = cloud.get(Who::Member, "/v3/volumes/v1").await;
    let words = json!({"itemNotFound": {"code": 404, "message": "Volume v1 could not be found."}});
    assert_eq!((answer.status.as_u16(), answer.json()), (404, words));
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_volume_is_not_there_but_for_an_administrator() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let path = format!("/v3/volumes/{volume}");
    cloud.get(Who::Other, &path).await.says(404, "could not be found");
    cloud.delete(Who::Other, &path).await.says(404, "could not be found");
    assert_eq!(cloud.get(Who::Other, "/v3/volumes/detail").await.json()["volumes"], json!([]));
    assert_eq!(cloud.get(Who::Admin, &path).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_reader_reads_and_no_more() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let path = format!("/v3/volumes/{volume}");
    assert_eq!(cloud.get(Who::Reader, &path).await.status, StatusCode::OK);
    cloud.delete(Who::Reader, &path).await.says(403, "volume:delete");
    let body = json!({"volume": {"size": 1}});
    cloud.post(Who::Reader, "/v3/volumes", body).await.says(403, "volume:create");
}

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_sorted_and_paged() {
    let cloud = Cloud::new().await;
    for (name, size) in [("b", 2), ("a", 3), ("c", 1)] {
        cloud.made(json!({"name": name, "size": size, "metadata": {"n": name}})).await;
        cloud.pass(std::time::Duration::from_secs(1)).await;
    }
    let names = |list: Value| -> Vec<String> {
        let volumes = list["volumes"].as_array().unwrap_or_else(|| panic!("{list}")).clone();
        volumes.iter().map(|v| v["name"].as_str().expect("a name").to_owned()).collect()
    };
    for (query, wanted) in [
        ("", vec!["c", "a", "b"]),
        ("?name=a", vec!["a"]),
        ("?sort=size:asc", vec!["c", "b", "a"]),
        ("?sort_key=name&sort_dir=desc", vec!["c", "b", "a"]),
        ("?status=available&sort=name:asc", vec!["a", "b", "c"]),
        ("?status=error", vec![]),
        ("?metadata={'n':'b'}", vec!["b"]),
        ("?limit=1&sort=name:asc", vec!["a"]),
        ("?all_tenants=1&name=b", vec!["b"]),
    ] {
        let path = format!("/v3/volumes/detail{}", query.replace('{', "%7B").replace('}', "%7D"));
        let list = cloud.get(Who::Member, &path).await.json();
        assert_eq!(names(list), wanted, "{query}");
    }
    let page = cloud.get(Who::Member, "/v3/volumes?limit=2&sort=name:asc&with_count=1").await;
    assert_eq!(page.json()["count"], 3);
    let next = page.json()["volumes_links"][0]["href"].as_str().expect("a link").to_owned();
    let next = next.strip_prefix("http://cloud").expect("here").to_owned();
    assert_eq!(names(cloud.get(Who::Member, &next).await.json()), ["c"]);
    cloud.get(Who::Member, "/v3/volumes?limit=x").await.says(400, "limit param must be an integer");
    cloud.get(Who::Member, "/v3/volumes?sort=colour").await.says(400, "Sort key supplied");
}

#[tokio::test(start_paused = true)]
async fn a_volumes_words_can_be_changed() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let path = format!("/v3/volumes/{volume}");
    let words = json!({"volume": {"name": "new", "description": null, "metadata": {"a": "b"}}});
    let shown = cloud.put(Who::Member, &path, words).await.json();
    assert_eq!(shown["volume"]["name"], "new");
    assert_eq!(shown["volume"]["metadata"], json!({"a": "b"}));
    let wrong = json!({"volume": {"size": 5}});
    cloud.put(Who::Member, &path, wrong).await.says(400, "'size' was unexpected");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_set_entry_by_entry() {
    let cloud = Cloud::new().await;
    let path = format!("/v3/volumes/{}/metadata", cloud.available().await);
    let merged = json!({"metadata": {"a": "1", "b": "2"}});
    assert_eq!(cloud.post(Who::Member, &path, merged.clone()).await.json(), merged);
    let one = json!({"meta": {"a": "3"}});
    cloud.put(Who::Member, &format!("{path}/a"), one.clone()).await.says(200, "3");
    cloud.put(Who::Member, &format!("{path}/b"), one).await.says(400, "URI mismatch");
    assert_eq!(cloud.delete(Who::Member, &format!("{path}/b")).await.status, StatusCode::OK);
    cloud.get(Who::Member, &format!("{path}/b")).await.says(404, "no metadata with key b");
    assert_eq!(cloud.get(Who::Member, &path).await.json(), json!({"metadata": {"a": "3"}}));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_volume_goes_when_its_file_is_gone() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let path = format!("/v3/volumes/{volume}?cascade=False&force=False");
    assert_eq!(cloud.delete(Who::Admin, &path).await.status, StatusCode::ACCEPTED);
    assert_eq!(cloud.shown(&volume).await["status"], "deleting");
    assert!(cloud.settled().await.files.is_empty());
    cloud.get(Who::Member, &format!("/v3/volumes/{volume}")).await.says(404, "could not be found");
}

#[tokio::test(start_paused = true)]
async fn a_volume_can_begin_as_an_image() {
    let cloud = Cloud::new().await;
    let volume = cloud.made(json!({"size": 1, "imageRef": IMAGE})).await;
    cloud.until(&volume, "available").await;
    assert_eq!(file(&cloud, &volume).content, image_bytes()[..4_096]);
    let shown = cloud.shown(&volume).await;
    assert_eq!(shown["bootable"], "true");
    assert_eq!(shown["volume_image_metadata"]["image_name"], "disk");
    assert_eq!(shown["volume_image_metadata"]["os_type"], "linux");
}

#[tokio::test(start_paused = true)]
async fn a_volume_can_begin_as_another_one() {
    let cloud = Cloud::new().await;
    let first = cloud.made(json!({"size": 1, "imageRef": IMAGE})).await;
    cloud.until(&first, "available").await;
    let too_small = json!({"volume": {"size": 1, "source_volid": first}});
    let copy = cloud.made(json!({"size": 2, "source_volid": first})).await;
    cloud.until(&copy, "available").await;
    assert_eq!(file(&cloud, &copy).content, image_bytes()[..4_096]);
    assert_eq!(cloud.shown(&copy).await["source_volid"], first);
    assert_eq!(cloud.post(Who::Member, "/v3/volumes", too_small).await.status.as_u16(), 202);
    let smaller = json!({"volume": {"size": 1, "source_volid": copy}});
    let answer = cloud.post(Who::Member, "/v3/volumes", smaller).await;
    answer.says(400, "cannot be smaller than original volume size  2GB");
}

#[tokio::test(start_paused = true)]
async fn the_eleventh_volume_is_one_too_many() {
    let cloud = Cloud::new().await;
    for _ in 0..10 {
        cloud.made(json!({"size": 1})).await;
    }
    let answer = cloud.post(Who::Member, "/v3/volumes", json!({"volume": {"size": 1}})).await;
    answer.says(413, "Maximum number of volumes allowed (10) exceeded for quota 'volumes'.");
    assert_eq!(answer.headers["retry-after"], "0");
    let large = json!({"volume": {"size": 1_001}});
    let words = "Requested volume or snapshot exceeds allowed gigabytes quota. \
                 Requested 1001G, quota is 1000G and 0G has been consumed.";
    cloud.post(Who::Other, "/v3/volumes", large).await.says(413, words);
}

#[tokio::test(start_paused = true)]
async fn volumes_asked_for_at_once_do_not_pass_the_quota_together() {
    let cloud = Cloud::new().await;
    let asked =
        (0..20).map(|_| cloud.post(Who::Member, "/v3/volumes", json!({"volume": {"size": 1}})));
    let answers = futures_util::future::join_all(asked).await;
    let accepted = answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).count();
    assert_eq!(accepted, 10);
    assert_eq!(cloud.settled().await.files.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_placed_where_there_is_room_and_says_so_when_there_is_none() {
    let cloud = Cloud::with(Settings { hosts: 2, total_gib: 10, ..Settings::default() }).await;
    let hosts = async |sizes: &[u64]| {
        let mut hosts = Vec::new();
        for size in sizes {
            let volume = cloud.made(json!({"size": size})).await;
            cloud.until(&volume, "available").await;
            hosts.push(cloud.shown(&volume).await["os-vol-host-attr:host"].clone());
        }
        hosts
    };
    assert_eq!(hosts(&[6, 6]).await, [json!("host1@files#files"), json!("host2@files#files")]);
    let third = cloud.made(json!({"size": 6})).await;
    cloud.until(&third, "error").await;
    let path = format!("/v3/volumes/{third}");
    assert_eq!(cloud.delete(Who::Member, &path).await.status, StatusCode::ACCEPTED);
    assert_eq!(cloud.settled().await.files.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_volume_grows_and_does_not_shrink() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let action = format!("/v3/volumes/{volume}/action");
    let extend = |size: u64| json!({"os-extend": {"new_size": size}});
    assert_eq!(cloud.post(Who::Member, &action, extend(3)).await.status, StatusCode::ACCEPTED);
    cloud.until(&volume, "available").await;
    assert_eq!(cloud.shown(&volume).await["size"], 3);
    assert_eq!(file(&cloud, &volume).size_gib, 3);
    let words = "New size for extend must be greater than current size. (current: 3, extended: 3).";
    cloud.post(Who::Member, &action, extend(3)).await.says(400, words);
    cloud.post(Who::Member, &action, extend(2_000)).await.says(413, "quota is 1000G");
    cloud.post(Who::Member, &action, json!({"os-fly": {}})).await.says(400, "os-fly");
}

#[tokio::test(start_paused = true)]
async fn a_status_is_reset_by_administrators_alone() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let action = format!("/v3/volumes/{volume}/action");
    let reset = |status: &str| json!({"os-reset_status": {"status": status}});
    cloud.post(Who::Member, &action, reset("error")).await.says(403, "reset_status");
    assert_eq!(cloud.post(Who::Admin, &action, reset("error")).await.status, StatusCode::ACCEPTED);
    assert_eq!(cloud.shown(&volume).await["status"], "error");
    cloud
        .post(Who::Admin, &action, reset("in-use"))
        .await
        .says(400, "does not have any attachments");
    cloud.post(Who::Admin, &action, reset("fine")).await.says(400, "field/attribute status");
    cloud.post(Who::Admin, &action, reset("available")).await;
    assert_eq!(cloud.shown(&volume).await["status"], "available");
}

#[tokio::test(start_paused = true)]
async fn a_volume_can_be_made_bootable() {
    let cloud = Cloud::new().await;
    let volume = cloud.available().await;
    let action = format!("/v3/volumes/{volume}/action");
    let bootable = json!({"os-set_bootable": {"bootable": true}});
    assert_eq!(cloud.post(Who::Member, &action, bootable).await.status, StatusCode::OK);
    assert_eq!(cloud.shown(&volume).await["bootable"], "true");
}
