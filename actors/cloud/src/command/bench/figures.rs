//! What is measured.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use crate::{command::Failure, say::say};

/// How long each rate is measured.
const RATE_FOR: Duration = Duration::from_secs(3);

/// Connections that ask at once for a rate.
const CONNECTIONS: usize = 8;

/// Servers built one after the other.
const SERVERS: usize = 40;

/// Servers asked for at once.
const BURST: usize = 200;

/// Servers in the list.
const LISTED: usize = 1_000;

/// How often a listing is repeated.
const LISTINGS: usize = 20;

/// How often a server that is being built is looked at.
const POLL: Duration = Duration::from_millis(1);

/// How long a build may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn heading() -> String {
    format!(
        "{:<52} {:>12} {:<5} {:>12} {:>9} {:>9}",
        "figure", "here", "", "OpenStack", "ratio", "x floor"
    )
}

/// One line; the ratio says how many times better than OpenStack's figure ours is.
pub(super) fn print(
    name: &str,
    value: f64,
    unit: &str,
    openstack: Option<f64>,
    floor: Option<f64>,
) -> Result<(), Failure> {
    let more_is_better = unit.ends_with("/s");
    let ratio =
        openstack.map(|theirs| if more_is_better { value / theirs } else { theirs / value });
    let text = |figure: Option<f64>| figure.map(|f| format!("{f:.2}")).unwrap_or_default();
    let times = floor.map(|floor| value / floor);
    say(format!(
        "{name:<52} {value:>12.2} {unit:<5} {:>12} {:>9} {:>9}",
        text(openstack),
        text(ratio),
        text(times)
    ))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The value below which this share of the samples lies.
fn percentile(samples: &mut [Duration], percent: usize) -> f64 {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    samples.get((samples.len() * percent / 100).min(last)).map_or(f64::NAN, |value| millis(*value))
}

async fn timed(client: &mut Client, path: &str, times: usize) -> Result<Vec<Duration>, Failure> {
    let mut samples = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = client.env.now();
        client.fetch(path).await?;
        samples.push(client.env.now() - begun);
    }
    Ok(samples)
}

/// The cheapest request: a version document. In milliseconds.
pub(super) async fn floor(client: &mut Client) -> Result<f64, Failure> {
    let mut samples = timed(client, "/compute/v2.1", 500).await?;
    let floor = percentile(&mut samples, 50);
    print("floor: a version document, p50", floor, "ms", None, Some(floor))?;
    Ok(floor)
}

pub(super) async fn tokens(client: &mut Client, floor: f64) -> Result<(), Failure> {
    let begun = client.env.now();
    let mut made = 0u32;
    while client.env.now() - begun < RATE_FOR {
        client.authenticate().await?;
        made += 1;
    }
    let rate = f64::from(made) / (client.env.now() - begun).as_secs_f64();
    print("tokens created for a password, 1 connection", rate, "/s", Some(3.4), None)?;
    let mut samples = timed(client, "/identity/v3/auth/tokens?nocatalog", 500).await?;
    let p50 = percentile(&mut samples, 50);
    print("token validated, p50", p50, "ms", Some(5.6), Some(floor))?;
    let rate = validations(client).await?;
    print("tokens validated, 8 connections", rate, "/s", Some(317.0), None)?;
    Ok(())
}

async fn validations(client: &Client) -> Result<f64, Failure> {
    let begun = client.env.now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut other = client.another().await?;
        tasks.spawn(async move {
            let mut done = 0u32;
            while other.env.now() - begun < RATE_FOR {
                other.fetch("/identity/v3/auth/tokens?nocatalog").await?;
                done += 1;
            }
            Ok::<u32, Failure>(done)
        });
    }
    let mut done = 0;
    while let Some(result) = tasks.join_next().await {
        done += result??;
    }
    Ok(f64::from(done) / (client.env.now() - begun).as_secs_f64())
}

/// What a server is made of: image, flavor and, for a port, a network.
async fn ingredients(client: &mut Client) -> Result<(String, String, String), Failure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let body = json!({"name": "bench", "disk_format": "raw", "container_format": "bare"});
    let image = text(&client.must("POST", "/image/v2/images", body).await?["id"]);
    client.upload(&format!("/image/v2/images/{image}/file"), "not much of a disk").await?;
    let body = json!({"flavor": {"name": "bench", "ram": 64, "vcpus": 1, "disk": 1}});
    let made = client.must("POST", "/compute/v2.1/flavors", body).await?;
    let flavor = text(&made["flavor"]["id"]);
    let body = json!({"network": {"name": "bench"}});
    let made = client.must("POST", "/networking/v2.0/networks", body).await?;
    let network = text(&made["network"]["id"]);
    let body = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/16"}});
    client.must("POST", "/networking/v2.0/subnets", body).await?;
    lift_quotas(client).await?;
    Ok((image, flavor, network))
}

