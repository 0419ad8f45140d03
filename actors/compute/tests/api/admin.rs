//! What administrators see and do: hosts, services, zones, and flavors' details.

use serde_json::{Value, json};

use crate::{
    cloud::Cloud,
    identity::{
        DEMO, OTHER,
        Who::{Admin, Member, Other},
    },
};

#[tokio::test(start_paused = true)]
async fn a_host_is_a_hypervisor() {
    let cloud = Cloud::running().await;
    cloud.active_server(Member, "web").await;
    let answer = cloud.send_at("2.88", Admin, "GET /os-hypervisors/detail", ()).await;
    let host = answer.is(200).json()["hypervisors"][0].clone();
    assert_eq!(
        host,
        json!({
            "id": host["id"], "hypervisor_hostname": "host-1", "state": "up", "status": "enabled",
            "host_ip": "127.0.0.1", "hypervisor_type": "simulated",
            "hypervisor_version": 1_000_000, "uptime": null,
            "service": {"id": host["service"]["id"], "host": "host-1", "disabled_reason": null},
        })
    );
    let id = host["id"].as_str().expect("an id");
    let one = cloud.get(Admin, &format!("/os-hypervisors/{id}")).await;
    assert_eq!(one["hypervisor"]["hypervisor_hostname"], "host-1");
    let old = cloud.send_at("2.1", Admin, "GET /os-hypervisors/detail", ()).await;
    let old = old.is(200).json()["hypervisors"][0].clone();
    assert!(old["id"].is_u64());
    assert_eq!(old["memory_mb_used"], 512);
    assert_eq!(old["running_vms"], 1);
    let sums = cloud.send_at("2.87", Admin, "GET /os-hypervisors/statistics", ()).await;
    assert_eq!(sums.is(200).json()["hypervisor_statistics"]["vcpus"], 16);
    let gone = cloud.send_at("2.88", Admin, "GET /os-hypervisors/statistics", ()).await;
    gone.is_error(404, "The resource could not be found.");
    let denied = cloud.send(Member, "GET /os-hypervisors", ()).await;
    let words = "Policy doesn't allow os_compute_api:os-hypervisors:list to be performed.";
    denied.is_error(403, words);
}

#[tokio::test(start_paused = true)]
async fn a_host_is_taken_out_and_taken_in() {
    let cloud = Cloud::running().await;
    let listed = cloud.send_at("2.69", Admin, "GET /os-services", ()).await;
    let services = listed.is(200).json()["services"].as_array().expect("a list").clone();
    let binaries: Vec<&Value> = services.iter().map(|service| &service["binary"]).collect();
    assert_eq!(binaries, ["nova-conductor", "nova-scheduler", "nova-compute"]);
    let id = services[2]["id"].as_str().expect("an id");
    let path = format!("PUT /os-services/{id}");
    let body = json!({"status": "disabled", "disabled_reason": "dust"});
    let disabled = cloud.send_at("2.69", Admin, &path, body).await;
    assert_eq!(disabled.is(200).json()["service"]["disabled_reason"], "dust");
    let server = cloud.server(Member, "web").await;
    cloud.until_status(&server, "ERROR").await;
    let shown = cloud.get(Member, &format!("/servers/{server}")).await;
    assert_eq!(
        shown["server"]["fault"]["message"],
        "No valid host was found. ComputeFilter: the host is disabled: dust (1 host: host-1)"
    );
    cloud.send_at("2.69", Admin, &path, json!({"status": "enabled"})).await.is(200);
    cloud.active_server(Member, "web2").await;
    let other = services[0]["id"].as_str().expect("an id");
    let path = format!("PUT /os-services/{other}");
    let refused = cloud.send_at("2.69", Admin, &path, json!({"status": "enabled"})).await;
    refused.is_error(
        400,
        "Updating a nova-conductor service is not supported. Only nova-compute services can be updated.",
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_client_names_a_service_by_host_and_program() {
    let cloud = Cloud::running().await;
    let body = json!({"host": "host-1", "binary": "nova-compute", "disabled_reason": "dust"});
    let answer = cloud.send_at("2.1", Admin, "PUT /os-services/disable-log-reason", body).await;
    assert_eq!(
        answer.is(200).json()["service"],
        json!({
            "host": "host-1", "binary": "nova-compute", "status": "disabled",
            "disabled_reason": "dust",
        })
    );
}

#[tokio::test(start_paused = true)]
async fn zones_are_shown_with_and_without_their_hosts() {
    let cloud = Cloud::running().await;
    assert_eq!(
        cloud.get(Member, "/os-availability-zone").await,
        json!({"availabilityZoneInfo": [
            {"zoneName": "nova", "zoneState": {"available": true}, "hosts": null},
        ]})
    );
    let detail = cloud.get(Admin, "/os-availability-zone/detail").await;
    let zones = detail["availabilityZoneInfo"].as_array().expect("a list");
    assert_eq!(zones[0]["zoneName"], "internal");
    assert_eq!(zones[1]["hosts"]["host-1"]["nova-compute"]["available"], true);
}

#[tokio::test(start_paused = true)]
async fn a_flavor_has_extra_specs_and_projects_that_may_use_it() {
    let cloud = Cloud::still().await;
    let body = json!({"flavor": {
        "name": "own", "id": "own", "ram": 64, "disk": 1, "vcpus": 1,
        "os-flavor-access:is_public": false,
    }});
    cloud.send(Admin, "POST /flavors", body).await.is(200);
    let missing = cloud.send(Other, "GET /flavors/own", ()).await;
    missing.is_error(404, "Flavor own could not be found.");
    let add = json!({"addTenantAccess": {"tenant": OTHER}});
    let added = cloud.send(Admin, "POST /flavors/own/action", add.clone()).await;
    let list = json!({"flavor_access": [{"flavor_id": "own", "tenant_id": OTHER}]});
    assert_eq!(added.is(200).json(), list);
    cloud.send(Other, "GET /flavors/own", ()).await.is(200);
    cloud.send(Admin, "POST /flavors/own/action", add).await.is_error(
        409,
        &format!("Flavor access already exists for flavor own and project {OTHER} combination."),
    );
    let remove = json!({"removeTenantAccess": {"tenant": DEMO}});
    cloud
        .send(Admin, "POST /flavors/own/action", remove)
        .await
        .is_error(404, &format!("Flavor access not found for own / {DEMO} combination."));
    let specs = json!({"extra_specs": {"hw:cpu": "1", "n": 2}});
    let set = cloud.send(Admin, "POST /flavors/own/os-extra_specs", specs).await;
    assert_eq!(set.is(200).json(), json!({"extra_specs": {"hw:cpu": "1", "n": "2"}}));
    let one = cloud.get(Other, "/flavors/own/os-extra_specs/hw:cpu").await;
    assert_eq!(one, json!({"hw:cpu": "1"}));
    cloud.send(Admin, "DELETE /flavors/own/os-extra_specs/n", ()).await.is(200);
    let gone = cloud.send(Other, "GET /flavors/own/os-extra_specs/n", ()).await;
    gone.is_error(404, "Flavor own has no extra specs with key n.");
}

#[tokio::test(start_paused = true)]
async fn there_are_no_aggregates_and_some_extensions() {
    let cloud = Cloud::still().await;
    assert_eq!(cloud.get(Admin, "/os-aggregates").await, json!({"aggregates": []}));
    let extension = cloud.get(Member, "/extensions/os-keypairs").await;
    assert_eq!(extension["extension"]["name"], "Keypairs");
    let missing = cloud.send(Member, "GET /extensions/none", ()).await;
    missing.is_error(404, "Extension none could not be found.");
}
