//! A second host joins with a one-time token, runs servers, and comes back after it was killed.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

use serde_json::json;

use crate::cloud::{Machine, Said, Server, run, run_with};

pub(crate) fn token(machine: &Machine) -> String {
    let said = machine.run(&["invite"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.trim().to_owned()
}

pub(crate) fn up() -> Machine {
    let control = Machine::new();
    let said = control.up();
    assert_eq!(said.code, Some(0), "{said:?}");
    control
}

pub(crate) fn joined(control: &Machine, name: &str) -> Machine {
    let host = Machine::new();
    let said = host.join(&token(control), name);
    assert_eq!(said.code, Some(0), "{said:?}");
    host
}

fn refused(said: &Said, words: &str) {
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(said.err.contains(words) && said.err.trim().lines().count() == 1, "{}", said.err);
}

#[tokio::test]
async fn a_host_that_joined_runs_servers_and_has_them_again_after_it_was_killed() {
    let control = up();
    let host = joined(&control, "rack-7");
    let client = control.client().await;
    let both = vec![("compute-1".into(), "up".into()), ("rack-7".into(), "up".into())];
    control
        .until("both hosts are up", async || {
            let mut found = client.hypervisors().await;
            found.sort();
            found == both
        })
        .await;
    let status = control.run(&["status"]);
    assert!(status.out.contains("rack-7") && status.code == Some(0), "{status:?}");

    let made = client.furnish().await;
    for name in ["s1", "s2", "s3", "s4"] {
        client.create(&made, name).await.unwrap();
    }
    let active = async || client.servers().await.iter().all(|server| server.status == "ACTIVE");
    control.until("every server is active", active).await;
    let before = client.servers().await;
    let hosts: BTreeSet<_> = before.iter().map(|server| server.host.as_str()).collect();
    assert_eq!(hosts, ["compute-1", "rack-7"].into());

    host.kill("compute").await;
    assert_eq!(host.node().code, Some(0), "a restart needs no token");
    control
        .until("the host is heard again", async || {
            let nodes = control.run(&["status"]).out;
            nodes.lines().any(|line| line.contains("rack-7") && line.ends_with("up"))
        })
        .await;
    let incarnation = host.data().read("nodes/rack-7/incarnation").unwrap().unwrap();
    assert_eq!(incarnation.trim(), "2");
    let (there, elsewhere): (Vec<_>, Vec<_>) =
        before.into_iter().partition(|server| server.host == "rack-7");
    client.act(&there[0].id, json!({"os-stop": null})).await;
    let stopped = Server { status: "SHUTOFF".to_owned(), ..there[0].clone() };
    let mut expected: Vec<_> = [&[stopped], &there[1..], &elsewhere].concat();
    expected.sort();
    let as_expected = async || {
        let mut found = client.servers().await;
        found.sort();
        found == expected
    };
    control.until("one guest of the host is stopped, and all others run on", as_expected).await;
}

#[tokio::test]
async fn a_host_joins_first_and_is_run_later_without_a_token() {
    let (control, host) = (up(), Machine::new());
    let only = ["node", "--join-only", "--name", "rack-7", "--join-file", "-"];
    let said = run_with(host.command(&only), &token(&control));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out, "rack-7 has joined, and does not run yet: 'updraft node' runs it\n");
    assert_eq!(host.pid("compute"), None);
    let said = host.node();
    assert_eq!(said.code, Some(0), "{said:?}");
    let client = control.client().await;
    let is_up = async || client.hypervisors().await.contains(&("rack-7".into(), "up".into()));
    control.until("the host is up", is_up).await;
}

#[tokio::test]
async fn a_token_that_is_no_good_is_refused_with_the_reason() {
    let control = up();
    let used = token(&control);
    let host = Machine::new();
    assert_eq!(host.join(&used, "rack-1").code, Some(0));
    refused(&Machine::new().join(&used, "rack-2"), "has been used, by rack-1");
    refused(&Machine::new().join(&token(&control), "rack-1"), "with another key");
    refused(&Machine::new().join(&token(&control), "control-1"), "with another key");

    let whole = token(&control);
    let altered = whole.replace(&whole[20..24], "AAAA");
    refused(&Machine::new().join(&altered, "rack-3"), "was not copied whole");
    refused(&Machine::new().join("updraft-join-", "rack-3"), "was not copied whole");
    refused(&Machine::new().join("a password", "rack-3"), "starts with");
    refused(&Machine::new().node(), "a join token is needed once");

    let other = up();
    let said = host.join(&token(&other), "rack-1");
    host.run(&["down"]);
    let said = if said.code == Some(4) { host.join(&token(&other), "rack-1") } else { said };
    refused(&said, "belongs to a node of another cloud");
}

#[tokio::test]
async fn what_a_node_keeps_is_closed_to_others_and_its_token_is_seen_by_nobody() {
    let control = up();
    let host = joined(&control, "rack-7");
    for name in ["key.pem", "certificate.pem", "authorities.pem", "incarnation"] {
        let path = host.data_dir().join("nodes/rack-7").join(name);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    for machine in [&control, &host] {
        let pid = machine.pid("compute").unwrap();
        for file in ["cmdline", "environ"] {
            let seen = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(!String::from_utf8_lossy(&seen).contains("updraft-join-"), "{file}");
        }
    }
    assert!(!host.data_dir().join("ca").exists(), "a host has no CA");
}

#[tokio::test]
async fn a_token_comes_by_option_by_file_by_pipe_or_by_environment() {
    let control = up();
    let options = ["node", "--detach", "--hypervisor", "simulated", "--name"];
    let option = Machine::new();
    let said = option.run(&[&options[..], &["n1", "--join", &token(&control)]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = crate::cloud::file(folder.path(), "token", &format!("{}\n", token(&control)));
    let by_file = Machine::new();
    let said = by_file.run(&[&options[..], &["n2", "--join-file", &path]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");

    let by_environment = Machine::new();
    let mut command = by_environment.command(&[&options[..], &["n3"]].concat());
    command.env("UPDRAFT_JOIN_TOKEN", token(&control));
    assert_eq!(run(command).code, Some(0));
}

#[tokio::test]
async fn a_node_that_runs_is_not_started_twice() {
    let control = up();
    let host = joined(&control, "rack-7");
    let said = host.node();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("is in use by process"), "{}", said.err);
    assert_eq!(host.run(&["down"]).code, Some(0));
    assert_eq!(host.run(&["down"]).code, Some(3), "nothing ran");
}
