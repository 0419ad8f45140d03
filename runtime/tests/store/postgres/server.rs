//! A PostgreSQL server of the tests' own: one for all tests of a process, a fresh database for each.
//!
//! It is stopped when the last test that uses it ends, however that ends, and by the kernel when the process is
//! killed. Without PostgreSQL on the machine the tests are skipped with a word, except where `CI` is set.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use updraft_runtime::{
    Env,
    store::{PostgresSettings, Store},
};

/// Where Debian keeps a folder of programs for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// A server refuses to run as root; this user comes with the package.
const USER: &str = "postgres";
/// The port that names a server's socket if nothing else is said.
const PORT: u16 = 5_432;
/// How long a server may take to start, also after a crash and on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
const KILL_PAUSE: Duration = Duration::from_millis(1);
const START_PAUSE: Duration = Duration::from_millis(20);

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// A running server.
pub(crate) struct Server {
    directory: TempDir,
    orders: Option<mpsc::Sender<Order>>,
    keeper: Option<JoinHandle<()>>,
    port: u16,
}

/// What the thread that owns the server's process is asked to do.
enum Order {
    Start(mpsc::Sender<()>),
    Kill(mpsc::Sender<()>),
}

/// The programs, or `None` where the tests are to be skipped.
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin"));
    let newest = found.filter(|bin| bin.join("initdb").exists()).max();
    if newest.is_none() {
        let told =
            format!("there is no PostgreSQL in {VERSIONS}: run scripts/install-tools.sh test");
        assert!(std::env::var_os("CI").is_none(), "{told}");
        println!("skipped: {told}");
    }
    newest
}

/// A program of PostgreSQL that is run as its own user and ends with this process.
fn program(path: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    command.arg(path).current_dir("/").stdin(Stdio::null());
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Files of a server that has never run. They are made once, since that takes longer than most tests.
fn template(programs: &Path) -> PathBuf {
    let version = programs.parent().and_then(Path::file_name).unwrap().to_string_lossy();
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgresql-{version}"));
    if !made.exists() {
        // Another process may be making them too; whoever is first wins.
        let making = tempfile::tempdir().unwrap();
        let data = making.path().join("data");
        run(Command::new("chmod").arg("755").arg(making.path()));
        fs::create_dir(&data).unwrap();
        if is_root() {
            run(Command::new("chown").arg(USER).arg(&data));
        }
        let settings = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", USER];
        run(program(&programs.join("initdb")).args(settings).arg("-D").arg(&data));
        let aside = made.with_extension(std::process::id().to_string());
        run(Command::new("cp").arg("-a").arg(&data).arg(&aside));
        if fs::rename(&aside, &made).is_err() {
            fs::remove_dir_all(&aside).unwrap();
        }
    }
    made
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| MetadataExt::uid(&own) == 0)
}

impl Server {
    /// The server that the tests of this process share.
    fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock();
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// A server for one test that may stop it.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        Self::start_with(settings, |_| ())
    }

    /// The same, with files in its folder that it needs to start.
    #[allow(
        clippy::disallowed_methods,
        reason = "the kernel ends a child with the thread that started it"
    )]
    pub(crate) fn start_with(settings: &[&str], prepare: impl FnOnce(&Path)) -> Option<Self> {
        let programs = programs()?;
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        run(Command::new("chmod").arg("755").arg(directory.path()));
        run(Command::new("cp").arg("-a").arg(template(&programs)).arg(&data));
        prepare(&data);
        let (orders, ordered) = mpsc::channel();
        let log = directory.path().join("log");
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let keeper = std::thread::spawn(move || {
            keep(&ordered, || launch(&programs, &data, &log, &settings));
        });
        let server = Self { directory, orders: Some(orders), keeper: Some(keeper), port: PORT };
        server.start_again();
        Some(server)
    }

    /// The same server, which was told to listen on this port.
    pub(crate) fn on_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    fn order(&self, order: impl FnOnce(mpsc::Sender<()>) -> Order) {
        let (done, told) = mpsc::channel();
        self.orders.as_ref().unwrap().send(order(done)).unwrap();
        told.recv().unwrap();
    }

    /// Kills every process of it, as `kill -9` does.
    pub(crate) fn kill(&self) {
        self.order(Order::Kill);
    }

    /// Starts it; [`Server::admin`] waits until it serves.
    pub(crate) fn start_again(&self) {
        self.order(Order::Start);
    }

    /// The folder of its socket.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// A connection of a superuser, as soon as the server serves.
    pub(crate) async fn admin(&self, database: &str) -> Client {
        let (host, port) = (self.directory(), self.port);
        let text = format!("host={} port={port} user={USER} dbname={database}", host.display());
        let env = Env::real();
        let give_up = env.now() + START_PATIENCE;
        loop {
            match tokio_postgres::connect(&text, NoTls).await {
                Ok((client, connection)) => {
                    env.spawn("test-connection", async { drop(connection.await) });
                    return client;
                }
                Err(error) if env.now() > give_up => panic!("{error}: {}", self.log()),
                Err(_) => env.sleep(START_PAUSE).await,
            }
        }
    }

    /// A fresh database.
    pub(crate) async fn database(self: &Arc<Self>) -> Database {
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let admin = self.admin("postgres").await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        Database { server: Arc::clone(self), name }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.keeper.take().map(JoinHandle::join);
    }
}

