//! Quotas.

use serde_json::json;

use crate::support::{Cloud, DEMO, OTHER, Who};

async fn limit(cloud: &Cloud, limits: serde_json::Value) {
    let path = format!("/quotas/{DEMO}");
    cloud.put(Who::Admin, &path, json!({ "quota": limits })).await.is(200);
}

#[tokio::test(start_paused = true)]
async fn what_is_used_up_is_refused_by_name() {
    let cloud = Cloud::new().await;
    limit(&cloud, json!({"network": 1, "subnet": 1, "port": 2, "router": 0, "security_group": 1}))
        .await;
    let net = cloud.net("10.0.0.0/24").await;
    let cases = [
        ("/networks", json!({"network": {"name": "b"}}), "network"),
        (
            "/subnets",
            json!({"subnet": {"network_id": net.network, "ip_version": 4, "cidr": "10.1.0.0/24"}}),
            "subnet",
        ),
        (
            "/ports",
            json!({"ports": [{"network_id": net.network}, {"network_id": net.network}]}),
            "port",
        ),
        ("/routers", json!({"router": {"name": "r"}}), "router"),
        ("/security-groups", json!({"security_group": {"name": "g"}}), "security_group"),
    ];
    for (path, body, resource) in cases {
        let refused = cloud.post(Who::Member, path, body).await;
        let words = format!("Quota exceeded for resources: ['{resource}'].");
        refused.refuses(409, "OverQuota", &words);
    }
}

#[tokio::test(start_paused = true)]
async fn a_negative_limit_is_none() {
    let cloud = Cloud::new().await;
    limit(&cloud, json!({"network": -1})).await;
    cloud.make(Who::Member, "network", json!({"name": "n"})).await;
}

#[tokio::test(start_paused = true)]
async fn details_say_what_is_used() {
    let cloud = Cloud::new().await;
    cloud.net("10.0.0.0/24").await;
    for path in ["details", "details.json"] {
        let quota = cloud.get(Who::Member, &format!("/quotas/{DEMO}/{path}")).await.is(200).json();
        assert_eq!(quota["quota"]["network"], json!({"limit": 100, "used": 1, "reserved": 0}));
        assert_eq!(quota["quota"]["port"]["used"], json!(1), "the agents' port counts");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_are_set_listed_and_reset_by_administrators() {
    let cloud = Cloud::new().await;
    let path = format!("/quotas/{DEMO}");
    let body = json!({"quota": {"network": 7}});
    let refused = cloud.put(Who::Member, &path, body.clone()).await;
    refused.refuses(403, "PolicyNotAuthorized", "rule:update_quota is disallowed by policy");
    let set = cloud.put(Who::Admin, &path, body).await.is(200).json();
    assert_eq!(set["quota"]["network"], json!(7));
    let listed = cloud.get(Who::Admin, "/quotas").await.list("quotas");
    assert_eq!((listed.len(), &listed[0]["project_id"]), (1, &json!(DEMO)));
    let default = cloud.get(Who::Admin, &format!("{path}/default")).await.json();
    assert_eq!(default["quota"]["network"], json!(100));
    cloud.delete(Who::Admin, &path).await.is(204);
    cloud.delete(Who::Admin, &path).await.refuses(
        404,
        "TenantQuotaNotFound",
        "could not be found.",
    );
    let refused = cloud.get(Who::Member, &format!("/quotas/{OTHER}")).await;
    refused.refuses(403, "PolicyNotAuthorized", "rule:get_quota is disallowed by policy");
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_named() {
    let cloud = Cloud::new().await;
    let path = format!("/quotas/{DEMO}");
    cloud.make(Who::Member, "network", json!({"name": "n"})).await;
    let cases = [
        (
            json!({"quota": {"nonsense": 7}}),
            "HTTPBadRequest",
            "Unrecognized attribute(s) 'nonsense'",
        ),
        (
            json!({"quota": {"network": -2}}),
            "HTTPBadRequest",
            "'-2' is too small - must be at least '-1'",
        ),
        (json!({"quota": {"network": "x"}}), "InvalidInput", "'x' is not an integer"),
        (
            json!({"quota": {"network": 0}}),
            "HTTPBadRequest",
            "Quota limit 0 for network must be greater than or equal to already used 1",
        ),
        (json!({}), "HTTPBadRequest", "Unable to find 'quota' in request body"),
    ];
    for (body, kind, words) in cases {
        cloud.put(Who::Admin, &path, body).await.refuses(400, kind, words);
    }
    let forced = json!({"quota": {"network": 0, "force": true}});
    cloud.put(Who::Admin, &path, forced).await.is(200);
}
