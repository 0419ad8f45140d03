//! Making, showing and deleting images.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Cloud, Who};

#[tokio::test(start_paused = true)]
async fn the_clients_own_request_makes_an_image() {
    let cloud = Cloud::new().await;
    let body = json!({
        "container_format": "bare", "name": "cirros", "visibility": "public", "disk_format": "qcow2",
        "owner_specified.openstack.md5": "", "owner_specified.openstack.sha256": "",
        "owner_specified.openstack.object": "images/cirros",
    });
    let answer = cloud.post(Who::Admin, "/v2/images", body).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let image = answer.json();
    let id = image["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("/v2/images/{id}"));
    assert_eq!(answer.header("openstack-image-import-methods"), "glance-direct");
    assert_eq!(image["status"], "queued");
    assert_eq!(image["owner_specified.openstack.object"], "images/cirros");
    assert_eq!(image["created_at"], "2025-01-01T00:00:01Z");
    assert_eq!(cloud.get(Who::Other, &format!("/v2/images/{id}")).await.json(), image);
}

#[tokio::test(start_paused = true)]
async fn an_image_shows_every_key_of_the_real_service() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let shown = cloud.get(Who::Member, &format!("/v2/images/{image}")).await.json();
    let keys: Vec<&str> =
        shown.as_object().expect("an object").keys().map(String::as_str).collect();
    let wanted = [
        "checksum",
        "container_format",
        "created_at",
        "disk_format",
        "file",
        "id",
        "min_disk",
        "min_ram",
        "name",
        "os_hash_algo",
        "os_hash_value",
        "os_hidden",
        "owner",
        "protected",
        "schema",
        "self",
        "size",
        "status",
        "tags",
        "updated_at",
        "virtual_size",
        "visibility",
    ];
    assert_eq!(keys, wanted);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_there_is_a_page_that_names_it() {
    let cloud = Cloud::new().await;
    let answer = cloud.get(Who::Member, "/v2/images/cirros").await;
    answer.says(404, "<h1>404 Not Found</h1>\n  No image found with ID cirros<br /><br />");
    assert_eq!(answer.header("content-type"), "text/html; charset=UTF-8");
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_image_is_not_there_but_for_an_administrator() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let path = format!("/v2/images/{image}");
    cloud.get(Who::Other, &path).await.says(404, "No image found with ID");
    cloud.delete(Who::Other, &path).await.says(404, "Failed to find image");
    cloud.upload(Who::Other, &image, "x").await.says(404, "No image found with ID");
    assert_eq!(cloud.get(Who::Admin, &path).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_reader_reads_and_no_more() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"bytes").await;
    let path = format!("/v2/images/{image}");
    assert_eq!(cloud.get(Who::Reader, &path).await.status, StatusCode::OK);
    let refused = "You are not authorized to complete";
    cloud.post(Who::Reader, "/v2/images", json!({})).await.says(403, refused);
    cloud.delete(Who::Reader, &path).await.says(403, "complete delete_image action.");
    cloud.upload(Who::Reader, &image, "x").await.says(403, "complete upload_image action.");
    cloud.get(Who::Reader, &format!("{path}/file")).await.says(403, "download_image");
    let patch = json!([{"op": "replace", "path": "/name", "value": "x"}]);
    cloud.patch(Who::Reader, &path, patch).await.says(403, "modify_image");
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_new_image_are_told_in_the_real_services_words() {
    let cloud = Cloud::new().await;
    for (body, status, words) in [
        (json!({"visibility": "public"}), 403, "complete publicize_image action."),
        (json!({"status": "active"}), 403, "Attribute 'status' is read-only."),
        (json!({"self": "x"}), 403, "Attribute 'self' is read-only."),
        (json!({"deleted": "x"}), 403, "Attribute 'deleted' is reserved."),
        (json!({"os_glance_x": "x"}), 403, "Attribute 'os_glance_x' is reserved."),
        (json!({"owner": "x"}), 403, "You are not permitted to create images owned by 'x'"),
        (json!({"name": 5}), 400, "On instance['name']"),
        (json!({"disk_format": "floppy"}), 400, "'floppy' is not one of [None, 'ami',"),
        (json!({"id": "x"}), 400, "On instance['id']"),
        (json!({"min_ram": -1}), 400, "Cannot be a negative value"),
        (json!([]), 400, "Unexpected body type. Expected list/dict."),
    ] {
        cloud.post(Who::Member, "/v2/images", body).await.says(status, words);
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_tags_or_properties_are_too_many() {
    let cloud = Cloud::new().await;
    let tags: Vec<String> = (0..129).map(|number| number.to_string()).collect();
    let answer = cloud.post(Who::Member, "/v2/images", json!({"tags": tags})).await;
    answer.says(413, "number of allowed image tags. Attempted: 129, Maximum: 128");
    let properties: serde_json::Map<_, _> =
        (0..129).map(|number| (format!("p{number}"), json!("x"))).collect();
    let answer = cloud.post(Who::Member, "/v2/images", properties.into()).await;
    answer.says(413, "image properties. Attempted: 129, Maximum: 128");
}

#[tokio::test(start_paused = true)]
async fn an_id_can_be_chosen_once() {
    let cloud = Cloud::new().await;
    let id = "11111111-2222-4333-8444-555555555555";
    assert_eq!(cloud.made(json!({"id": id})).await, id);
    cloud.post(Who::Member, "/v2/images", json!({"id": id})).await.says(409, id);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_image_is_gone_at_once_and_its_bytes_soon() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"bytes").await;
    let path = format!("/v2/images/{image}");
    assert_eq!(cloud.delete(Who::Member, &path).await.status, StatusCode::NO_CONTENT);
    cloud.get(Who::Member, &path).await.says(404, "No image found");
    cloud.delete(Who::Member, &path).await.says(404, "Failed to find image");
    assert!(cloud.settled().await.images.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_protected_image_is_not_deleted() {
    let cloud = Cloud::new().await;
    let image = cloud.made(json!({"protected": true})).await;
    let answer = cloud.delete(Who::Member, &format!("/v2/images/{image}")).await;
    answer.says(403, &format!("Image {image} is protected and cannot be deleted."));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_good_token_learns_nothing() {
    let cloud = Cloud::new().await;
    let request = axum::http::Request::builder().uri("/v2/images").header("x-auth-token", "forged");
    let answer = cloud.send(request.body(axum::body::Body::empty()).expect("a request")).await;
    answer.says(401, "The request you have made requires authentication.");
}

#[tokio::test(start_paused = true)]
async fn versions_and_schemas_are_told() {
    let cloud = Cloud::new().await;
    let versions = cloud.get(Who::Member, "/").await;
    assert_eq!(versions.status, StatusCode::MULTIPLE_CHOICES);
    assert_eq!(versions.json()["versions"][0]["status"], "CURRENT");
    assert_eq!(cloud.get(Who::Member, "/versions").await.status, StatusCode::OK);
    let schema = cloud.get(Who::Member, "/v2/schemas/image").await.json();
    assert_eq!(schema["properties"]["status"]["readOnly"], true);
    for name in ["images", "member", "members"] {
        let answer = cloud.get(Who::Member, &format!("/v2/schemas/{name}")).await;
        assert_eq!(answer.json()["name"], name);
    }
}

#[tokio::test(start_paused = true)]
async fn another_method_on_a_known_path_is_not_allowed() {
    let cloud = Cloud::new().await;
    let answer = cloud.put(Who::Member, "/v2/images", json!({})).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.header("allow").contains("POST"));
}