async fn lift_quotas(client: &mut Client) -> Result<(), Failure> {
    let token = client.must("GET", "/identity/v3/auth/tokens?nocatalog", Value::Null).await?;
    let project = token["token"]["project"]["id"].as_str().unwrap_or_default().to_owned();
    let path = format!("/compute/v2.1/os-quota-sets/{project}");
    let body = json!({"quota_set": {"instances": -1, "cores": -1, "ram": -1}});
    client.must("PUT", &path, body).await?;
    let path = format!("/networking/v2.0/quotas/{project}");
    client.must("PUT", &path, json!({"quota": {"port": -1}})).await?;
    Ok(())
}

pub(super) async fn servers(client: &mut Client, floor: f64) -> Result<(), Failure> {
    let (image, flavor, network) = ingredients(client).await?;
    let cases = [
        ("without a port", json!("none"), 900.0),
        ("with a port", json!([{"uuid": network}]), 1_650.0),
    ];
    for (name, networks, openstack) in cases {
        let body = json!({"server": {"name": "bench", "imageRef": image, "flavorRef": flavor,
            "networks": networks}});
        let mut samples = Vec::new();
        for _ in 0..SERVERS {
            samples.push(build(client, &body).await?);
        }
        let p50 = percentile(&mut samples, 50);
        print(&format!("POST to ACTIVE {name}, p50"), p50, "ms", Some(openstack), Some(floor))?;
        let p99 = percentile(&mut samples, 99);
        print(&format!("POST to ACTIVE {name}, p99"), p99, "ms", None, Some(floor))?;
    }
    Ok(())
}

/// Builds a server, waits until it is ACTIVE, and removes it.
async fn build(client: &mut Client, body: &Value) -> Result<Duration, Failure> {
    let begun = client.env.now();
    let made = client.must("POST", "/compute/v2.1/servers", body.clone()).await?;
    let id = made["server"]["id"].as_str().unwrap_or_default().to_owned();
    let path = format!("/compute/v2.1/servers/{id}");
    loop {
        let shown = client.must("GET", &path, Value::Null).await?;
        let took = client.env.now() - begun;
        match shown["server"]["status"].as_str() {
            Some("ACTIVE") => {
                client.must("DELETE", &path, Value::Null).await?;
                return Ok(took);
            }
            Some("BUILD") if took < PATIENCE => client.env.sleep(POLL).await,
            other => return Err(format!("the server became {other:?}: {shown}").into()),
        }
    }
}

async fn count(client: &mut Client, status: &str) -> Result<usize, Failure> {
    let path = format!("/compute/v2.1/servers?status={status}&limit=1000");
    let shown = client.must("GET", &path, Value::Null).await?;
    Ok(shown["servers"].as_array().map_or(0, Vec::len))
}

/// Deleted servers are gone a moment later; until then they would be counted with the new ones.
async fn until_none(client: &mut Client) -> Result<(), Failure> {
    let begun = client.env.now();
    loop {
        let shown = client.must("GET", "/compute/v2.1/servers?limit=1", Value::Null).await?;
        if shown["servers"].as_array().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        if client.env.now() - begun > PATIENCE {
            return Err(format!("a deleted server was not gone within {PATIENCE:?}").into());
        }
        client.env.sleep(POLL * 20).await;
    }
}

/// Asks for many servers in one request and waits for all of them.
async fn ask_for(client: &mut Client, number: usize) -> Result<Duration, Failure> {
    let before = count(client, "ACTIVE").await?;
    let images = client.must("GET", "/image/v2/images?name=bench", Value::Null).await?;
    let flavors = client.must("GET", "/compute/v2.1/flavors", Value::Null).await?;
    let all = flavors["flavors"].as_array().cloned().unwrap_or_default();
    let flavor = all.iter().find(|flavor| flavor["name"] == "bench").cloned();
    let body = json!({"server": {"name": "burst", "imageRef": images["images"][0]["id"],
        "flavorRef": flavor.unwrap_or_default()["id"], "networks": "none",
        "min_count": number, "max_count": number}});
    let begun = client.env.now();
    client.must("POST", "/compute/v2.1/servers", body).await?;
    while count(client, "ACTIVE").await? < before + number {
        if client.env.now() - begun > PATIENCE {
            return Err(format!("{number} servers were not built within {PATIENCE:?}").into());
        }
        client.env.sleep(POLL * 20).await;
    }
    Ok(client.env.now() - begun)
}

pub(super) async fn burst(client: &mut Client) -> Result<(), Failure> {
    until_none(client).await?;
    let took = ask_for(client, BURST).await?;
    let rate = f64::from(u32::try_from(BURST)?) / took.as_secs_f64();
    print("servers built when 200 are asked for at once", rate, "/s", Some(1.16), None)?;
    Ok(())
}

pub(super) async fn listing(client: &mut Client, floor: f64) -> Result<(), Failure> {
    let mut there = count(client, "ACTIVE").await?;
    while there < LISTED {
        ask_for(client, BURST.min(LISTED - there)).await?;
        there = count(client, "ACTIVE").await?;
    }
    let path = format!("/compute/v2.1/servers/detail?limit={LISTED}");
    let mut samples = timed(client, &path, LISTINGS).await?;
    let p50 = percentile(&mut samples, 50);
    print("GET /servers/detail with 1,000 servers, p50", p50, "ms", Some(3_258.0), Some(floor))?;
    Ok(())
}
