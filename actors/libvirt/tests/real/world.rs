//! A host for a test: a libvirtd of its own in a network namespace of its own.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::child::{Child, until};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts");

/// A host, which is gone when the test is, however it ends.
pub(crate) struct World {
    name: String,
    folder: TempDir,
    images: PathBuf,
    begun: Instant,
    ended: Cell<bool>,
}

impl World {
    /// A host with a libvirtd; `None` where there can be none, and why is printed.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let world = Self::without_libvirtd(test)?;
        world.start_libvirtd();
        world.step("libvirtd runs");
        Some(world)
    }

    /// A host whose libvirtd does not run yet.
    pub(crate) fn without_libvirtd(test: &str) -> Option<Self> {
        if let Some(reason) = missing() {
            println!("skipped: {reason}");
            return None;
        }
        let images = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
        run_script("guest-image.sh", &[images.to_str().unwrap()]);
        // A short path: libvirt's socket lies below it.
        let folder = tempfile::Builder::new().prefix("updraft-").tempdir_in("/tmp").unwrap();
        let name = format!("updraft-{test}-{}", std::process::id());
        let world = Self { name, folder, images, begun: Instant::now(), ended: Cell::new(false) };
        world.run("ip", &["netns", "add", &world.name]);
        world.run_inside("ip", &["link", "set", "lo", "up"]);
        Some(world)
    }

    /// Says where the test is, and when.
    pub(crate) fn step(&self, what: &str) {
        println!("{:6.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Where the test's files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The driver's folder.
    pub(crate) fn instances(&self) -> PathBuf {
        self.folder().join("instances")
    }

    /// A file of the guest's.
    pub(crate) fn image(&self, file: &str) -> PathBuf {
        self.images.join(file)
    }

    /// Starts libvirtd, or finds it running.
    pub(crate) fn start_libvirtd(&self) {
        let script = format!("{SCRIPTS}/libvirtd.sh");
        self.run_inside(&script, &["start", self.libvirt().to_str().unwrap()]);
    }

    /// Starts the driver.
    pub(crate) fn driver(&self, virt_type: &str) -> Child {
        let socket = self.libvirt().join("sock/libvirt-sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_updraft-libvirt"));
        command.arg("--uri").arg(format!("qemu:///system?socket={}", socket.display()));
        command.arg("--instances").arg(self.instances());
        command.args(["--virt-type", virt_type]);
        Child::start(command)
    }

    /// `kill -9`, and its end.
    pub(crate) fn kill_libvirtd(&self) {
        let pid = self.libvirtd_pid();
        self.run("kill", &["-9", &pid]);
        until(Duration::from_secs(5), "libvirtd's end", || {
            (!Path::new("/proc").join(&pid).exists()).then_some(())
        });
    }

    /// Holds it, or lets it go on.
    pub(crate) fn signal_libvirtd(&self, signal: &str) {
        self.run("kill", &["-s", signal, &self.libvirtd_pid()]);
    }

    /// How many emulators run.
    pub(crate) fn emulators(&self) -> usize {
        self.emulator_pids().len()
    }

    /// `kill -9` to all of them.
    pub(crate) fn kill_emulators(&self) {
        for pid in self.emulator_pids() {
            self.run("kill", &["-9", &pid]);
        }
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) {
        run(Command::new(program).args(arguments));
    }

    /// Runs a program inside the host's network.
    pub(crate) fn run_inside(&self, program: &str, arguments: &[&str]) {
        run(Command::new("ip").args(["netns", "exec", &self.name, program]).args(arguments));
    }

    /// The namespace's name.
    pub(crate) fn namespace(&self) -> &str {
        &self.name
    }

    /// Takes the host down and checks that nothing is left of it.
    pub(crate) fn end(self) {
        self.step("the host goes down");
        let left = self.emulators();
        self.take_down();
        let folder = self.folder().to_owned();
        let name = self.name.clone();
        drop(self);
        assert_eq!(left, 0, "emulators were left");
        assert_eq!(processes_with(&folder), Vec::<String>::new(), "processes are left");
        assert!(!folder.exists(), "files are left");
        assert!(!Path::new("/run/netns").join(name).exists(), "the namespace is left");
    }

    fn take_down(&self) {
        if !self.ended.replace(true) {
            run_script("libvirtd.sh", &["stop", self.libvirt().to_str().unwrap(), "--guests"]);
            self.run("ip", &["netns", "delete", &self.name]);
        }
    }

    fn libvirt(&self) -> PathBuf {
        self.folder().join("libvirt")
    }

    fn libvirtd_pid(&self) -> String {
        fs::read_to_string(self.libvirt().join("libvirtd.pid")).unwrap().trim().to_owned()
    }

    fn emulator_pids(&self) -> Vec<String> {
        let files = fs::read_dir(self.libvirt().join("run/qemu")).into_iter().flatten().flatten();
        files
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "pid"))
            .filter_map(|path| fs::read_to_string(path).ok())
            .map(|pid| pid.trim().to_owned())
            // libvirtd's own number lies among them.
            .filter(|pid| name_of(pid).starts_with("qemu-system"))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.take_down();
            return;
        }
        // The test has failed already; what libvirt wrote may say why.
        let log = fs::read_to_string(self.libvirt().join("log/libvirtd.log")).unwrap_or_default();
        println!("libvirtd's last words:");
        log.lines().rev().take(10).for_each(|line| println!("  {line}"));
        let stop = format!("{SCRIPTS}/libvirtd.sh");
        Command::new(stop).arg("stop").arg(self.libvirt()).arg("--guests").status().ok();
        Command::new("ip").args(["netns", "delete", &self.name]).status().ok();
    }
}

/// Why no guest can run here.
fn missing() -> Option<String> {
    let there = |program: &str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        found.is_ok_and(|output| output.status.success())
    };
    let absent = |program: &&str| !there(program);
    let programs = ["libvirtd", "qemu-system-x86_64", "dnsmasq", "ip"];
    let absent: Vec<_> = programs.into_iter().filter(absent).collect();
    if !absent.is_empty() {
        return Some(format!("{} not installed", absent.join(", ")));
    }
    (!nix::unistd::Uid::effective().is_root()).then(|| "only root can run guests".to_owned())
}

fn run_script(script: &str, arguments: &[&str]) {
    run(Command::new(format!("{SCRIPTS}/{script}")).args(arguments));
}

/// The output goes to a file's end and not into a pipe: a daemon would hold a pipe open.
fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}"
    );
}

/// What a process is called; nothing when it is gone.
fn name_of(pid: &str) -> String {
    fs::read_to_string(Path::new("/proc").join(pid).join("comm")).unwrap_or_default()
}

/// The processes that have a path on their command line.
fn processes_with(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}
