//! What somebody's mistake, or somebody else's, gets: one sentence with the remedy, and its exit code.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::process::CommandExt,
    path::Path,
    process::Stdio,
};

use nix::sys::signal::Signal;

use crate::cloud::{Machine, Said, file, run, updraft};

/// The user who may write nowhere.
const NOBODY: u32 = 65_534;

/// A refusal is one line, with these words and this code, and no trace of the program's inside.
fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert_eq!(said.err.trim().lines().count(), 1, "{}", said.err);
    assert!(said.err.starts_with("updraft: ") && !said.err.contains("panicked"), "{}", said.err);
    for word in words {
        assert!(said.err.contains(word), "{word:?} is missing: {}", said.err);
    }
}

const SIMULATED: [&str; 4] = ["up", "--detach", "--hypervisor", "simulated"];

fn up(machine: &Machine, arguments: &[&str]) -> Said {
    machine.run(&[&SIMULATED, arguments].concat())
}

#[tokio::test]
async fn a_port_in_use_is_said() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let said = up(&Machine::new(), &["--listen", &address, "--quic-listen", "127.0.0.1:0"]);
    refused(&said, 5, &[&address, "TCP", "another address with --listen"]);

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap().to_string();
    let said = up(&Machine::new(), &["--quic-listen", &address, "--listen", "127.0.0.1:0"]);
    refused(&said, 5, &[&address, "UDP", "another address with --quic-listen"]);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_said() {
    let machine = Machine::new();
    fs::create_dir(machine.data_dir()).unwrap();
    fs::write(machine.data_dir().join("format"), "updraft data 0\n").unwrap();
    for command in [&SIMULATED[..], &["status"], &["down"], &["invite"], &["node"]] {
        refused(&machine.run(command), 4, &["updraft data 0", "--data-dir"]);
    }

    let foreign = Machine::new();
    fs::create_dir(foreign.data_dir()).unwrap();
    fs::write(foreign.data_dir().join("thesis"), "years of work").unwrap();
    refused(&up(&foreign, &[]), 4, &["is not empty and holds no cloud"]);

    let file_in_place = Machine::new();
    fs::write(file_in_place.data_dir(), "").unwrap();
    refused(&up(&file_in_place, &[]), 4, &["it has to be a folder"]);

    let nowhere = Machine::new();
    for command in ["status", "down", "invite"] {
        refused(&nowhere.run(&[command]), 3, &["holds no cloud", "updraft up"]);
    }
    assert!(!nowhere.data_dir().exists(), "looking makes nothing");
}

#[tokio::test]
async fn a_file_that_is_damaged_is_named() {
    let machine = Machine::new();
    fs::create_dir(machine.data_dir()).unwrap();
    fs::write(machine.data_dir().join("format"), updraft_cloud::machine::FORMAT).unwrap();
    let path = machine.data_dir().join("node.json");
    fs::write(&path, "{").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for command in [&SIMULATED[..], &["status"], &["node"]] {
        refused(&machine.run(command), 4, &["node.json is damaged", "--data-dir"]);
    }
}

#[tokio::test]
async fn a_cloud_that_was_killed_is_said_not_to_answer() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    machine.kill("control").await;
    let server = "00000000-0000-0000-0000-000000000000";
    for command in [&["invite"][..], &["trace", server], &["remove", "rack-7"]] {
        refused(&machine.run(command), 3, &["does not answer", "updraft up"]);
    }
}

#[tokio::test]
async fn a_data_directory_in_use_is_said() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let arguments = ["up", "--hypervisor", "simulated", "--listen", "127.0.0.1:0"];
    let mut second = run(machine.command(&arguments));
    // In the foreground it greets first.
    second.err = second.err.lines().skip(1).collect();
    let pid = machine.pid("control").unwrap().to_string();
    refused(&second, 4, &["is in use by process", &pid, "updraft down"]);
}

#[tokio::test]
async fn a_data_directory_that_may_not_be_written_is_said() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become nobody");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), mode).unwrap();
    let data = folder.path().join("data");
    let mut command = updraft(&SIMULATED);
    command.arg("--data-dir").arg(&data).uid(NOBODY).gid(NOBODY);
    refused(&run(command), 4, &["Permission denied", "make it writable for this user"]);
}

