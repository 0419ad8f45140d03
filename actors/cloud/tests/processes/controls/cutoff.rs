//! A control node that has lost the database answers what it can, refuses the rest in words, and is in nobody's way.

use serde_json::{Value, json};

use super::{Cluster, Machine, hosts_up, is_up, joined, log_in, status_with};

/// More servers than are acted for by two of three control nodes with any likelihood.
const SERVERS: usize = 12;

/// The answer to a request with this token, which is the subject of it, too.
fn answer(machine: &Machine, request: &str, token: &str, body: &Value) -> String {
    let headers = [("x-auth-token", token), ("x-subject-token", token)];
    machine.raw(request, &headers, &body.to_string()).unwrap()
}

fn refuses(machine: &Machine, request: &str, token: &str, body: &Value) {
    let said = answer(machine, request, token, body);
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("database"), "{request}: {said}");
}

/// What a balancer is told, which has no token.
fn health(machine: &Machine) -> String {
    let answer = machine.raw("GET /updraft/v1/health", &[], "").unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_node_without_its_database_answers_what_it_can_and_refuses_the_rest() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, two, three] = &cluster.controls[..] else { panic!("there are three") };
    // It joins by the one that is cut off.
    let host = joined(three, "rack-7");
    cluster.hosts_up(&["compute-1", "rack-7"]).await;
    let client = one.client().await;
    client.lift_quota().await;
    let made = client.furnish().await;
    let token = log_in(three);
    cluster.shared.cut("control-3").await;
    let silent = async || status_with(three, &token) == "503";
    three.until("it has no database", silent).await;

    for request in ["GET /identity/v3", "GET /identity/v3/auth/tokens", "GET /compute/v2.1/"] {
        let said = answer(three, request, &token, &Value::Null);
        assert!(said.starts_with("HTTP/1.1 200"), "{request}: {said}");
    }
    assert_eq!([health(one), health(two), health(three)], ["200", "200", "503"]);
    refuses(three, "GET /compute/v2.1/servers", &token, &Value::Null);
    refuses(three, "GET /image/v2/images", &token, &Value::Null);
    let server = json!({"server": {"name": "s", "flavorRef": "f", "imageRef": made.image,
        "networks": [{"uuid": made.network}]}});
    refuses(three, "POST /compute/v2.1/servers", &token, &server);

    // A third of the rows would be its own to act for.
    let clients = [&client, &two.client().await];
    for number in 0..SERVERS {
        clients[number % 2].create(&made, &format!("s{number}")).await.unwrap();
    }
    client.all_run(one).await;
    hosts_up(two, &["compute-1", "rack-7"]).await;
    let headers = [("x-auth-token", &*token), ("x-subject-token", &*token)];
    let revoked = one.raw("DELETE /identity/v3/auth/tokens", &headers, "").unwrap();
    assert!(revoked.starts_with("HTTP/1.1 204"), "{revoked}");
    let refused = async || status_with(three, &token) == "401";
    three.until("it has heard that the token is revoked", refused).await;

    cluster.shared.mend("control-3");
    three.until("it is well again", async || health(three) == "200").await;
    let back = async || is_up(&three.run(&["status"]).out, "control-3");
    three.until("it serves again", back).await;
    assert_eq!(three.client().await.servers().await.len(), SERVERS);
    drop(host);
}
