//! What somebody's mistake with several control nodes gets: one sentence with the remedy, and nothing is lost by it.

use std::process::Command;

use super::{Cluster, Machine, Said, Shared, quic_address, token, well};
use crate::{
    cloud::run_with,
    database::url,
    joining::{self, up},
    postgres::Database,
};

fn refused(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert!(said.err.contains(words), "{words:?} is missing: {}", said.err);
    assert_eq!(said.err.trim().lines().count(), 1, "{}", said.err);
}

#[tokio::test]
async fn a_cloud_in_a_file_has_one_control_node() {
    let control = up();
    let said = control.run(&["invite", "--control"]);
    refused(&said, 1, "needs PostgreSQL");
    assert!(said.err.contains("updraft db move"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_not_used_up_by_a_mistake() {
    let Some(shared) = Shared::new().await else { return };
    let one = Machine::new();
    well(&shared.up(&one, "127.0.0.1:0"));
    let token = token(&one);
    let new = Machine::new();
    let try_with = |arguments: &[&str]| {
        let all = ["control", "--detach", "--name", "control-2", "--listen", "127.0.0.1:0"];
        let mut command = new.command(&[&all[..], arguments].concat());
        command.args(["--quic-listen", "127.0.0.1:0", "--join-file", "-"]);
        run_with(command, &token)
    };
    refused(&try_with(&[]), 2, "--database-url");
    let database = url(&shared.database);
    refused(&try_with(&["--database-url", &database]), 1, "--image-dir");
    let empty = shared.database.server.database().await;
    refused(&try_with(&["--database-url", &url(&empty)]), 4, "holds no cloud");
    let nowhere = "postgresql://updraft@127.0.0.1:1/updraft?connect_timeout=1";
    let file = crate::cloud::file(shared.images.path(), "password", "no password\n");
    let missing = file.replace("password", "nothing");
    let said = try_with(&["--database-url", nowhere, "--database-password-file", &missing]);
    refused(&said, 4, "its password in");
    let host = Machine::new();
    refused(&host.join(&token, "rack-7"), 6, "'updraft control'");
    let for_host = joining::token(&one);
    let said = shared.control(&new, "control-2", &for_host, "127.0.0.1:0");
    refused(&said, 6, "'updraft node'");
    well(&host.join(&for_host, "rack-7"));
    well(&shared.control(&new, "control-2", &token, "127.0.0.1:0"));
    let third = Machine::new();
    refused(
        &shared.control(&third, "control-3", &token, "127.0.0.1:0"),
        6,
        "has been used, by control-2",
    );
    refused(
        &shared.control(&third, "control-3", "", "127.0.0.1:0"),
        6,
        "a join token is needed once",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clouds_do_not_share_a_database() {
    let (Some(shared), Some(database)) = (Shared::new().await, Database::fresh().await) else {
        return;
    };
    let (one, stranger) = (Machine::new(), Machine::new());
    well(&shared.up(&one, "127.0.0.1:0"));
    refused(&shared.up(&stranger, "127.0.0.1:0"), 4, "holds a cloud that");
    assert!(!stranger.data_dir().join("ca").exists(), "nothing is begun");
    let other = Shared::on(database);
    well(&other.up(&stranger, "127.0.0.1:0"));
    well(&stranger.run(&["down"]));
    refused(&shared.up(&stranger, "127.0.0.1:0"), 4, "'updraft control'");
    let new = Machine::new();
    well(&other.up(&stranger, "127.0.0.1:0"));
    let said = other.control(&new, "control-2", &token(&one), "127.0.0.1:0");
    refused(&said, 4, "another cloud than the join token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_are_not_one_node() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, two, _] = &cluster.controls[..] else { panic!("there are three") };
    let shared = &cluster.shared;
    // The same folder twice.
    let mut command = two.command(&["control", "--listen", "127.0.0.1:0"]);
    command.args(shared.arguments("control-2"));
    let said: Said = command.output().unwrap().into();
    assert!(said.code == Some(4) && said.err.contains("is in use by process"), "{said:?}");
    // A copy of it, as on another machine.
    let copy = Machine::new();
    let copied = Command::new("cp").arg("-a").args([two.data_dir(), copy.data_dir()]).status();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(copy.data_dir().join("run")).unwrap();
    refused(
        &shared.control(&copy, "control-2", "", "127.0.0.1:0"),
        4,
        "node control-2 runs already",
    );
    assert!(two.pid("control").is_some(), "the one that was there runs on");
    // Once that one has ended, the copy may have its place.
    let address = quic_address(two);
    well(&two.run(&["down"]));
    well(&shared.control(&copy, "control-2", "", &address));
    // Folders of another kind.
    let up = shared.up(two, "127.0.0.1:0");
    refused(&up, 1, "start it with 'updraft control'");
    well(&one.run(&["down"]));
    refused(&shared.control(one, "control-1", "", "127.0.0.1:0"), 1, "start it with 'updraft up'");
}
