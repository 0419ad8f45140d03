//! Several control processes on one PostgreSQL database: any of them serves any request, and killing one loses nothing.

mod cutoff;
mod mistakes;

use std::{collections::BTreeSet, path::PathBuf};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use updraft_cloud::machine::DataDir;

use crate::{
    cloud::{Client, Machine, Made, Said, run, run_with},
    joining::joined,
    postgres::Database,
};

/// Servers that are asked for while a control process is killed.
const BURST: usize = 24;

/// Three control nodes on one database, each a machine of its own; the first has a compute process, too.
struct Cluster {
    controls: Vec<Machine>,
    shared: Shared,
}

/// What all control nodes are told.
struct Shared {
    database: Database,
    /// Each control node's way to the database, a link with its name.
    ways: TempDir,
    images: TempDir,
}

impl Shared {
    /// None where the test is to be skipped.
    async fn new() -> Option<Self> {
        Some(Self::on(Database::fresh().await?))
    }

    fn on(database: Database) -> Self {
        let folder = || tempfile::tempdir().unwrap();
        Self { database, ways: folder(), images: folder() }
    }

    /// The settings of a control node.
    fn arguments(&self, name: &str) -> [String; 4] {
        let images = self.images.path().join("images").to_str().unwrap().to_owned();
        let way = self.way(name);
        if !way.exists() {
            self.mend(name);
        }
        let (socket, database) = (way.to_str().unwrap().replace('/', "%2F"), self.database.name());
        let url = format!("postgresql://postgres@{socket}/{database}?application_name={name}");
        ["--database-url".to_owned(), url, "--image-dir".to_owned(), images]
    }

    fn way(&self, name: &str) -> PathBuf {
        self.ways.path().join(name)
    }

    /// Cuts a control node off from the database, and nobody else.
    async fn cut(&self, name: &str) {
        std::fs::remove_file(self.way(name)).unwrap();
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        self.database.admin().await.execute(end, &[&name]).await.unwrap();
    }

    /// Gives it its way back.
    fn mend(&self, name: &str) {
        std::os::unix::fs::symlink(self.database.server.directory(), self.way(name)).unwrap();
    }

    /// Starts the control node with which the cloud begins.
    fn up(&self, machine: &Machine, quic_listen: &str) -> Said {
        let mut command = machine.up_command_at(quic_listen);
        command.args(self.arguments("control-1"));
        run(command)
    }

    /// Starts a further control node, which joins with this token if it has to.
    fn control(&self, machine: &Machine, name: &str, token: &str, quic_listen: &str) -> Said {
        self.as_control("--detach", machine, name, token, quic_listen)
    }

    /// Has a machine become one, and does not start it.
    fn join_only(&self, machine: &Machine, name: &str, token: &str) -> Said {
        self.as_control("--join-only", machine, name, token, "127.0.0.1:0")
    }

    fn as_control(
        &self,
        what: &str,
        machine: &Machine,
        name: &str,
        token: &str,
        quic_listen: &str,
    ) -> Said {
        let words = ["control", what, "--name", name, "--listen", "127.0.0.1:0"];
        let mut command = machine.command(&words);
        command.args(["--quic-listen", quic_listen]).args(self.arguments(name));
        if token.is_empty() {
            return run(command);
        }
        command.args(["--join-file", "-"]);
        run_with(command, token)
    }
}

fn well(said: &Said) {
    assert_eq!(said.code, Some(0), "{said:?}");
}

/// A token for a control node.
fn token(machine: &Machine) -> String {
    let said = machine.run(&["invite", "--control"]);
    well(&said);
    said.out.trim().to_owned()
}

/// Where a control node listens for others, to listen there again.
fn quic_address(machine: &Machine) -> String {
    machine.data().read("run/quic-address").unwrap().unwrap().trim().to_owned()
}

impl Cluster {
    async fn start() -> Option<Self> {
        let shared = Shared::new().await?;
        let controls = vec![Machine::new(), Machine::new(), Machine::new()];
        well(&shared.up(&controls[0], "127.0.0.1:0"));
        // Each is let in by the one before it; one joins first, and is started later without a token.
        well(&shared.control(&controls[1], "control-2", &token(&controls[0]), "127.0.0.1:0"));
        let said = shared.join_only(&controls[2], "control-3", &token(&controls[1]));
        well(&said);
        assert!(said.out.starts_with("control-3 has joined, and does not run yet"), "{said:?}");
        assert_eq!(controls[2].pid("control"), None);
        well(&shared.control(&controls[2], "control-3", "", "127.0.0.1:0"));
        Some(Self { controls, shared })
    }

    async fn clients(&self) -> Vec<Client> {
        join_all(self.controls.iter().map(Machine::client)).await
    }

    /// Starts a control node again where it listened before.
    fn restart(&self, number: usize) {
        let machine = &self.controls[number];
        let address = quic_address(machine);
        let name = format!("control-{}", number + 1);
        well(&match number {
            0 => self.shared.up(machine, &address),
            _ => self.shared.control(machine, &name, "", &address),
        });
    }

