//! Flavors.

use serde_json::json;

use crate::{
    cloud::Cloud,
    identity::Who::{Admin, Member},
};

#[tokio::test(start_paused = true)]
async fn a_new_cloud_has_flavors_and_makes_none_twice() {
    let cloud = Cloud::still().await;
    cloud.compute.bootstrap().await.expect("again");
    let listed = cloud.get(Member, "/flavors/detail").await;
    let names: Vec<_> =
        listed["flavors"].as_array().expect("a list").iter().map(|f| &f["name"]).collect();
    assert_eq!(names, ["m1.tiny", "m1.small", "m1.medium", "m1.large", "m1.xlarge"]);
}

#[tokio::test(start_paused = true)]
async fn a_flavor_is_made_as_the_command_line_asks_for_it() {
    let cloud = Cloud::still().await;
    let body = json!({"flavor": {
        "name": "m1.nano", "ram": 64, "swap": 0, "OS-FLV-EXT-DATA:ephemeral": 0, "disk": 1,
        "vcpus": 1, "os-flavor-access:is_public": true, "id": null,
    }});
    let answer = cloud.send_at("2.61", Admin, "POST /flavors", body).await;
    let made = answer.is(200).json()["flavor"].clone();
    let id = made["id"].as_str().expect("an id");
    assert_eq!(
        made,
        json!({
            "id": id, "name": "m1.nano", "ram": 64, "disk": 1, "swap": "", "vcpus": 1,
            "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": false,
            "os-flavor-access:is_public": true, "rxtx_factor": 1.0, "description": null,
            "extra_specs": {},
            "links": [
                {"rel": "self", "href": format!("http://cloud/v2.1/flavors/{id}")},
                {"rel": "bookmark", "href": format!("http://cloud/flavors/{id}")},
            ],
        })
    );
    cloud.send(Admin, &format!("DELETE /flavors/{id}"), ()).await.is(202);
    let gone = cloud.send(Admin, &format!("GET /flavors/{id}"), ()).await;
    gone.is_error(404, &format!("Flavor {id} could not be found."));
}

#[tokio::test(start_paused = true)]
async fn a_flavor_is_refused_in_novas_words() {
    let cloud = Cloud::still().await;
    let body = |name: &str, id: &str, ram| json!({"flavor": {"name": name, "id": id, "ram": ram, "disk": 1, "vcpus": 1}});
    let taken = cloud.send(Admin, "POST /flavors", body("m1.tiny", "9", json!(1))).await;
    taken.is_error(409, "Flavor with name m1.tiny already exists.");
    let taken = cloud.send(Admin, "POST /flavors", body("new", "1", json!(1))).await;
    taken.is_error(409, "Flavor with ID 1 already exists.");
    let wrong = cloud.send(Admin, "POST /flavors", body("new", "9", json!("much"))).await;
    let words =
        "Invalid input for field/attribute flavor.ram. Value: \"much\". 'much' is not an integer";
    wrong.is_error(400, words);
    for id in [" 9", "a/b", "", &"9".repeat(256)] {
        let wrong = cloud.send(Admin, "POST /flavors", body("new", id, json!(1))).await;
        assert_eq!(wrong.status, 400, "{id:?} would stand in addresses: {}", wrong.text);
    }
    let denied = cloud.send(Member, "POST /flavors", body("new", "9", json!(1))).await;
    let words = "Policy doesn't allow os_compute_api:os-flavor-manage:create to be performed.";
    denied.is_error(403, words);
}