/// Owns the process until nobody can give orders any more.
fn keep(orders: &mpsc::Receiver<Order>, launch: impl Fn() -> Child) {
    let mut running: Option<Child> = None;
    for order in orders {
        match order {
            Order::Start(done) => {
                running = Some(launch());
                let _ = done.send(());
            }
            Order::Kill(done) => {
                running.take().into_iter().for_each(kill);
                let _ = done.send(());
            }
        }
    }
    running.take().into_iter().for_each(stop);
}

fn launch(programs: &Path, data: &Path, log: &Path, settings: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut command = program(&programs.join("postgres"));
    command.arg("-D").arg(data).arg("-k").arg(data);
    command.args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB"]);
    // After a crash it syncs every file it finds, which takes long one by one.
    command.args(["-c", "recovery_init_sync_method=syncfs"]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn stop(mut child: Child) {
    signal("-QUIT", &[child.id().to_string()]);
    child.wait().unwrap();
}

/// Kills the process that starts all others only when it is the last: a server does not start beside any of a former
/// one.
#[allow(clippy::disallowed_methods, reason = "the thread that owns the server has no world")]
fn kill(mut child: Child) {
    let own = [child.id().to_string()];
    signal("-STOP", &own);
    let others = children(child.id());
    if !others.is_empty() {
        signal("-KILL", &others);
    }
    while !others.iter().all(|process| is_dead(process)) {
        std::thread::sleep(KILL_PAUSE);
    }
    signal("-KILL", &own);
    child.wait().unwrap();
}

fn signal(which: &str, processes: &[String]) {
    run(Command::new("kill").arg(which).args(processes));
}

/// Whether nothing of a process is left but its name: it is gone, or nobody has asked yet how it ended.
fn is_dead(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    status.is_ok_and(|status| status.contains("State:\tZ"))
        || !Path::new("/proc").join(process).exists()
}

fn children(of: u32) -> Vec<String> {
    let listed = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    listed.split_whitespace().map(str::to_owned).collect()
}

/// A database of one test.
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    name: String,
}

impl Database {
    /// A database on the shared server, or `None` if the test is to be skipped.
    pub(crate) async fn fresh() -> Option<Self> {
        let server = Server::shared()?;
        Some(server.database().await)
    }

    /// What it is called.
    #[allow(dead_code, reason = "the cloud's tests, which share this file, ask for it")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> String {
        format!("host={} user={USER} dbname={}", self.server.directory().display(), self.name)
    }

    /// How to reach it at another address, with more settings.
    pub(crate) fn text_at(&self, host: &str, more: &str) -> String {
        format!("host={host} user={USER} dbname={} {more}", self.name)
    }

    /// A store in it, as another process would open it.
    pub(crate) async fn store(&self) -> Store {
        let settings = PostgresSettings::parse(&self.text()).unwrap();
        Store::postgres(Env::real(), settings).await.unwrap()
    }

    /// Its tables and rows, as statements.
    #[allow(dead_code, reason = "the cloud's tests, which share this file, do not ask for it")]
    pub(crate) fn dump(&self) -> String {
        let mut dump = program(&programs().unwrap().join("pg_dump"));
        dump.args(["--inserts", "--rows-per-insert=100", "--no-owner", "--schema=updraft"]);
        let output = dump.arg(format!("--dbname={}", self.text())).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let dump = String::from_utf8(output.stdout).unwrap();
        // Words for psql are no statements.
        dump.lines()
            .filter(|line| !line.starts_with('\\'))
            .fold(String::new(), |text, line| text + line + "\n")
    }

    /// A connection past the store.
    pub(crate) async fn admin(&self) -> Client {
        self.server.admin(&self.name).await
    }
}