    /// Waits until every control node says that these hosts are up.
    async fn hosts_up(&self, names: &[&str]) {
        for machine in &self.controls {
            hosts_up(machine, names).await;
        }
    }
}

async fn hosts_up(machine: &Machine, names: &[&str]) {
    let up = async || {
        let found = machine.client().await.hypervisors().await;
        names.iter().all(|name| found.iter().any(|(host, state)| host == name && state == "up"))
    };
    machine.until(&format!("{names:?} are up"), up).await;
}

fn is_up(status: &str, name: &str) -> bool {
    status.lines().any(|line| line.contains(name) && line.ends_with(" up"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_three_control_nodes_serves_any_request() {
    let Some(cluster) = Cluster::start().await else { return };
    let hosts = [joined(&cluster.controls[1], "rack-7"), joined(&cluster.controls[2], "rack-8")];
    cluster.hosts_up(&["compute-1", "rack-7", "rack-8"]).await;
    let clients = cluster.clients().await;
    let made = clients[1].furnish().await;
    for (number, client) in clients.iter().enumerate() {
        let name = format!("by-{number}");
        let id = client.create(&made, &name).await.unwrap();
        for other in &clients {
            let path = format!("/compute/v2.1/servers/{id}");
            let read = other.must("GET", &path, Value::Null).await;
            assert_eq!(read["server"]["name"], name, "it is there at once, whoever is asked");
        }
    }
    clients[2].all_run(&cluster.controls[2]).await;
    let all: Vec<_> = join_all(clients.iter().map(Client::servers)).await;
    assert!(all[0].len() == 3 && all.iter().all(|servers| *servers == all[0]), "{all:?}");

    // What one has started is acted on by another, and the bytes that one took are had from any.
    clients[0].act(&all[0][0].id, json!({"os-stop": null})).await;
    let stopped =
        async || clients[1].servers().await.iter().any(|server| server.status == "SHUTOFF");
    cluster.controls[1].until("a server is stopped", stopped).await;
    for client in &clients {
        let path = format!("/image/v2/images/{}/file", made.image);
        assert_eq!(client.ask("GET", &path, Value::Null).await.body.as_ref(), [7; 4096]);
    }
    for machine in &cluster.controls {
        let status = machine.run(&["status"]);
        well(&status);
        let nodes = ["control-1", "control-2", "control-3", "compute-1", "rack-7", "rack-8"];
        assert!(nodes.iter().all(|name| is_up(&status.out, name)), "{}", status.out);
        let top = machine.run(&["top", "--once"]).out;
        assert!(nodes.iter().all(|name| top.contains(name)), "{top}");
    }
    drop(hosts);
}

/// Asks for servers of all clients in turn, and pulls the plug of one control process meanwhile; the ids of those that
/// were acknowledged.
async fn burst_and_kill(cluster: &Cluster, made: &Made, killed: usize) -> Vec<String> {
    let clients = cluster.clients().await;
    let builds = (0..BURST).map(|number| {
        let (client, name) = (&clients[number % clients.len()], format!("b-{number}"));
        async move { client.create(made, &name).await }
    });
    let acknowledged = async || {
        // At the first sign of a server, most requests are under way.
        let machine = &cluster.controls[(killed + 1) % 3];
        let client = machine.client().await;
        machine.until("a build has begun", async || !client.servers().await.is_empty()).await;
        cluster.controls[killed].kill("control").await;
    };
    let (builds, ()) = tokio::join!(join_all(builds), acknowledged());
    builds.into_iter().flatten().collect()
}

/// Waits until every build has finished; every server that was acknowledged is there, at each of these.
async fn all_there(machines: &[&Machine], acknowledged: &[String]) {
    for machine in machines {
        let client = machine.client().await;
        client.all_run(machine).await;
        let there: BTreeSet<_> =
            client.servers().await.into_iter().map(|server| server.id).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|id| !there.contains(*id)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_one_control_process_and_then_another_loses_nothing() {
    let Some(cluster) = Cluster::start().await else { return };
    let host = joined(&cluster.controls[0], "rack-7");
    cluster.hosts_up(&["compute-1", "rack-7"]).await;
    let client = cluster.controls[0].client().await;
    client.lift_quota().await;
    let made = client.furnish().await;
    let [one, two, three] = &cluster.controls[..] else { panic!("there are three") };

    let mut acknowledged = burst_and_kill(&cluster, &made, 1).await;
    assert!(!acknowledged.is_empty());
    all_there(&[one, three], &acknowledged).await;
    cluster.restart(1);
    all_there(&[two], &acknowledged).await;

    // Two of three: the first, by which the host joined and which the catalog names, and the third.
    one.kill("control").await;
    three.kill("control").await;
    let client = two.client().await;
    acknowledged.push(client.create(&made, "alone").await.unwrap());
    all_there(&[two], &acknowledged).await;
    hosts_up(two, &["compute-1", "rack-7"]).await;
    cluster.restart(0);
    cluster.restart(2);
    cluster.hosts_up(&["compute-1", "rack-7"]).await;
    all_there(&[one, two, three], &acknowledged).await;
    drop(host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_first_control_node_is_dead_starts_with_another() {
    let Some(cluster) = Cluster::start().await else { return };
    let host = joined(&cluster.controls[0], "rack-7");
    let knows = async || {
        let kept = host.data().read("node.json").unwrap().unwrap();
        ["control-2", "control-3"].iter().all(|name| kept.contains(name))
    };
    host.until("the host knows all control nodes", knows).await;
    host.kill("compute").await;
    cluster.controls[0].kill("control").await;
    cluster.controls[1].kill("control").await;
    let said = host.node();
    well(&said);
    hosts_up(&cluster.controls[2], &["rack-7"]).await;
    let answers = async || host.run(&["status"]).out.contains("; the cloud answers");
    host.until("the host says that its cloud answers", answers).await;
}

/// The administrator's token of one control node, had by HTTP.
fn log_in(machine: &Machine) -> String {
    let password = machine.data().read("admin-password").unwrap().unwrap();
    let auth = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": "admin", "domain": {"id": "default"}, "password": password.trim()}}},
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
    let answer = machine.raw("POST /identity/v3/auth/tokens", &[], &auth.to_string()).unwrap();
    let token = answer.lines().find_map(|line| line.strip_prefix("x-subject-token: "));
    token.unwrap().to_owned()
}

/// The status that a token gets for a list of servers.
fn status_with(machine: &Machine, token: &str) -> String {
    let headers = [("x-auth-token", token)];
    let answer = machine.raw("GET /compute/v2.1/servers", &headers, "").unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_control_node_is_good_at_all_until_it_is_revoked_at_any() {
    let Some(cluster) = Cluster::start().await else { return };
    let token = log_in(&cluster.controls[0]);
    for machine in &cluster.controls {
        assert_eq!(status_with(machine, &token), "200");
    }
    let headers = [("x-auth-token", &*token), ("x-subject-token", &*token)];
    let revoked = cluster.controls[2].raw("DELETE /identity/v3/auth/tokens", &headers, "").unwrap();
    assert!(revoked.starts_with("HTTP/1.1 204"), "{revoked}");
    for machine in &cluster.controls {
        let refused = async || status_with(machine, &token) == "401";
        machine.until("the token is refused", refused).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_node_that_is_removed_ends_and_is_let_in_no_more() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, two, three] = &cluster.controls[..] else { panic!("there are three") };
    let said = one.run(&["remove", "control-1"]);
    assert!(said.code == Some(1) && said.err.contains("another control host"), "{said:?}");
    well(&one.run(&["remove", "control-3"]));
    three.until("it ends", async || three.pid("control").is_none()).await;
    assert!(three.logs().contains("control node control-3 was removed"), "{}", three.logs());
    let said = cluster.shared.control(three, "control-3", "", "127.0.0.1:0");
    assert!(said.code == Some(6) && said.err.contains("was removed from the cloud"), "{said:?}");
    assert!(!two.run(&["status"]).out.contains("control-3"));
    // The first is no other than the rest.
    well(&two.run(&["remove", "control-1"]));
    one.until("it ends", async || one.pid("control").is_none()).await;
    let again = Machine::new();
    well(&cluster.shared.control(&again, "control-1", &token(two), "127.0.0.1:0"));
    let met = async || is_up(&two.run(&["status"]).out, "control-1");
    two.until("another machine has the name", met).await;
}

/// Every file below a folder.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(path) } else { vec![path] }).collect()
}

fn secret(data: &DataDir, name: &str) -> String {
    let text = data.read(name).unwrap().unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    lines.collect::<Vec<_>>().concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_control_node_is_entrusted_with_is_in_its_folder_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let shared = Shared::new().await.filter(|_| std::path::Path::new("/proc/self").exists());
    let Some(shared) = shared else { return };
    let (one, two) = (Machine::new(), Machine::new());
    well(&shared.up(&one, "127.0.0.1:0"));
    let join_token = token(&one);
    well(&shared.control(&two, "control-2", &join_token, "127.0.0.1:0"));
    let names = ["ca/key.pem", "ca/certificate.pem", "admin-password", "service-password"];
    for name in names {
        assert_eq!(secret(&two.data(), name), secret(&one.data(), name), "{name}");
    }
    for path in files(two.data_dir()) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    let admin = shared.database.admin().await;
    let rows = admin.query("SELECT value FROM updraft.readable", &[]).await.unwrap();
    let rows: String = rows.iter().map(|row| row.get::<_, String>(0)).collect();
    let seen = |machine: &Machine| {
        let pid = machine.pid("control").unwrap();
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned()
    };
    let shown = [rows, one.logs(), two.logs(), seen(&one), seen(&two)];
    let mut secrets: Vec<_> = names.iter().map(|name| secret(&one.data(), name)).collect();
    // The certificate is no secret.
    secrets.remove(1);
    secrets.push(join_token["updraft-join-".len()..].to_owned());
    for secret in secrets {
        assert!(shown.iter().all(|text| !text.contains(&secret)), "a secret is shown");
    }
}
