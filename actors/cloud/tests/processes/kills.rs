//! `kill -9` at a random moment of many builds: every build finishes, nothing acknowledged is lost, nothing is
//! left over.
//!
//! The moments come from a seed, which is printed; `UPDRAFT_TEST_SEED` gives one, `UPDRAFT_TEST_ROUNDS` says how many.

use std::{collections::BTreeSet, fs, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::Value;

use crate::cloud::{Client, Machine, Made};

/// How often; each takes some two seconds.
const ROUNDS: u32 = 5;

/// Servers asked for at once.
const SERVERS: usize = 20;

/// The longest time after the first request at which the plug is pulled: some builds have not begun, most are
/// under way, some are done.
const LATEST: Duration = Duration::from_millis(400);

fn given<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok().and_then(|value| value.parse().ok())
}

/// Asks for all servers at once, and pulls the plug meanwhile; the ids of those that were acknowledged.
async fn build_and_kill(machine: &Machine, made: &Made, round: u32, at: Duration) -> Vec<String> {
    let client = machine.client().await;
    let builds = (0..SERVERS).map(|number| {
        let (client, name) = (&client, format!("r{round}-{number}"));
        async move { client.create(made, &name).await }
    });
    let kill = async {
        machine.env.sleep(at).await;
        machine.kill("control").await;
        if round % 2 == 1 {
            machine.kill("compute").await;
        }
    };
    let (acknowledged, ()) = tokio::join!(futures_util::future::join_all(builds), kill);
    acknowledged.into_iter().flatten().collect()
}

/// The guests that the simulated machine has.
fn guests(machine: &Machine) -> BTreeSet<String> {
    let folder = machine.data_dir().join("simulated/guests");
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    let guest = |path: std::path::PathBuf| {
        let kept: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let id = path.file_stem()?.to_str()?.to_owned();
        (!kept["guest"].is_null()).then_some(id)
    };
    entries.filter_map(|entry| guest(entry.unwrap().path())).collect()
}

/// The servers that ports belong to; one port each.
async fn ports(client: &Client) -> Vec<String> {
    let path = "/networking/v2.0/ports?fields=device_id&fields=device_owner";
    let listed = client.must("GET", path, Value::Null).await;
    let ports = listed["ports"].as_array().unwrap().iter();
    let of_servers =
        ports.filter(|port| port["device_owner"].as_str().unwrap().starts_with("compute:"));
    let mut found: Vec<_> =
        of_servers.map(|port| port["device_id"].as_str().unwrap().to_owned()).collect();
    found.sort();
    found
}

/// Waits until every build has finished, and looks whether all is as it should be.
async fn check(machine: &Machine, client: &Client, acknowledged: &[String]) {
    let finished = async || client.servers().await.iter().all(|server| server.status == "ACTIVE");
    machine.until("every build has finished", finished).await;
    let servers: BTreeSet<_> = client.servers().await.into_iter().map(|server| server.id).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !servers.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(guests(machine), servers, "a guest for each server, and no other");
    let servers: Vec<_> = servers.into_iter().collect();
    assert_eq!(ports(client).await, servers, "a port for each server, and no other");
}

async fn clear(machine: &Machine, client: &Client) {
    for server in client.servers().await {
        let path = format!("/compute/v2.1/servers/{}", server.id);
        client.ask("DELETE", &path, Value::Null).await;
    }
    let gone = async || client.servers().await.is_empty() && ports(client).await.is_empty();
    machine.until("every server is gone", gone).await;
    assert_eq!(guests(machine), BTreeSet::new());
}

#[tokio::test]
async fn every_build_finishes_whenever_the_control_process_is_killed() {
    let machine = Machine::new();
    let drawn = || machine.env.rng("kills").random();
    let seed: u64 = given("UPDRAFT_TEST_SEED").unwrap_or_else(drawn);
    println!("UPDRAFT_TEST_SEED={seed}");
    let mut moments = SmallRng::seed_from_u64(seed);
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    let made = client.furnish().await;
    client.lift_quota().await;
    for round in 0..given("UPDRAFT_TEST_ROUNDS").unwrap_or(ROUNDS) {
        let at = LATEST.mul_f64(moments.random::<f64>());
        let acknowledged = build_and_kill(&machine, &made, round, at).await;
        println!("round {round}: killed after {at:?}, {} acknowledged", acknowledged.len());
        assert_eq!(machine.up().code, Some(0));
        let client = machine.client().await;
        check(&machine, &client, &acknowledged).await;
        clear(&machine, &client).await;
    }
}
