//! Clouds of real processes, in folders of their own, that end with the test.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use updraft_cloud::machine::{ADDRESS_FILE, AdminClient, Answer, DataDir, Processes};
use updraft_runtime::Env;

/// How long anything may take that the cloud does by itself, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);

/// How much of a log a failure shows.
const LAST_LINES: usize = 40;

/// The `updraft` command without this process's settings.
pub(crate) fn updraft(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("UPDRAFT_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

pub(crate) fn run(mut command: Command) -> Said {
    command.output().unwrap().into()
}

/// Runs a command with this on its standard input.
pub(crate) fn run_with(mut command: Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read it says why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

/// A folder in which the command is run, and what runs there.
pub(crate) struct Machine {
    folder: TempDir,
    pub(crate) env: Env,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), env: Env::real() }
    }

    /// The data directory; not there until something is started.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn data_text(&self) -> String {
        self.data_dir().to_str().unwrap().to_owned()
    }

    /// A subcommand on this machine's data directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = updraft(arguments);
        command.args(["--data-dir", &self.data_text()]);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run(self.command(arguments))
    }

    /// Starts a cloud in the background.
    pub(crate) fn up(&self) -> Said {
        run(self.up_command())
    }

    pub(crate) fn up_command(&self) -> Command {
        self.up_command_at("127.0.0.1:0")
    }

    /// The same, where other nodes look for it.
    pub(crate) fn up_command_at(&self, quic_listen: &str) -> Command {
        self.command(&[
            "up",
            "--detach",
            "--hypervisor",
            "simulated",
            "--listen",
            "127.0.0.1:0",
            "--quic-listen",
            quic_listen,
        ])
    }

    /// The whole answer to a request, by HTTP alone.
    pub(crate) fn raw(
        &self,
        request: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<String> {
        let address = self.data().read(ADDRESS_FILE).unwrap().unwrap();
        let mut connection = TcpStream::connect(address.trim())?;
        let length = body.len();
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: cloud\r\nconnection: close\r\n{headers}content-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        connection.write_all(head.as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Makes the machine a node with this token, in the background.
    pub(crate) fn join(&self, token: &str, name: &str) -> Said {
        let arguments =
            ["node", "--detach", "--hypervisor", "simulated", "--name", name, "--join-file", "-"];
        run_with(self.command(&arguments), token)
    }

    /// Starts a node that has joined before.
    pub(crate) fn node(&self) -> Said {
        self.run(&["node", "--detach", "--hypervisor", "simulated"])
    }

    pub(crate) fn data(&self) -> DataDir {
        DataDir::existing(&self.data_dir()).unwrap()
    }

    pub(crate) fn pid(&self, name: &str) -> Option<Pid> {
        Processes::of(&DataDir::existing(&self.data_dir()).ok()?).running(name)
    }

    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        kill(self.pid(name).unwrap(), signal).unwrap();
    }

    /// Kills a process and waits until it is gone.
    pub(crate) async fn kill(&self, name: &str) {
        let pid = self.pid(name).unwrap();
        self.signal(name, Signal::SIGKILL);
        self.until(&format!("{name} is gone"), async || self.pid(name) != Some(pid)).await;
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, mut so: impl AsyncFnMut() -> bool) {
        let until = self.env.now() + PATIENCE;
        while !so().await {
            assert!(self.env.now() < until, "never came: {what}\n{}", self.last_words());
            self.env.sleep(LOOK).await;
        }
    }

    /// The last that the processes have logged beside answers, for a failure's message.
    fn last_words(&self) -> String {
        let logs = self.logs();
        let lines: Vec<_> = logs.lines().filter(|line| !line.contains(": answered ")).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// What the processes have logged.
    pub(crate) fn logs(&self) -> String {
        let read = |name: &str| {
            let path = self.data_dir().join("logs").join(name);
            std::fs::read_to_string(path).unwrap_or_default()
        };
        ["control.log", "compute.log"].map(read).concat()
    }

    pub(crate) async fn client(&self) -> Client {
        Client { admin: AdminClient::log_in(&self.data()).await.unwrap() }
    }
}

impl Machine {
    /// Kills whatever runs.
    pub(crate) fn end_by_force(&self) {
        for name in ["control", "compute"] {
            if let Some(pid) = self.pid(name) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // What runs must not outlive a test that failed.
        self.end_by_force();
    }
}

/// The administrator, by REST.
pub(crate) struct Client {
    pub(crate) admin: AdminClient,
}

/// What servers are made from.
pub(crate) struct Made {
    pub(crate) image: String,
    pub(crate) network: String,
}

impl Client {
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        self.admin.ask(method, path, &body).await.unwrap()
    }

    /// An answer that has to be a success.
    pub(crate) async fn must(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// A flavor, an image and a network.
    pub(crate) async fn furnish(&self) -> Made {
        let flavor = json!({"flavor": {"id": "f", "name": "f", "ram": 128, "disk": 1, "vcpus": 1}});
        self.must("POST", "/compute/v2.1/flavors", flavor).await;
        let image = json!({"name": "i", "disk_format": "raw", "container_format": "bare"});
        let image = self.must("POST", "/image/v2/images", image).await;
        let image = image["id"].as_str().unwrap().to_owned();
        let file = format!("/image/v2/images/{image}/file");
        assert!(self.admin.upload(&file, vec![7; 4096]).await.unwrap().status.is_success());
        let network = json!({"network": {"name": "n"}});
        let network = self.must("POST", "/networking/v2.0/networks", network).await;
        let network = network["network"]["id"].as_str().unwrap().to_owned();
        let subnet =
            json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/16"}});
        self.must("POST", "/networking/v2.0/subnets", subnet).await;
        Made { image, network }
    }

    /// Asks for a server; its id once that is acknowledged.
    pub(crate) async fn create(&self, made: &Made, name: &str) -> Option<String> {
        let server = json!({"server": {"name": name, "flavorRef": "f", "imageRef": made.image,
            "networks": [{"uuid": made.network}]}});
        let answer = self.admin.ask("POST", "/compute/v2.1/servers", &server).await.ok()?;
        let id = answer.json()["server"]["id"].as_str().map(str::to_owned);
        id.filter(|_| answer.status.is_success())
    }

    /// Every server: name, status and host.
    pub(crate) async fn servers(&self) -> Vec<Server> {
        let listed = self.must("GET", "/compute/v2.1/servers/detail", Value::Null).await;
        let servers = listed["servers"].as_array().unwrap().iter();
        servers.map(Server::of).collect()
    }

    /// Lets the administrator's project have as many servers as a test wants.
    pub(crate) async fn lift_quota(&self) {
        let wanted = json!({"quota_set": {"instances": 1000, "cores": 1000, "ram": 1_000_000}});
        let path = format!("/compute/v2.1/os-quota-sets/{}", self.project().await);
        self.must("PUT", &path, wanted).await;
    }

    /// The id of the administrator's project.
    pub(crate) async fn project(&self) -> String {
        let listed = self.must("GET", "/identity/v3/projects?name=admin", Value::Null).await;
        listed["projects"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Asks for an action on a server.
    pub(crate) async fn act(&self, server: &str, action: Value) {
        let path = format!("/compute/v2.1/servers/{server}/action");
        self.must("POST", &path, action).await;
    }

    /// Waits until nothing is being built any more, and every server runs.
    pub(crate) async fn all_run(&self, machine: &Machine) {
        let built = async || self.servers().await.iter().all(|server| server.status != "BUILD");
        machine.until("every build has ended", built).await;
        let servers = self.servers().await;
        let not_running: Vec<_> = servers.iter().filter(|s| s.status != "ACTIVE").collect();
        assert!(not_running.is_empty(), "{not_running:#?}\n{}", machine.last_words());
    }

    /// The states of hypervisors, by host.
    pub(crate) async fn hypervisors(&self) -> Vec<(String, String)> {
        let path = "/compute/v2.1/os-hypervisors/detail";
        let listed = self.must("GET", path, Value::Null).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let hypervisors = listed["hypervisors"].as_array().unwrap().iter();
        hypervisors.map(|h| (text(&h["hypervisor_hostname"]), text(&h["state"]))).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) host: String,
    pub(crate) fault: String,
}

impl Server {
    fn of(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            id: text(&value["id"]),
            name: text(&value["name"]),
            status: text(&value["status"]),
            host: text(&value["OS-EXT-SRV-ATTR:host"]),
            fault: text(&value["fault"]["message"]),
        }
    }
}

/// The file that a test writes into a folder.
pub(crate) fn file(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}
