//! Bytes in and bytes out.

use std::time::Duration;

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;

use crate::support::{Cloud, Settings, Who, request};

/// The header of an empty qcow2 image of 1 GiB, version 3.
fn qcow2() -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..4].copy_from_slice(b"QFI\xfb");
    bytes[7] = 3;
    bytes[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
    bytes
}

fn chunks(bytes: Vec<Bytes>) -> Body {
    Body::from_stream(stream::iter(bytes.into_iter().map(Ok::<_, std::io::Error>)))
}

#[tokio::test(start_paused = true)]
async fn what_was_uploaded_comes_back_with_its_digests() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    // More than one part, in pieces that do not fit it.
    let body: Vec<Bytes> = (0..90_u8).map(|n| Bytes::from(vec![n; 70_000])).collect();
    let whole: Vec<u8> = body.concat();
    assert_eq!(
        cloud.upload(Who::Member, &image, chunks(body)).await.status,
        StatusCode::NO_CONTENT
    );
    let shown = cloud.get(Who::Member, &format!("/v2/images/{image}")).await.json();
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["size"], 6_300_000);
    assert_eq!(shown["virtual_size"], 6_300_000);
    assert_eq!(shown["os_hash_algo"], "sha512");
    let file = cloud.get(Who::Member, &format!("/v2/images/{image}/file")).await;
    assert!(file.body == whole, "other bytes came back");
    assert_eq!(file.header("content-md5"), shown["checksum"]);
    assert_eq!(file.header("content-length"), "6300000");
    assert_eq!(cloud.settled().await.images.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_digests_are_those_of_the_bytes() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"abc").await;
    let shown = cloud.get(Who::Member, &format!("/v2/images/{image}")).await.json();
    assert_eq!(shown["checksum"], "900150983cd24fb0d6963f7d28e17f72");
    let sha512 = shown["os_hash_value"].as_str().expect("a hash");
    assert!(sha512.starts_with("ddaf35a193617abacc417349ae204131") && sha512.len() == 128);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_an_image_can_be_had() {
    let cloud = Cloud::new().await;
    let path = format!("/v2/images/{}/file", cloud.active(b"0123456789").await);
    let part = request(Who::Member, "GET", &path).header("range", "bytes=2-4");
    let part = cloud.send(part.body(Body::empty()).expect("a request")).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "234".to_owned()));
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    let beyond = request(Who::Member, "GET", &path).header("range", "bytes=10-");
    let beyond = cloud.send(beyond.body(Body::empty()).expect("a request")).await;
    beyond.says(416, "MUST be in the inclusive range [0, 9]");
}