#[test]
fn a_wrong_command_line_is_said_with_what_is_allowed() {
    for (arguments, words) in [
        (&["up", "--hypervisor", "xen"][..], &["--hypervisor", "libvirt, simulated"][..]),
        (&["up", "--listen", "0.0.0.0:1"], &["--listen", "a loopback address"]),
        (&["up", "--quic-listen", "here"], &["--quic-listen", "an address with a port"]),
        (&["up", "--region", "a b"], &["--region", "1 to 255 of"]),
        (&["up", "--cpu-allocation-ratio", "0"], &["--cpu-allocation-ratio", "a number above 0"]),
        (&["up", "--simulated-host", "1,2"], &["--simulated-host", "three whole numbers"]),
        (&["up", "--frobnicate"], &["--frobnicate", "--help"]),
        (&["upp"], &["upp", "--help"]),
        (&["trace", "a"], &["<SERVER-ID>", "openstack server list"]),
        (&["trace"], &["<SERVER-ID>"]),
        (&["node", "--name", "Rack 7"], &["--name", "a-z 0-9"]),
        (&["node", "--join", "a", "--join-file", "b"], &["--join", "--join-file"]),
        (&["invite", "--minutes", "soon"], &["--minutes"]),
        (&["invite", "--minutes", "0"], &["--minutes", "1..=10080"]),
        (&["remove"], &["<NODE>"]),
        (&["remove", "Rack 7"], &["<NODE>", "a-z 0-9"]),
    ] {
        let said = run(updraft(arguments));
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(words.iter().all(|word| said.err.contains(word)), "{words:?}: {}", said.err);
        assert!(!said.err.contains("panicked"), "{}", said.err);
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let mut command = updraft(&["up"]);
    command.env("UPDRAFT_VIRT_TYPE", "xen");
    let said = run(command);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("environment variable UPDRAFT_VIRT_TYPE"), "{}", said.err);
}

#[test]
fn a_wrong_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (content, words) in [
        ("# mine\nhypervizor = \"libvirt\"\n", &["line 2", "`hypervizor`", "`hypervisor`"][..]),
        ("# mine\n\nvirt_type = 7\n", &["line 3", "auto, qemu or kvm"]),
        ("cpu_allocation_ratio = -1\n", &["line 1", "a number above 0"]),
    ] {
        let path = file(folder.path(), "updraft.toml", content);
        let mut words = words.to_vec();
        words.push(&path);
        refused(&run(updraft(&["up", "--config", &path])), 2, &words);
    }
    refused(&run(updraft(&["up", "--config", "/nowhere.toml"])), 2, &["/nowhere.toml", "--config"]);
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let content = "region = \"file\"\nvirt_type = \"kvm\"\ncpu_allocation_ratio = 2\n";
    let path = file(folder.path(), "updraft.toml", content);
    let mut command = updraft(&["config", "--config", &path, "--region", "line"]);
    command.env("UPDRAFT_REGION", "environment").env("UPDRAFT_VIRT_TYPE", "qemu");
    let said = run(command);
    for setting in ["region = \"line\"", "virt_type = \"qemu\"", "cpu_allocation_ratio = 2.0"] {
        assert!(said.out.contains(setting), "{setting} is missing: {}", said.out);
    }
}

/// The read end is closed before the command writes.
fn read_by_nobody(machine: &Machine, arguments: &[&str]) -> Said {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = machine.command(arguments);
    command.stdout(writer).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap().into()
}

#[tokio::test]
async fn a_reader_that_has_gone_ends_a_command_quietly() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    let made = client.furnish().await;
    let server = client.create(&made, "s").await.unwrap();
    let trace = ["trace", &server, "--follow"];
    for command in [&["status"][..], &["config"], &["invite"], &["up", "--help"], &trace, &["down"]]
    {
        let said = read_by_nobody(&machine, command);
        assert_eq!((said.code, &*said.err), (Some(0), ""), "{command:?}");
    }
    assert_eq!(machine.run(&["down"]).code, Some(3), "it was ended all the same");
}

#[tokio::test]
async fn an_output_that_takes_nothing_is_said() {
    let mut command = updraft(&["config"]);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    refused(&run(command), 1, &["the output cannot be written", "No space left"]);
}

#[tokio::test]
async fn nobody_who_reads_the_log_is_no_reason_to_end() {
    let machine = Machine::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = machine.command(&["up", "--hypervisor", "simulated"]);
    command.args(["--listen", "127.0.0.1:0", "--quic-listen", "127.0.0.1:0"]).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop((command, reader));
    let answers = async || machine.data_dir().join("run/address").exists();
    machine.until("it answers", answers).await;
    machine.client().await.furnish().await;
    machine.signal("control", Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Whether any process has this folder in its command line.
fn runs_in(folder: &Path) -> bool {
    let listed = run({
        let mut command = std::process::Command::new("ps");
        command.args(["-eo", "args"]);
        command
    });
    listed.out.lines().any(|line| line.contains(folder.to_str().unwrap()))
}

#[tokio::test]
async fn what_did_not_start_leaves_no_process() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let machine = Machine::new();
    let address = tcp.local_addr().unwrap().to_string();
    assert_eq!(up(&machine, &["--listen", &address]).code, Some(5));
    assert!(!runs_in(&machine.data_dir()));
}
