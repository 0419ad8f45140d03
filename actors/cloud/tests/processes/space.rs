//! A disk without space: said at the start and while it runs, nothing acknowledged is lost, and it ends by itself.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::cloud::{Client, Machine};

/// The size of the file system: what an idle cloud takes, several times.
const SIZE: &str = "size=16m";

/// A file system of its own in a machine's place; it is let go of when dropped.
struct Small {
    machine: Machine,
    mounted: PathBuf,
}

impl Small {
    /// `None` where nothing can be mounted.
    fn new() -> Option<Self> {
        let machine = Machine::new();
        let mounted = machine.data_dir();
        fs::create_dir(&mounted).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "updraft-test"]).arg(&mounted);
        let done = nix::unistd::geteuid().is_root() && mount.status().is_ok_and(|s| s.success());
        if !done {
            println!("skipped: only root can mount a small file system");
        }
        done.then_some(Self { machine, mounted })
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("lost+found")
    }

    /// Takes all the space that there is.
    fn fill(&self) {
        let mut ballast =
            OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for bytes in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.machine.end_by_force();
        unmount(&self.mounted);
    }
}

fn unmount(path: &Path) {
    // Lazily: a process that was killed just now may still have a file open.
    let _ = Command::new("umount").arg("--lazy").arg(path).status();
}

#[tokio::test]
async fn no_space_at_the_start_is_said() {
    let Some(small) = Small::new() else { return };
    small.fill();
    let said = small.machine.up();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("No space left") && said.err.contains("free some space"), "{said:?}");
    small.free();
    assert_eq!(small.machine.up().code, Some(0));
    assert_eq!(small.machine.run(&["down"]).code, Some(0));
    small.fill();
    let said = small.machine.up();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("No space left") && said.err.contains("free some space"), "{said:?}");
}

/// The status and words of one refused request to each service.
async fn refusals(client: &Client) -> Vec<(u16, String)> {
    let mut refusals = Vec::new();
    for (path, body) in [
        (
            "/compute/v2.1/flavors",
            json!({"flavor": {"name": "x", "ram": 1, "disk": 0, "vcpus": 1}}),
        ),
        ("/networking/v2.0/networks", json!({"network": {"name": "x"}})),
        ("/volume/v3/volumes", json!({"volume": {"size": 1}})),
        ("/image/v2/images", json!({"name": "x"})),
        ("/identity/v3/projects", json!({"project": {"name": "x"}})),
    ] {
        let answer = client.ask("POST", path, body).await;
        refusals.push((answer.status.as_u16(), format!("{path}: {}", answer.text())));
    }
    refusals
}

#[tokio::test]
async fn no_space_while_it_runs_loses_nothing_acknowledged_and_ends_when_there_is_some() {
    let Some(small) = Small::new() else { return };
    let machine = &small.machine;
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    let made = client.furnish().await;
    let mut acknowledged = Vec::new();
    for name in ["before-1", "before-2"] {
        acknowledged.push(client.create(&made, name).await.unwrap());
    }
    client.all_run(machine).await;
    for name in ["under-way-1", "under-way-2"] {
        acknowledged.push(client.create(&made, name).await.unwrap());
    }
    small.fill();
    let full = async || {
        let refused = refusals(&client).await;
        refused.iter().all(|(status, _)| *status == 507)
    };
    machine.until("every service says that there is no space", full).await;
    for (status, words) in refusals(&client).await {
        let told = words.contains("disk is full");
        assert!(
            status == 507 && told && !words.contains(small.mounted.to_str().unwrap()),
            "{words}"
        );
    }
    assert!(machine.pid("control").is_some() && machine.pid("compute").is_some());

    small.free();
    let serves = async || {
        let listed = client.ask("GET", "/compute/v2.1/servers/detail", Value::Null).await;
        listed.status.is_success()
    };
    machine.until("it serves again", serves).await;
    let ended = async || client.servers().await.iter().all(|server| server.status != "BUILD");
    machine.until("every build has ended", ended).await;
    let servers = client.servers().await;
    for id in &acknowledged {
        let server = servers.iter().find(|server| server.id == *id).unwrap();
        // What the host could not make for want of space may have failed, if it says so.
        let may_fail = server.name.starts_with("under-way") && server.fault.contains("No space");
        assert!(server.status == "ACTIVE" || may_fail, "{server:?}");
    }
    // One service may write again a moment before another.
    let accepted = async || client.create(&made, "after").await.is_some();
    machine.until("a new server is accepted", accepted).await;
    let built = async || {
        let servers = client.servers().await;
        servers.iter().any(|server| server.name == "after" && server.status == "ACTIVE")
    };
    machine.until("a new server is built", built).await;
}
