//! How processes end: told to, in order; killed, so that the next start goes on.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::cloud::{Machine, run};

/// A start that takes the dying for the living is over after a tenth of this.
const LONG_ENOUGH_TO_BE_FOOLED: Duration = Duration::from_millis(500);

/// Lines of a log that tell of trouble.
fn trouble(log: &str) -> Vec<&str> {
    let troubled = |line: &&str| {
        line.contains(" WARN ") || line.contains("ERROR") || line.contains("panicked")
    };
    log.lines().filter(troubled).collect()
}

fn foreground(machine: &Machine, log: &Path) -> std::process::Child {
    let mut command = machine.command(&["up", "--hypervisor", "simulated"]);
    command.args(["--listen", "127.0.0.1:0", "--quic-listen", "127.0.0.1:0"]);
    command.stderr(File::create(log).unwrap()).spawn().unwrap()
}

#[tokio::test]
async fn a_cloud_that_is_told_to_end_does_so_in_order_and_its_compute_process_with_it() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let (machine, folder) = (Machine::new(), tempfile::tempdir().unwrap());
        let log = folder.path().join("log");
        let mut child = foreground(&machine, &log);
        let answers = async || {
            machine.data_dir().join("run/address").exists() && machine.pid("compute").is_some()
        };
        machine.until("it answers", answers).await;
        let client = machine.client().await;
        let made = client.furnish().await;
        for name in ["s1", "s2", "s3", "s4", "s5"] {
            client.create(&made, name).await.unwrap();
        }
        machine.signal("control", signal);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert_eq!((machine.pid("control"), machine.pid("compute")), (None, None), "{signal}");
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(trouble(&log), [""; 0], "{signal}");
        assert!(!machine.data_dir().join("run/address").exists(), "nothing answers there");
    }
}

#[tokio::test]
async fn down_ends_everything_and_says_what_comes_next() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let said = machine.run(&["down"]);
    assert!(said.code == Some(0) && said.out.contains("'updraft up' starts it again"), "{said:?}");
    assert_eq!(trouble(&machine.logs()), [""; 0]);
    let mut left = std::process::Command::new("pgrep");
    left.args(["-f", machine.data_dir().to_str().unwrap()]);
    assert_eq!(run(left).out, "", "processes are left");
    let said = machine.run(&["status"]);
    assert!(said.code == Some(3) && said.out.contains("does not run"), "{said:?}");
}

#[tokio::test]
async fn a_compute_process_outlives_its_control_process_and_is_taken_over() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    let made = client.furnish().await;
    client.create(&made, "s").await.unwrap();
    client.all_run(&machine).await;
    let before = client.servers().await;

    machine.kill("control").await;
    let orphan = machine.pid("compute");
    assert!(orphan.is_some(), "it runs on, and so do its guests");
    assert_eq!(machine.up().code, Some(0));
    let taken_over = async || {
        let now = machine.pid("compute");
        now.is_some() && now != orphan && machine.run(&["status"]).out.contains("compute-1")
    };
    machine.until("another takes its place", taken_over).await;
    assert_eq!(machine.client().await.servers().await, before);
    let log = machine.logs();
    assert!(!log.contains("closed"), "{log}");
}

#[tokio::test]
async fn a_compute_process_that_is_killed_is_started_again() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    machine.kill("compute").await;
    let client = machine.client().await;
    let made = client.furnish().await;
    client.create(&made, "s").await.unwrap();
    client.all_run(&machine).await;
}

#[tokio::test]
async fn a_cloud_that_is_just_being_killed_is_not_taken_for_one_that_runs() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let dying = machine.pid("control");
    // Stopped, it is there and answers nothing, as between the signal that kills and the end.
    machine.signal("control", Signal::SIGSTOP);
    let mut starting = machine.up_command().stdout(Stdio::null()).spawn().unwrap();
    machine.env.sleep(LONG_ENOUGH_TO_BE_FOOLED).await;
    assert_eq!(starting.try_wait().unwrap(), None, "it waits for an answer");
    machine.kill("control").await;
    assert_eq!(starting.wait().unwrap().code(), Some(0));
    let now = machine.pid("control");
    assert!(now.is_some() && now != dying, "another was started");
}
