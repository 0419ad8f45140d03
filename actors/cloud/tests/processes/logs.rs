//! The request id that an answer carries finds every line about the request, in the logs of every process; and metrics
//! tell of every node.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::cloud::{Machine, run};

/// The words of the lines that are marked with this request.
fn lines_of<'a>(log: &'a str, request: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(&format!("request_id={request}"))).collect()
}

#[tokio::test]
async fn metrics_of_all_nodes_are_shown_where_the_setting_says() {
    let machine = Machine::new();
    let mut up = machine.up_command();
    up.args(["--metrics-listen", "127.0.0.1:0"]);
    assert_eq!(run(up).code, Some(0));
    let address = machine.data().read("run/metrics-address").unwrap().unwrap();
    let scrape = async || {
        let mut stream = TcpStream::connect(address.as_str()).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nhost: metrics\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    let both = async || {
        let text = scrape().await;
        ["control-1", "compute-1"]
            .iter()
            .all(|node| text.contains(&format!("updraft_connections{{node=\"{node}\"}} 1")))
    };
    machine.until("both nodes are in the metrics", both).await;
    let said = machine.run(&["top", "--once"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("compute-1") && said.out.contains("directory/beat"), "{}", said.out);
}

#[tokio::test]
async fn a_request_is_found_in_the_logs_of_the_control_node_and_of_the_host() {
    let control = Machine::new();
    assert_eq!(control.up().code, Some(0));
    let token = control.run(&["invite"]).out;
    let host = Machine::new();
    assert_eq!(host.join(&token, "rack-7").code, Some(0));
    let client = control.client().await;
    let made = client.furnish().await;
    let up = async || client.hypervisors().await.contains(&("rack-7".into(), "up".into()));
    control.until("the host is up", up).await;
    let mut requests = Vec::new();
    for name in ["s1", "s2", "s3", "s4"] {
        let server = json!({"server": {"name": name, "flavorRef": "f", "imageRef": made.image,
            "networks": [{"uuid": made.network}]}});
        let answer = client.ask("POST", "/compute/v2.1/servers", server).await;
        let header = answer.headers.get("x-openstack-request-id").unwrap();
        requests.push((name, header.to_str().unwrap().to_owned()));
    }
    client.all_run(&control).await;
    let servers = client.servers().await;
    let there = servers.iter().find(|server| server.host == "rack-7").unwrap();
    let (_, request) = requests.iter().find(|(name, _)| *name == there.name).unwrap();

    let (at_control, at_host) = (control.logs(), host.logs());
    let at_control = lines_of(&at_control, request);
    for words in ["POST", "accepted", "placed", "answered"] {
        assert!(at_control.iter().any(|line| line.contains(words)), "{words}: {at_control:#?}");
    }
    let at_host = lines_of(&at_host, request);
    for words in ["hypervisor/define", "hypervisor/start"] {
        assert!(at_host.iter().any(|line| line.contains(words)), "{words}: {at_host:#?}");
    }
}
