//! What guests read over HTTP, and what they cannot.

use std::time::Duration;

use updraft_protocol::network::DhcpLease;
use updraft_runtime::rpc::CallError;

use super::world::*;

const OTHER_NETWORK: uuid::Uuid = uuid::Uuid::from_u128(0xBBBB_0002_0000_4000_8000_0000_0000_0002);

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: 169.254.169.254\r\n\r\n")
}

impl World {
    async fn read(&self, source: &str, path: &str) -> Option<(u16, String)> {
        self.get(NETWORK, source, &request(path)).await
    }

    fn knows(&self, server: uuid::Uuid) {
        self.known.lock().unwrap().insert(server, metadata_of(server));
    }
}

async fn serving() -> World {
    let world = World::new().await;
    world.knows(SERVER);
    world.knows(OTHER_SERVER);
    let mut want = dhcp_want(1);
    want.leases.push(lease(OTHER_SERVER, 12));
    world.serve(&want).await.unwrap();
    world
}

#[tokio::test(start_paused = true)]
async fn a_guest_reads_who_it_is() {
    let world = serving().await;
    let answer = world.read("10.1.0.11", "/latest/meta-data/instance-id").await;
    assert_eq!(answer, Some((200, SERVER.to_string())));
    let answer = world.read("10.1.0.12", "/latest/meta-data/instance-id").await;
    assert_eq!(answer, Some((200, OTHER_SERVER.to_string())));
}

#[tokio::test(start_paused = true)]
async fn a_guest_reads_nothing_of_another() {
    let world = serving().await;
    let other = OTHER_SERVER.to_string();
    for path in [
        "/openstack/latest/meta_data.json",
        "/openstack/latest/network_data.json",
        "/openstack/latest/user_data",
        "/latest/user-data",
        "/latest/meta-data/public-keys/0/openssh-key",
    ] {
        let (status, body) = world.read("10.1.0.11", path).await.unwrap();
        assert_eq!(status, 200, "{path}");
        assert!(!body.contains(&other), "{path}: {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_header_makes_a_guest_somebody_else() {
    let world = serving().await;
    let forged = format!(
        "GET /latest/meta-data/instance-id HTTP/1.0\r\nHost: x\r\nX-Forwarded-For: 10.1.0.12\r\n\
         X-Real-IP: 10.1.0.12\r\nForwarded: for=10.1.0.12\r\nX-Instance-ID: {OTHER_SERVER}\r\n\r\n"
    );
    let answer = world.get(NETWORK, "10.1.0.11", &forged).await;
    assert_eq!(answer, Some((200, SERVER.to_string())));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_address_is_told_nothing() {
    let world = serving().await;
    let (status, _) = world.read("10.1.0.99", "/latest/meta-data/instance-id").await.unwrap();
    assert_eq!(status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_no_conductor_knows_is_told_nothing() {
    let world = serving().await;
    world.known.lock().unwrap().clear();
    let (status, _) = world.read("10.1.0.11", "/latest/meta-data/instance-id").await.unwrap();
    assert_eq!(status, 404);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_was_given_to_another_server_is_the_others() {
    let world = serving().await;
    let mut next = dhcp_want(2);
    next.leases = vec![DhcpLease { server: OTHER_SERVER, ..lease(OTHER_SERVER, 11) }];
    world.serve(&next).await.unwrap();
    let answer = world.read("10.1.0.11", "/latest/meta-data/instance-id").await;
    assert_eq!(answer, Some((200, OTHER_SERVER.to_string())));
    let (status, _) = world.read("10.1.0.12", "/latest/meta-data/instance-id").await.unwrap();
    assert_eq!(status, 404);
}

#[tokio::test(start_paused = true)]
async fn two_networks_with_the_same_addresses_are_kept_apart() {
    let world = serving().await;
    let mut twin = dhcp_want(1);
    twin.network = OTHER_NETWORK;
    twin.leases = vec![lease(OTHER_SERVER, 11)];
    world.serve(&twin).await.unwrap();
    let path = request("/latest/meta-data/instance-id");
    let answer = world.get(OTHER_NETWORK, "10.1.0.11", &path).await;
    assert_eq!(answer, Some((200, OTHER_SERVER.to_string())));
    let answer = world.get(NETWORK, "10.1.0.11", &path).await;
    assert_eq!(answer, Some((200, SERVER.to_string())));
}

#[tokio::test(start_paused = true)]
async fn metadata_is_served_again_after_a_restart_without_being_told_again() {
    let mut world = serving().await;
    world.restart().await;
    for _ in 0..100 {
        if let Some(answer) = world.read("10.1.0.11", "/latest/meta-data/instance-id").await {
            return assert_eq!(answer, (200, SERVER.to_string()));
        }
        world.env.sleep(Duration::from_millis(100)).await;
    }
    panic!("metadata was never served again");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_network_has_no_metadata() -> Result<(), CallError> {
    let world = serving().await;
    world.serve(&stop_want(2)).await?;
    assert_eq!(world.read("10.1.0.11", "/latest/meta-data/instance-id").await, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn only_reading_is_allowed() {
    let world = serving().await;
    let post = "POST /openstack/latest/password HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc";
    let (status, _) = world.get(NETWORK, "10.1.0.11", post).await.unwrap();
    assert_eq!(status, 405);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_says_nothing_is_cut_off() {
    let world = serving().await;
    let begun = world.env.now();
    let connection = world.say(NETWORK, "10.1.0.11", "GET /latest HTTP/1.1\r\n").await.unwrap();
    let answer = World::hear(connection).await;
    let waited = world.env.now() - begun;
    assert!(answer.is_none_or(|(status, _)| status == 408), "it was answered");
    let (least, most) = (Duration::from_secs(5), Duration::from_secs(61));
    assert!(waited > least && waited < most, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_an_endless_head_is_refused() {
    let world = serving().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(60_000));
    let answer = world.get(NETWORK, "10.1.0.11", &long).await;
    assert!(answer.is_none_or(|(status, _)| status == 431 || status == 414), "it was answered");
}
