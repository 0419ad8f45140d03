//! The users of the services themselves.

use axum::http::StatusCode;

use crate::support::{Answer, Cloud, in_project, password};

const USERS: [&str; 4] = ["nova", "glance", "neutron", "cinder"];

async fn log_in(cloud: &Cloud, user: &str) -> Answer {
    log_in_with(cloud, user, "secret").await
}

async fn log_in_with(cloud: &Cloud, user: &str, secret: &str) -> Answer {
    cloud.nodes[0].authenticate(password(user, secret, in_project("service"))).await
}

#[tokio::test(start_paused = true)]
async fn services_log_in_with_the_password_that_the_cloud_has_for_them_and_only_then() {
    let cloud = Cloud::new().await;
    for user in USERS {
        assert_eq!(log_in(&cloud, user).await.status, StatusCode::UNAUTHORIZED, "{user}");
    }
    cloud.give_services_a_password("secret").await;
    for user in USERS {
        let answer = log_in(&cloud, user).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{user}: {}", answer.text);
        let token = &answer.json()["token"];
        assert_eq!(token["user"]["name"], user);
        assert_eq!(token["roles"][0]["name"], "service");
    }
    let version = cloud.nodes[0].verifier.snapshot().version;
    cloud.give_services_a_password("secret").await;
    assert_eq!(cloud.nodes[0].verifier.snapshot().version, version, "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn another_password_of_the_services_takes_the_place_of_the_former_and_ends_its_tokens() {
    let cloud = Cloud::new().await;
    cloud.give_services_a_password("secret").await;
    let tokens = password("nova", "secret", in_project("service"));
    let token = cloud.token(tokens).await;
    cloud.give_services_a_password("another").await;
    for user in USERS {
        assert_eq!(log_in(&cloud, user).await.status, StatusCode::UNAUTHORIZED, "{user}");
        assert_eq!(
            log_in_with(&cloud, user, "another").await.status,
            StatusCode::CREATED,
            "{user}"
        );
    }
    assert!(!cloud.nodes[0].accepts(&token), "it was had for the former");
}
