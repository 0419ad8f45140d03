//! What compute nodes ask.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use updraft_edge::verify::Verifier;
use updraft_protocol::image::{Api, Fetch, ImageLocation, Locate};
use updraft_runtime::{
    bulk::{FetchError, MemorySink},
    rpc::{CallError, Cx, FaultKind, TraceContext},
};
use uuid::Uuid;

use crate::support::{Cloud, Settings, Who, identity, token};

const DAY: Duration = Duration::from_secs(86_400);

async fn locate(cloud: &Cloud, image: &str, cx: &Cx) -> Result<ImageLocation, CallError> {
    let image = image.parse().expect("an id");
    cloud.compute.rpc().client::<Api>().call(&Locate { image }, cx).await
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, CallError>) -> (FaultKind, String) {
    let error = answer.expect_err("answered");
    let fault = error.fault().unwrap_or_else(|| panic!("{error}"));
    (fault.kind, fault.message.clone())
}

#[tokio::test(start_paused = true)]
async fn compute_learns_where_an_image_is_and_what() {
    let cloud = Cloud::new().await;
    let kernel = Uuid::from_u128(7);
    let body = json!({
        "name": "disk", "disk_format": "raw", "container_format": "bare", "min_ram": 64,
        "min_disk": 1, "kernel_id": kernel, "hw_disk_bus": "virtio",
    });
    let image = cloud.made(body).await;
    cloud.upload(Who::Member, &image, "bytes").await;
    let cx = cloud.cx(Who::Member, &token(Who::Member, DAY));
    let location = locate(&cloud, &image, &cx).await.expect("a location");
    assert_eq!(location.uri, format!("updraft+image:///{image}"));
    assert_eq!((location.status.as_str(), location.size_bytes), ("active", 5));
    assert_eq!(location.virtual_size_bytes, Some(5));
    assert_eq!((location.kernel, location.ramdisk), (Some(kernel), None));
    assert_eq!((location.min_ram_mib, location.min_disk_gib), (64, 1));
    assert_eq!(location.properties.get("hw_disk_bus").map(String::as_str), Some("virtio"));
    let verified = cloud.control.tracer().take(1_000);
    let verified = verified.iter().filter(|step| step.name == "identity/verify").count();
    assert_eq!(verified, 1, "the token was not seen to be verified");
}

/// The bytes of an image, as a compute node fetches them.
async fn fetch(cloud: &Cloud, image: &str, cx: &Cx) -> Result<Vec<u8>, FetchError> {
    let image = image.parse().expect("an id");
    let mut sink = MemorySink::at_most(1 << 20);
    cloud.compute.rpc().client::<Api>().fetch(Fetch { image }, cx).into(&mut sink).await?;
    Ok(sink.into_bytes())
}

#[tokio::test(start_paused = true)]
async fn an_image_is_fetched_as_a_body_that_its_sha_512_names() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"0123456789").await;
    let cx = cloud.cx(Who::Member, &token(Who::Member, DAY));
    assert_eq!(fetch(&cloud, &image, &cx).await.expect("bytes"), b"0123456789");
    let location = locate(&cloud, &image, &cx).await.expect("a location");
    let mut sink = MemorySink::at_most(1 << 20);
    let fetch = cloud.compute.rpc().client::<Api>().fetch(Fetch { image: location.image }, &cx);
    let digest = location.digest().expect("a digest");
    assert_eq!(fetch.expecting(digest).into(&mut sink).await.expect("bytes"), digest);
}

#[tokio::test(start_paused = true)]
async fn only_who_may_have_an_image_is_given_its_bytes() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"bytes").await;
    let other = cloud.cx(Who::Other, &token(Who::Other, DAY));
    let nobody = Cx::new("compute.node", TraceContext::fresh(&cloud.env));
    for (cx, kind) in [(other, FaultKind::NotFound), (nobody, FaultKind::Unauthenticated)] {
        match fetch(&cloud, &image, &cx).await {
            Err(FetchError::Call(error)) => assert_eq!(refusal::<()>(Err(error)).0, kind),
            fetched => panic!("{fetched:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_who_may_have_an_image_learns_of_it() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"bytes").await;
    let other = cloud.cx(Who::Other, &token(Who::Other, DAY));
    let (kind, words) = refusal(locate(&cloud, &image, &other).await);
    assert_eq!(kind, FaultKind::NotFound);
    assert_eq!(words, format!("No image found with ID {image}"));
    let nobody = Cx::new("compute.node", TraceContext::fresh(&cloud.env));
    assert_eq!(refusal(locate(&cloud, &image, &nobody).await).0, FaultKind::Unauthenticated);
}

#[tokio::test(start_paused = true)]
async fn a_call_before_anybody_is_known_is_told_to_come_again() {
    let verifier = Arc::new(Verifier::new());
    let settings = Settings { verifier: verifier.clone(), ..Settings::default() };
    let cloud = Cloud::with(settings).await;
    let cx = cloud.cx(Who::Member, &token(Who::Member, DAY));
    let image = Uuid::from_u128(1).to_string();
    assert_eq!(refusal(locate(&cloud, &image, &cx).await).0, FaultKind::Unavailable);
    verifier.publish(Arc::new(identity()));
    assert_eq!(refusal(locate(&cloud, &image, &cx).await).0, FaultKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_image_without_bytes_cannot_be_used() {
    let cloud = Cloud::new().await;
    let image = cloud.queued().await;
    let cx = cloud.cx(Who::Member, &token(Who::Member, DAY));
    let (kind, words) = refusal(locate(&cloud, &image, &cx).await);
    assert_eq!((kind, words), (FaultKind::Conflict, format!("Image {image} is not active.")));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ended_on_the_way_still_passes_from_a_node_of_the_cloud() {
    let cloud = Cloud::new().await;
    let image = cloud.active(b"bytes").await;
    let cx = cloud.cx(Who::Member, &token(Who::Member, Duration::from_secs(60)));
    cloud.pass(Duration::from_secs(3_600)).await;
    locate(&cloud, &image, &cx).await.expect("an accepted request is carried to its end");
}
