//! Several control nodes on one store: what one does holds on all.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use serde_json::{Value, json};
use updraft_edge::{context::Context, verify::Verifier};
use updraft_identity::{ACKNOWLEDGED_WITHIN, Config, Identity};
use updraft_protocol::identity::POLL;
use updraft_runtime::store::{BeginFate, CommitFate, StoreFaults};

use crate::support::{Caller, Cloud, PASSWORD, Settings, in_project, password};

#[tokio::test(start_paused = true)]
async fn what_one_node_answers_holds_on_every_node_at_once() {
    let cloud = Cloud::of(&[true, true, false]).await;
    let demo = cloud.user("demo", "member").await;
    for node in &cloud.nodes {
        assert!(node.accepts(&demo.caller.token), "{} knows the user and the role", node.id);
    }
    let second = &cloud.nodes[1];
    let token = second.token(password("demo", "demo", in_project("demo"))).await;
    let caller = Caller { node: second, token: token.clone() };
    let deleted = caller.about("DELETE", "/v3/auth/tokens", &token).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    for node in &cloud.nodes {
        assert!(!node.accepts(&token), "{} refuses the deleted token", node.id);
        assert!(node.accepts(&demo.caller.token), "{}", node.id);
    }
    let admin = cloud.admin().await;
    let path = format!("/v3/users/{}", demo.id);
    admin.patch(&path, json!({"user": {"password": "other"}})).await;
    for node in &cloud.nodes {
        assert!(!node.accepts(&demo.caller.token), "{} refuses after the change", node.id);
    }
    let after = cloud.token(password("demo", "other", in_project("demo"))).await;
    for node in &cloud.nodes {
        assert!(node.accepts(&after), "{} whatever its clock says", node.id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_can_know_every_token_before_it_runs() {
    let cloud = Cloud::of(&[true]).await;
    let demo = cloud.user("demo", "member").await;
    let verifier = Arc::new(Verifier::new());
    let context = Context { verifier: verifier.clone(), ..cloud.nodes[0].context.clone() };
    let now = context.env.wall();
    Identity::new(context, Config::default()).publish().await;
    let verdict = verifier.verify(&demo.caller.token, now, Duration::ZERO);
    assert!(verdict.is_ok(), "{verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_node_whose_clock_is_ahead_does_not_outlive_its_revocation() {
    let cloud = Cloud::of(&[true, true, true]).await;
    let demo = cloud.user("demo", "member").await;
    let ahead = cloud.nodes[2].token(password("demo", "demo", in_project("demo"))).await;
    let admin = cloud.admin().await;
    let path = format!("/v3/users/{}", demo.id);
    admin.patch(&path, json!({"user": {"password": "other"}})).await;
    for node in &cloud.nodes {
        assert!(!node.accepts(&ahead), "{}", node.id);
    }
    let asked_at = cloud.env.now();
    let after = cloud.token(password("demo", "other", in_project("demo"))).await;
    let waited = cloud.env.now() - asked_at;
    assert!(waited < Duration::from_secs(4), "the lead of two seconds and one: {waited:?}");
    for node in &cloud.nodes {
        assert!(node.accepts(&after), "{}", node.id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_told_delays_the_answer_within_bounds_and_hears_of_it_later() {
    let cloud = Cloud::of(&[true, false, true]).await;
    let demo = cloud.user("demo", "member").await;
    let token = demo.caller.token.clone();
    cloud.cut_off(Some(cloud.nodes[1].id.clone()));
    let started = cloud.env.now();
    let deleted = demo.caller.about("DELETE", "/v3/auth/tokens", &token).await;
    let took = cloud.env.now() - started;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert!(took >= ACKNOWLEDGED_WITHIN, "it waited for the node: {took:?}");
    assert!(took < ACKNOWLEDGED_WITHIN + Duration::from_millis(100), "{took:?}");
    assert!(!cloud.nodes[0].accepts(&token) && !cloud.nodes[2].accepts(&token));
    assert!(cloud.nodes[1].accepts(&token), "it has not heard of it");
    cloud.cut_off(None);
    cloud.pass(POLL + Duration::from_millis(200)).await;
    assert!(!cloud.nodes[1].accepts(&token), "it asks by itself");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_taken_for_dead_is_not_waited_for() {
    let cloud = Cloud::of(&[true, false]).await;
    let demo = cloud.user("demo", "member").await;
    cloud.cut_off(Some(cloud.nodes[1].id.clone()));
    cloud.pass(Duration::from_secs(5)).await;
    let started = cloud.env.now();
    demo.caller.about("DELETE", "/v3/auth/tokens", &demo.caller.token).await;
    let took = cloud.env.now() - started;
    assert!(took < Duration::from_millis(50), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_user_made_on_one_node_gets_in_on_another() {
    let cloud = Cloud::of(&[true, true, true]).await;
    for n in 0..30 {
        let (here, there) = (&cloud.nodes[n % 3], &cloud.nodes[(n + 1) % 3]);
        let token = here.token(password("admin", PASSWORD, in_project("admin"))).await;
        let admin = Caller { node: here, token };
        let name = format!("user{n}");
        let user = json!({"user": {"name": name, "password": "p"}});
        admin.made("/v3/users", user).await;
        there.token(password(&name, "p", Value::Null)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_given_once_however_many_ask_for_it_together() {
    let cloud = Cloud::of(&[true, true, true]).await;
    let mut asked = Vec::new();
    for n in 0..30 {
        let node = &cloud.nodes[n % 3];
        let token = node.token(password("admin", PASSWORD, in_project("admin"))).await;
        asked.push(async move {
            let admin = Caller { node, token };
            admin.post("/v3/projects", json!({"project": {"name": "wanted"}})).await.status
        });
    }
    let answers = futures_util::future::join_all(asked).await;
    let made = answers.iter().filter(|status| **status == StatusCode::CREATED).count();
    let refused = answers.iter().filter(|status| **status == StatusCode::CONFLICT).count();
    assert_eq!((made, refused), (1, 29));
}

/// A user as it is stored, so that a test need not make thousands through the API.
fn stored_user(n: usize) -> (String, Value) {
    let id = format!("{n:032x}");
    let row = json!({
        "id": id, "name": format!("user {n} {}", "x".repeat(200)), "domain_id": "default",
        "enabled": true, "default_project_id": null, "password_hash": null, "options": {},
        "revoked_before": null, "extra": {},
    });
    (format!("identity/user/{id}"), row)
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_any_size_reaches_a_node_without_identity() {
    let rows = (0..6_000).map(stored_user).collect();
    let settings = Settings { nodes: vec![true, false], rows, ..Settings::default() };
    let cloud = Cloud::with(settings).await;
    cloud.pass(Duration::from_secs(2)).await;
    let (first, second) = (cloud.nodes[0].verifier.snapshot(), cloud.nodes[1].verifier.snapshot());
    assert_eq!(second.users.len(), 6_005);
    assert_eq!(first, second);
}

struct Broken(CommitFate, std::sync::atomic::AtomicBool);

impl StoreFaults for Broken {
    fn on_begin(&self) -> BeginFate {
        BeginFate::Proceed
    }

    fn on_commit(&self, _: &[Arc<str>]) -> CommitFate {
        match self.1.load(std::sync::atomic::Ordering::Relaxed) {
            true => self.0,
            false => CommitFate::Proceed,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_or_may_have_failed_is_never_called_done() {
    let table = [
        (CommitFate::Unavailable, false),
        (CommitFate::Conflict, false),
        (CommitFate::UnknownNotApplied, false),
        (CommitFate::UnknownApplied, true),
    ];
    for (fate, applied) in table {
        let faults = Arc::new(Broken(fate, false.into()));
        let settings = Settings { store_faults: Some(faults.clone()), ..Settings::default() };
        let cloud = Cloud::with(settings).await;
        let admin = cloud.admin().await;
        faults.1.store(true, std::sync::atomic::Ordering::Relaxed);
        let answer = admin.post("/v3/projects", json!({"project": {"name": "p"}})).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{fate:?}: {}", answer.text);
        faults.1.store(false, std::sync::atomic::Ordering::Relaxed);
        let found = admin.names("/v3/projects?name=p").await.len();
        assert_eq!(found, usize::from(applied), "{fate:?}");
    }
}
