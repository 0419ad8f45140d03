//! A machine of its own for a test: the test runs itself again in new network, mount and process namespaces.
//! Whatever it makes, and every process it starts, ends with it.

use std::{
    collections::BTreeSet,
    env, fs,
    future::Future,
    path::Path,
    process::{Command, Stdio},
};

/// Set in the process that runs inside.
const INSIDE: &str = "UPDRAFT_TEST_INSIDE";

const PROGRAMS: [&str; 8] =
    ["unshare", "mount", "ip", "bridge", "nft", "conntrack", "dnsmasq", "busybox"];

/// Why the test cannot run on this machine.
fn obstacle() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("only root can make namespaces".to_owned());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &&str| env::split_paths(&path).any(|p| p.join(program).exists());
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !is_there(program)).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(" ")))
}

/// Runs the test inside a machine of its own, or says why it cannot.
pub(crate) fn sandboxed(name: &str, test: impl Future<Output = ()>) {
    if env::var_os(INSIDE).is_some() {
        return run_inside(test);
    }
    if let Some(obstacle) = obstacle() {
        println!("skipped: {obstacle}");
        return;
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(env::current_exe().unwrap())
        .args([&format!("linux::{name}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "inside: {}\n{said}\n{complained}", output.status);
}

fn run_inside(test: impl Future<Output = ()>) {
    fs::create_dir_all("/run/netns").unwrap();
    output_of("mount", &["-t", "tmpfs", "tmpfs", "/run/netns"]);
    output_of("ip", &["link", "set", "dev", "lo", "up"]);
    // The test blocks its own thread while a guest waits for the agent, which runs on the others.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

/// What a program prints; it must succeed.
pub(crate) fn output_of(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {complained}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that a driver could leave behind on the machine.
pub(crate) fn snapshot() -> BTreeSet<String> {
    let devices = output_of("ip", &["-br", "link", "show"]);
    let mut all: BTreeSet<String> =
        devices.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    for entry in fs::read_dir("/run/netns").unwrap() {
        all.insert(format!("namespace {:?}", entry.unwrap().file_name()));
    }
    all.insert(format!("rules {}", output_of("nft", &["list", "ruleset"])));
    let setting = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    all.insert(format!("bridge-nf {:?}", fs::read_to_string(setting).ok()));
    all
}

/// Whether the process runs; one that has ended and that nobody has asked after does not.
pub(crate) fn lives(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Ends a process without a word of warning.
pub(crate) fn kill(pid: i32) {
    use nix::{sys::signal, unistd::Pid};
    signal::kill(Pid::from_raw(pid), signal::Signal::SIGKILL).unwrap();
}