#[tokio::test(start_paused = true)]
async fn an_image_without_bytes_has_nothing_to_download() {
    let cloud = Cloud::new().await;
    let path = format!("/v2/images/{}/file", cloud.queued().await);
    assert_eq!(cloud.get(Who::Member, &path).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn bytes_go_into_a_queued_image_alone() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"one").await;
    let again = cloud.upload(Who::Member, &image, "two").await;
    again.says(409, "Image status transition from active to saving is not allowed");
    assert_eq!(cloud.get(Who::Member, &format!("/v2/images/{image}/file")).await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn formats_must_be_known_before_the_bytes() {
    let cloud = Cloud::new().await;
    let image = cloud.made(json!({})).await;
    let words = "Properties disk_format, container_format must be set prior to saving data.";
    cloud.upload(Who::Member, &image, "x").await.says(400, words);
    let image = cloud.made(json!({"disk_format": "raw"})).await;
    let words = "Property container_format must be set prior to saving data.";
    cloud.upload(Who::Member, &image, "x").await.says(400, words);
}

#[tokio::test(start_paused = true)]
async fn no_container_hides_that_an_image_names_another_file() {
    let cloud = Cloud::new().await;
    let mut backed = qcow2();
    backed[15] = 104;
    for container in ["ovf", "ova", "docker", "compressed", "ami"] {
        let formats = json!({"disk_format": "qcow2", "container_format": container});
        let image = cloud.made(formats).await;
        let answer = cloud.upload(Who::Member, &image, backed.clone()).await;
        answer.says(415, "Image failed safety checks");
        assert_eq!(cloud.status(&image).await, "queued", "{container}");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_sent_as_octets() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let path = format!("/v2/images/{image}/file");
    cloud.put(Who::Member, &path, json!({})).await.says(415, "application/json");
    assert_eq!(cloud.status(&image).await, "queued");
}

#[tokio::test(start_paused = true)]
async fn a_qcow2_image_must_be_one_and_name_no_other_file() {
    let cloud = Cloud::new().await;
    let formats = json!({"disk_format": "qcow2", "container_format": "bare"});
    let image = cloud.made(formats).await;
    let plain = cloud.upload(Who::Member, &image, "plain").await;
    plain.says(415, "Image disk_format qcow2 does not match stream data raw");
    assert_eq!(cloud.status(&image).await, "queued");

    let mut backed = qcow2();
    backed[15] = 104;
    cloud.upload(Who::Member, &image, backed).await.says(415, "Image failed safety checks");
    assert_eq!(cloud.status(&image).await, "queued");

    assert_eq!(cloud.upload(Who::Member, &image, qcow2()).await.status, StatusCode::NO_CONTENT);
    let shown = cloud.get(Who::Member, &format!("/v2/images/{image}")).await.json();
    assert_eq!(shown["virtual_size"], 1 << 30);
    assert_eq!(cloud.settled().await.images.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kernel_may_be_anything() {
    let cloud = Cloud::new().await;
    let image = cloud.made(json!({"disk_format": "aki", "container_format": "aki"})).await;
    assert_eq!(cloud.upload(Who::Member, &image, "MZ").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn an_image_over_the_limit_is_too_large_said_so_or_not() {
    let cloud = Cloud::with(Settings { size_max_bytes: 10, ..Settings::default() }).await;
    let image = cloud.queued().await;
    let path = format!("/v2/images/{image}/file");
    let announced = request(Who::Member, "PUT", &path)
        .header("content-type", "application/octet-stream")
        .header("content-length", "11");
    let announced = cloud.send(announced.body(Body::from("01234567890")).expect("one")).await;
    announced.says(413, "The incoming image is too large");

    let body = chunks(vec![Bytes::from("012345"), Bytes::from("67890")]);
    cloud.upload(Who::Member, &image, body).await.says(413, "The incoming image is too large");
    assert_eq!(cloud.status(&image).await, "queued");
    assert!(cloud.settled().await.images.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_is_given_up() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    cloud.upload(Who::Member, &image, silent).await.says(408, "No image data came for 60 seconds");
    assert_eq!(cloud.status(&image).await, "queued");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let broken = stream::iter([
        Ok(Bytes::from(vec![0; 6 << 20])),
        Err(std::io::Error::other("connection reset")),
    ]);
    let answer = cloud.upload(Who::Member, &image, Body::from_stream(broken)).await;
    answer.says(400, "The image data ended early");
    assert_eq!(cloud.status(&image).await, "queued");
    assert!(cloud.settled().await.images.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_when_its_request_is_dropped() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let slow = stream::unfold(0_u8, |sent| async move {
        if sent == 3 {
            return None;
        }
        tokio_sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), sent + 1))
    });
    let upload = cloud.upload(Who::Member, &image, Body::from_stream(slow));
    assert!(cloud.env.timeout(Duration::from_millis(1_500), upload).await.is_none());
    assert_eq!(cloud.status(&image).await, "saving");
    cloud.pass(Duration::from_secs(5)).await;
    assert_eq!(cloud.status(&image).await, "active");
}

#[allow(clippy::disallowed_methods, reason = "the client of a test has a clock of its own")]
async fn tokio_sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn an_image_deleted_while_its_bytes_arrive_leaves_nothing() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let slow = stream::unfold(0_u8, |sent| async move {
        if sent == 40 {
            return None;
        }
        tokio_sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from(vec![0; 300_000])), sent + 1))
    });
    let upload = cloud.upload(Who::Member, &image, Body::from_stream(slow));
    let delete = async {
        cloud.pass(Duration::from_secs(5)).await;
        cloud.delete(Who::Member, &format!("/v2/images/{image}")).await
    };
    let (uploaded, deleted) = futures_util::join!(upload, delete);
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    uploaded.says(410, "could not be found after upload");
    assert!(cloud.settled().await.images.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deactivated_image_keeps_its_bytes_to_itself() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"bytes").await;
    let path = format!("/v2/images/{image}");
    let empty = || json!({});
    let off = cloud.post(Who::Member, &format!("{path}/actions/deactivate"), empty()).await;
    assert_eq!(off.status, StatusCode::NO_CONTENT);
    let words = "The requested image has been deactivated. Image data download is forbidden.";
    cloud.get(Who::Member, &format!("{path}/file")).await.says(403, words);
    assert_eq!(cloud.get(Who::Admin, &format!("{path}/file")).await.text(), "bytes");
    cloud.post(Who::Member, &format!("{path}/actions/reactivate"), empty()).await;
    assert_eq!(cloud.get(Who::Member, &format!("{path}/file")).await.text(), "bytes");
    let queued = cloud.queued().await;
    let off = format!("/v2/images/{queued}/actions/deactivate");
    let answer = cloud.post(Who::Member, &off, empty()).await;
    answer.says(403, "Not allowed to deactivate image in status 'queued'");
}

#[tokio::test(start_paused = true)]
async fn staged_bytes_become_the_images_own_by_import() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let path = format!("/v2/images/{image}");
    let import = json!({"method": {"name": "glance-direct"}});
    let early = cloud.post(Who::Member, &format!("{path}/import"), import.clone()).await;
    early.says(409, "'uploading' state");
    let staging = request(Who::Member, "PUT", &format!("{path}/stage"))
        .header("content-type", "application/octet-stream");
    let staged = cloud.send(staging.body(Body::from("bytes")).expect("a request")).await;
    assert_eq!(staged.status, StatusCode::NO_CONTENT);
    assert_eq!(cloud.status(&image).await, "uploading");
    let imported = cloud.post(Who::Member, &format!("{path}/import"), import).await;
    assert_eq!(imported.status, StatusCode::ACCEPTED);
    assert_eq!(cloud.get(Who::Member, &format!("{path}/file")).await.text(), "bytes");
    let unknown = json!({"method": {"name": "telepathy"}});
    let unknown = cloud.post(Who::Member, &format!("{path}/import"), unknown).await;
    unknown.says(400, "Unknown import method name 'telepathy'.");
}
