//! Volumes that are served to other hosts: the real driver, the real `qemu-storage-daemon`, `qemu-io` in the place of a
//! guest's QEMU, and certificates as the cloud's CA issues them.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{Export, ExportWant},
};
use updraft_runtime::{
    Env,
    transport::{
        NodeId, PeerIdentity,
        ca::{CloudCa, Validity},
        key::NodeKey,
    },
};
use updraft_volume::driver::{
    DriverError, FileSpec, QemuVolumes, Serving, ServingTls, VolumeDriver, stop_serving,
};
use uuid::Uuid;

const FILE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

/// The host that has the files, and two that want them.
const SERVER: &str = "host-a";
const CLIENTS: [&str; 2] = ["host-b", "host-c"];

/// A host's folder, with the certificates of three hosts beside it; what serves its files ends with it.
struct Rig {
    folder: TempDir,
    /// A loopback address of its own: no other test that runs now takes a port that this one has let go of.
    address: IpAddr,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Env::real().wall().secs();
        let validity = Validity::starting(now - 60, Duration::from_secs(3_600));
        let ca = CloudCa::create("test", NodeKey::from_seed(&[1; 32]).expect("a key"), validity);
        let ca = ca.expect("a CA");
        for (number, name) in [SERVER, CLIENTS[0], CLIENTS[1]].into_iter().enumerate() {
            let seed = [number as u8 + 2; 32];
            let key = NodeKey::from_seed(&seed).expect("a key");
            let identity = PeerIdentity::new(NodeId::new(name).expect("a name"), &["compute"]);
            let certificate = ca.issue(&identity, &key.public(), validity).expect("issued");
            let at = folder.path().join(name);
            fs::create_dir(&at).expect("made");
            let write = |name: &str, text: &str| fs::write(at.join(name), text).expect("written");
            write("ca-cert.pem", &ca.certificate().to_pem());
            for side in ["server", "client"] {
                write(&format!("{side}-cert.pem"), &certificate.to_pem());
                write(&format!("{side}-key.pem"), &key.to_pem());
            }
        }
        let [.., a, b, c] = Env::real().uuid().into_bytes();
        Self { folder, address: Ipv4Addr::new(127, a, b, c).into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another life of the host's driver.
    fn driver(&self) -> QemuVolumes {
        let tls = Some(ServingTls { name: SERVER.to_owned(), folder: self.path(SERVER) });
        let serving = Serving { address: self.address, tls };
        QemuVolumes::new(&Env::real(), &self.path("volumes"), serving).expect("a driver")
    }

    /// The number of the process that serves a file.
    fn process(&self, id: Uuid) -> String {
        let file = self.path("volumes/exports/processes").join(format!("{id}.pid"));
        fs::read_to_string(file).expect("a process").trim().to_owned()
    }

    fn options(&self, client: &str, export: &Export) -> [String; 4] {
        let folder = self.path(client);
        let Export { address, port, name, tls } = export;
        let host = tls.as_deref().expect("under TLS");
        [
            "--object".to_owned(),
            format!("tls-creds-x509,id=tls,endpoint=client,dir={}", folder.display()),
            "--image-opts".to_owned(),
            format!(
                "driver=nbd,server.type=inet,server.host={address},server.port={port},export={name},\
                 tls-creds=tls,tls-hostname={host}"
            ),
        ]
    }

    /// What one command of a client says, if it can connect.
    fn ask(&self, client: &str, export: &Export, command: &str) -> Result<String, String> {
        let mut qemu_io = Command::new("qemu-io");
        let output = qemu_io.args(self.options(client, export)).args(["-c", command]).output();
        let output = output.expect("qemu-io runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(said),
            false => Err(said + &String::from_utf8_lossy(&output.stderr)),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let Ok(processes) = fs::read_dir(self.path("volumes/exports/processes")) else { return };
        for process in processes.flatten() {
            let Ok(number) = fs::read_to_string(process.path()) else { continue };
            let number = number.trim().to_owned();
            let is_ours = fs::read_to_string(format!("/proc/{number}/cmdline"))
                .is_ok_and(|line| line.contains(&*self.path("volumes").to_string_lossy()));
            if is_ours {
                let _ = Command::new("kill").args(["-9", &number]).status();
            }
        }
    }
}

/// A client that stays connected, as a guest's QEMU does.
struct Guest {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Guest {
    fn connect(rig: &Rig, client: &str, export: &Export) -> Self {
        let mut qemu_io = Command::new("qemu-io");
        let qemu_io = qemu_io.args(rig.options(client, export)).stdin(Stdio::piped());
        let mut process = qemu_io.stdout(Stdio::piped()).spawn().expect("qemu-io runs");
        let (input, output) = (process.stdin.take(), process.stdout.take());
        Self {
            process,
            input: input.expect("an input"),
            output: BufReader::new(output.expect("an output")),
        }
    }

    /// Writes these bytes and says how it ended: `wrote ...` or the error.
    fn write(&mut self, pattern: u8) -> String {
        writeln!(self.input, "write -P {pattern} 0 4096").expect("asked");
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).expect("read") > 0, "the client ended");
            if line.contains("wrote") || line.contains("failed") {
                return line.trim_start_matches("qemu-io> ").trim().to_owned();
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spec(id: Uuid, generation: u64) -> FileSpec {
    FileSpec { id, generation, size_gib: 1, format: DiskFormat::Qcow2 }
}

/// An attachment of this host's.
fn to(host: &str, attachment: u128) -> ExportWant {
    ExportWant { attachment: Uuid::from_u128(attachment), host: host.to_owned() }
}

async fn made(rig: &Rig, files: &[Uuid]) -> QemuVolumes {
    let driver = rig.driver();
    for file in files {
        driver.create(&spec(*file, 1)).await.expect("made");
    }
    driver
}

/// One that ended and that nobody has asked after yet has no command line any more.
fn is_alive(process: &str) -> bool {
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

const WRITE: &str = "write -P 7 0 4096";
const READ: &str = "read -P 7 0 4096";

#[tokio::test]
async fn a_volume_is_served_to_the_host_of_its_attachment_and_to_no_other() {
    let rig = Rig::new();
    let driver = made(&rig, &[FILE]).await;
    let export = driver.export(&spec(FILE, 2), &to("host-b", 9)).await.expect("served");
    assert_eq!(driver.export(&spec(FILE, 2), &to("host-b", 9)).await, Ok(export.clone()));
    rig.ask("host-b", &export, WRITE).expect("written");
    rig.ask("host-c", &export, READ).expect_err("another host of the cloud was served");
    let misled = Export { tls: Some("host-c".to_owned()), ..export.clone() };
    let words = rig.ask("host-b", &misled, READ).expect_err("another host was taken for it");
    assert!(words.contains("does not match the hostname host-c"), "{words}");
    let plain = format!(
        "driver=nbd,server.type=inet,server.host={},server.port={},export={}",
        export.address, export.port, export.name
    );
    let plain = Command::new("qemu-io").args(["--image-opts", &plain, "-c", READ]).output();
    let words = String::from_utf8_lossy(&plain.expect("run").stderr).into_owned();
    assert!(words.contains("not permitted before TLS"), "{words}");
}

#[tokio::test]
async fn a_host_that_lost_a_volume_can_write_no_more() {
    let rig = Rig::new();
    let driver = made(&rig, &[FILE]).await;
    let export = driver.export(&spec(FILE, 2), &to("host-b", 9)).await.expect("served");
    let mut guest = Guest::connect(&rig, "host-b", &export);
    assert!(guest.write(7).contains("wrote 4096/4096"));
    let moved = driver.export(&spec(FILE, 3), &to("host-c", 9)).await.expect("served");
    assert_eq!(guest.write(8), "write failed: Input/output error");
    rig.ask("host-b", &moved, WRITE).expect_err("the former host is served at the new place");
    rig.ask("host-c", &moved, READ).expect("what was written is there");
    assert_eq!(
        driver.export(&spec(FILE, 2), &to("host-b", 9)).await,
        Err(DriverError::Stale),
        "an older generation was served"
    );
    for _ in 0..2 {
        driver.unexport(FILE, 4).await.expect("ended, and ended again");
    }
    rig.ask("host-c", &moved, READ).expect_err("still served");
    let late = driver.export(&spec(FILE, 3), &to("host-c", 9)).await;
    assert_eq!(late, Err(DriverError::Stale), "an older generation was served");
    TcpStream::connect((rig.address, moved.port)).expect_err("somebody listens");
}

#[tokio::test]
async fn a_server_that_is_killed_under_a_writer_harms_its_client_alone_and_comes_back() {
    let rig = Rig::new();
    let driver = made(&rig, &[FILE, OTHER]).await;
    let export = driver.export(&spec(FILE, 2), &to("host-b", 9)).await.expect("served");
    let other = driver.export(&spec(OTHER, 2), &to("host-b", 10)).await.expect("served");
    assert_ne!(export.port, other.port);
    let mut guest = Guest::connect(&rig, "host-b", &export);
    let mut neighbour = Guest::connect(&rig, "host-b", &other);
    assert!(guest.write(7).contains("wrote 4096/4096"));
    let process = rig.process(FILE);
    let killed = Command::new("kill").args(["-9", &process]).status();
    assert!(killed.expect("kill runs").success());
    assert_eq!(guest.write(8), "write failed: Input/output error");
    assert!(neighbour.write(9).contains("wrote 4096/4096"), "another volume suffers");
    let again = driver.export(&spec(FILE, 2), &to("host-b", 9)).await.expect("served again");
    assert_eq!(again, export, "it is served elsewhere than was told");
    let mut attached_again = Guest::connect(&rig, "host-b", &again);
    assert!(attached_again.write(10).contains("wrote 4096/4096"));
}

#[tokio::test]
async fn what_is_served_is_served_on_by_the_next_process_and_ends_with_the_volume() {
    let rig = Rig::new();
    let export = {
        let driver = made(&rig, &[FILE]).await;
        driver.export(&spec(FILE, 2), &to("host-b", 9)).await.expect("served")
    };
    let mut guest = Guest::connect(&rig, "host-b", &export);
    let (process, driver) = (rig.process(FILE), rig.driver());
    assert_eq!(driver.export(&spec(FILE, 2), &to("host-b", 9)).await, Ok(export.clone()));
    assert_eq!(rig.process(FILE), process, "it was begun again under its client");
    assert!(guest.write(7).contains("wrote 4096/4096"));
    driver.delete(FILE, 3).await.expect("removed");
    assert!(!is_alive(&process), "it outlives the volume");
    rig.ask("host-b", &export, READ).expect_err("still served");
}

#[tokio::test]
async fn what_is_served_ends_with_the_cloud_and_is_served_again_at_the_same_place() {
    let rig = Rig::new();
    let export = {
        let driver = made(&rig, &[FILE]).await;
        driver.export(&spec(FILE, 2), &to("host-b", 9)).await.expect("served")
    };
    let process = rig.process(FILE);
    for _ in 0..2 {
        stop_serving(&rig.path("volumes")).expect("ended, and ended again");
        assert!(!is_alive(&process), "it goes on");
    }
    stop_serving(&rig.path("no volumes")).expect("nothing to end");
    let again = rig.driver().export(&spec(FILE, 2), &to("host-b", 9)).await;
    assert_eq!(again, Ok(export), "it is served elsewhere than was told");
}
