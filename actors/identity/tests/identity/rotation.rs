//! Keys that rotate while they are in use.

use std::time::Duration;

use updraft_protocol::identity::{Identity, RotateKeys, Rotated};
use updraft_runtime::rpc::{Cx, TraceContext};

use crate::support::{Cloud, PASSWORD, in_project, password};

const PAUSE: Duration = updraft_identity::ROTATION_PAUSE_MIN;

#[tokio::test(start_paused = true)]
async fn a_rotation_fails_no_request() {
    let cloud = Cloud::of(&[true, false]).await;
    let identity = cloud.nodes[0].identity.clone().expect("identity");
    let mut tokens = Vec::new();
    for _ in 0..4 {
        cloud.skip(PAUSE);
        tokens.push(cloud.token(password("admin", PASSWORD, in_project("admin"))).await);
        let rotated = identity.rotate_keys().await.expect("rotated");
        assert_eq!(rotated.primary as usize, tokens.len() + 1);
        tokens.push(cloud.token(password("admin", PASSWORD, in_project("admin"))).await);
        for node in &cloud.nodes {
            assert!(tokens.iter().all(|token| node.accepts(token)), "{}", node.id);
        }
        tokens.pop();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_not_heard_of_a_rotation_knows_the_new_primary_key() {
    let cloud = Cloud::of(&[true, false]).await;
    cloud.skip(PAUSE);
    cloud.cut_off(Some(cloud.nodes[1].id.clone()));
    let identity = cloud.nodes[0].identity.clone().expect("identity");
    identity.rotate_keys().await.expect("rotated");
    let token = cloud.token(password("admin", PASSWORD, in_project("admin"))).await;
    assert!(cloud.nodes[1].accepts(&token));
}

#[tokio::test(start_paused = true)]
async fn two_rotations_in_a_row_are_refused_with_the_reason() {
    let cloud = Cloud::new().await;
    cloud.skip(PAUSE);
    let identity = cloud.nodes[0].identity.clone().expect("identity");
    identity.rotate_keys().await.expect("rotated");
    let refused = identity.rotate_keys().await.expect_err("too soon");
    assert!(refused.to_string().contains("less than 10 seconds ago"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn keys_rotate_by_themselves_and_an_operator_may_ask_for_it() {
    let cloud = Cloud::of(&[true, true]).await;
    let primary = |n: usize| {
        let keys = cloud.nodes[n].verifier.snapshot().fernet_keys.clone();
        keys.0.keys().last().copied()
    };
    assert_eq!(primary(0), Some(1));
    cloud.skip(Duration::from_secs(24 * 3_600));
    cloud.pass(Duration::from_secs(61)).await;
    assert_eq!(
        (primary(0), primary(1)),
        (Some(2), Some(2)),
        "once, though both servers saw it due"
    );
    cloud.skip(PAUSE);
    let cx = Cx::new("test", TraceContext::default());
    let asked = cloud.nodes[1].rpc().client::<Identity>().call(&RotateKeys, &cx).await;
    assert_eq!(asked.expect("rotated"), Rotated { primary: 3, keys: 4 });
    assert_eq!((primary(0), primary(1)), (Some(3), Some(3)));
}
